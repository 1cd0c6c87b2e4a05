"""Edge: what is owed to which destination, and what became of every attempt."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update

from fusionnode.domain.job import Job
from fusionnode.errors import JobUnknown
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.consignment_rows import AT_THE_BEGINNING, match_consignment
from fusionnode.index.database import Store, insert_new
from fusionnode.index.job_store import require_fence
from fusionnode.index.tables import ConsignmentRow, DeliveryRow, JobRow


class DeliveryStore(Store):
    """The accounts of the sender."""

    def add_deliveries(self, deliveries: Iterable[Delivery]) -> None:
        """Owe these instances to their destinations; known ones are left as they are.

        Raises:
            JobUnknown: one of them is of no known job.
        """
        untried = {"dead": False, "last_tried_at": None, "stored_at": None, "committed_at": None}
        rows = [asdict(delivery) | untried for delivery in deliveries]
        consignments = sorted({(row["job_id"], row["destination"]) for row in rows})
        with self._database.write() as connection:
            for job_id in sorted({row["job_id"] for row in rows}):
                if connection.execute(select(JobRow.id).where(JobRow.id == job_id)).first() is None:
                    raise JobUnknown(f"There is no job {job_id}.", remedy="See `fusionnode jobs`.", job_id=job_id)
            insert_new(connection, DeliveryRow, rows)
            begun = [{"job_id": job, "destination": to, **AT_THE_BEGINNING} for job, to in consignments]
            insert_new(connection, ConsignmentRow, begun)

    def list_undelivered(self, job_id: str, destination: str = "") -> list[Delivery]:
        """Return what is still owed for a job, to one destination or to all: by destination, then as published."""
        owed = match_consignment(DeliveryRow, job_id, destination)
        return self._list_deliveries(owed, DeliveryRow.stored_at.is_(None), DeliveryRow.dead.is_(False))

    def list_refused(self, job_id: str, destination: str) -> list[Delivery]:
        """Return what was given up because the destination refuses it, in the order of publishing."""
        return self._list_deliveries(match_consignment(DeliveryRow, job_id, destination), DeliveryRow.dead.is_(True))

    def list_uncommitted(self, job_id: str, destination: str) -> list[Delivery]:
        """Return what a destination accepted and has not committed to, in the order of publishing."""
        sent = match_consignment(DeliveryRow, job_id, destination)
        return self._list_deliveries(sent, DeliveryRow.stored_at.is_not(None), DeliveryRow.committed_at.is_(None))

    def _list_deliveries(self, *conditions: ColumnElement[bool]) -> list[Delivery]:
        columns = [getattr(DeliveryRow, name) for name in Delivery.__dataclass_fields__]
        query = select(*columns).where(*conditions).order_by(DeliveryRow.destination, DeliveryRow.id)
        with self._database.read() as connection:
            return [Delivery(**row) for row in connection.execute(query).mappings()]

    def record_outcome(self, job: Job, outcome: DeliveryOutcome, now: datetime, *, given_up: bool = False) -> None:
        """Account for one attempt at one instance of ``job``, if and only if ``job.fence`` is still the current one.

        One that was stored stays stored, whatever comes after. What a worker that is overtaken brought is sent again.

        ``given_up`` ends it: it is owed no more until it is sent again by hand.

        Raises:
            JobUnknown: there is no such job, or this instance of it was never owed to this destination.
            LeaseLost: the job was claimed again or moved on since.
        """
        owed = outcome.delivery
        values = {
            "attempts": DeliveryRow.attempts + 1,
            "refusals": DeliveryRow.refusals + 1 if outcome.final else 0,
            "dead": given_up,
            "last_status": outcome.status,
            "last_tried_at": now,
            "stored_at": func.coalesce(DeliveryRow.stored_at, now if outcome.stored else None),
        }
        statement = (
            update(DeliveryRow)
            .where(
                DeliveryRow.job_id == job.id,
                DeliveryRow.destination == owed.destination,
                DeliveryRow.sop_instance_uid == owed.sop_instance_uid,
            )
            .values(values)
        )
        with self._database.write() as connection:
            require_fence(connection, job)
            if connection.execute(statement).rowcount != 1:
                raise JobUnknown(
                    f"SOP instance {owed.sop_instance_uid} of job {job.id} is not owed to {owed.destination}.",
                    remedy="See `fusionnode jobs`.",
                    job_id=job.id,
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
