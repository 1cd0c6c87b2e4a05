"""Edge: what is owed to which destination, and what became of every attempt."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import func, select, update

from fusionnode.errors import JobUnknown
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.database import Store, insert_new
from fusionnode.index.tables import DeliveryRow, JobRow


class DeliveryStore(Store):
    """The accounts of the sender."""

    def add_deliveries(self, deliveries: Iterable[Delivery]) -> None:
        """Owe these instances to their destinations; known ones are left as they are.

        Raises:
            JobUnknown: one of them is of no known job.
        """
        rows = [asdict(delivery) | {"last_tried_at": None, "stored_at": None} for delivery in deliveries]
        with self._database.write() as connection:
            for job_id in sorted({row["job_id"] for row in rows}):
                if connection.execute(select(JobRow.id).where(JobRow.id == job_id)).first() is None:
                    raise JobUnknown(f"There is no job {job_id}.", remedy="See `fusionnode jobs`.", job_id=job_id)
            insert_new(connection, DeliveryRow, rows)

    def list_undelivered(self, job_id: str) -> list[Delivery]:
        """Return what is still owed for a job: by destination, then in the order of publishing."""
        columns = [getattr(DeliveryRow, name) for name in Delivery.__dataclass_fields__]
        query = (
            select(*columns)
            .where(DeliveryRow.job_id == job_id, DeliveryRow.stored_at.is_(None))
            .order_by(DeliveryRow.destination, DeliveryRow.id)
        )
        with self._database.read() as connection:
            return [Delivery(**row) for row in connection.execute(query).mappings()]

    def record_outcome(self, outcome: DeliveryOutcome, now: datetime) -> None:
        """Account for one attempt at one instance; one that was stored stays stored, whatever comes after.

        Raises:
            JobUnknown: this instance was never owed to this destination.
        """
        owed = outcome.delivery
        values = {
            "attempts": DeliveryRow.attempts + 1,
            "last_status": outcome.status,
            "last_tried_at": now,
            "stored_at": func.coalesce(DeliveryRow.stored_at, now if outcome.stored else None),
        }
        statement = (
            update(DeliveryRow)
            .where(
                DeliveryRow.job_id == owed.job_id,
                DeliveryRow.destination == owed.destination,
                DeliveryRow.sop_instance_uid == owed.sop_instance_uid,
            )
            .values(values)
        )
        with self._database.write() as connection:
            if connection.execute(statement).rowcount != 1:
                raise JobUnknown(
                    f"SOP instance {owed.sop_instance_uid} of job {owed.job_id} is not owed to {owed.destination}.",
                    remedy="See `fusionnode jobs`.",
                    job_id=owed.job_id,
                )

    def count_deliveries(self, job_id: str) -> tuple[int, int]:
        """Return (stored, owed in total) over all destinations of the job."""
        query = select(func.count(DeliveryRow.stored_at), func.count()).where(DeliveryRow.job_id == job_id)
        with self._database.read() as connection:
            stored, total = connection.execute(query).one()
        return stored, total

    def count_statuses(self, job_id: str) -> dict[str, int]:
        """Return how many instances each destination last answered with which status, by "destination status"."""
        answer = (DeliveryRow.destination, DeliveryRow.last_status)
        query = select(*answer, func.count()).where(DeliveryRow.job_id == job_id).group_by(*answer).order_by(*answer)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return {f"{destination} {status or 'not tried'}": count for destination, status, count in rows}
