"""Edge: the ledger at a glance; fulfils `fusionnode.flow.overview.Overview`."""

from datetime import datetime

from sqlalchemy import and_, case, func, select

from fusionnode.domain.terms import Step
from fusionnode.flow.overview import Backlog, Debt, Happening, Tries
from fusionnode.index.database import Store
from fusionnode.index.job_store import is_claimable
from fusionnode.index.tables import ConsignmentRow, DeliveryRow, EventRow, GenerationRow, JobRow, SeriesRow


class OverviewStore(Store):
    """Counts and oldest moments. Nothing here names a person."""

    def count_jobs(self) -> dict[str, int]:
        """Return the number of jobs by state."""
        with self._database.read() as connection:
            rows = connection.execute(select(JobRow.state, func.count()).group_by(JobRow.state)).all()
        return dict(rows)

    def count_series(self) -> dict[str, int]:
        """Return the number of series by the state of their present generation."""
        present = and_(
            GenerationRow.series_instance_uid == SeriesRow.series_instance_uid,
            GenerationRow.generation == SeriesRow.generation,
        )
        query = select(GenerationRow.state, func.count()).join(SeriesRow, present).group_by(GenerationRow.state)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return dict(rows)

    def list_backlogs(self, now: datetime) -> list[Backlog]:
        """Return what waits for each step at ``now``."""
        changed = select(func.max(EventRow.at)).where(EventRow.subject == JobRow.id).scalar_subquery()
        backlogs = []
        with self._database.read() as connection:
            for step in Step:
                waiting = (
                    select(func.coalesce(changed, JobRow.moment).label("at"), JobRow.not_before)
                    .where(is_claimable(JobRow, step, now))
                    .subquery()
                )
                # One that was held back has waited only since its time came.
                since = case((waiting.c.not_before > waiting.c.at, waiting.c.not_before), else_=waiting.c.at)
                count, oldest = connection.execute(select(func.count(), func.min(since))).one()
                backlogs.append(Backlog(step, count, oldest))
        return backlogs

    def list_debts(self) -> list[Debt]:
        """Return what is owed to each destination that ever was owed anything, by its name."""
        outstanding = DeliveryRow.stored_at.is_(None)
        owed = (
            select(
                DeliveryRow.destination,
                func.count(case((outstanding, 1))),
                func.min(case((outstanding, JobRow.moment))),
            )
            .join(JobRow, JobRow.id == DeliveryRow.job_id)
            .group_by(DeliveryRow.destination)
            .order_by(DeliveryRow.destination)
        )
        dead = select(ConsignmentRow.destination, func.count()).where(ConsignmentRow.dead)
        with self._database.read() as connection:
            given_up = dict(connection.execute(dead.group_by(ConsignmentRow.destination)).all())
            rows = connection.execute(owed).all()
        return [Debt(name, instances, given_up.get(name, 0), since) for name, instances, since in rows]

    def list_tries(self) -> list[Tries]:
        """Return how the destinations answered, by destination and status."""
        answer = (DeliveryRow.destination, DeliveryRow.last_status)
        query = select(*answer, func.count(), func.sum(DeliveryRow.attempts)).group_by(*answer).order_by(*answer)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Tries(name, status, instances, int(attempts or 0)) for name, status, instances, attempts in rows]

    def find_last_happening(self) -> int:
        """Return the number of the last line of the log; 0 where there is none."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.max(EventRow.id))).scalar_one() or 0)

    def list_happenings(self, after: int, limit: int = 1000) -> list[Happening]:
        """Return the lines of the log with a number above ``after``, in their order."""
        columns = (EventRow.id, EventRow.at, EventRow.subject, EventRow.what, EventRow.detail)
        query = select(*columns).where(EventRow.id > after).order_by(EventRow.id).limit(limit)
        with self._database.read() as connection:
            return [Happening(*row) for row in connection.execute(query).all()]
