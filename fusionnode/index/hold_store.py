"""Edge: sets jobs and series aside for a human to look at, and lets them go on."""

from datetime import datetime

from sqlalchemy import Connection, and_, or_, select, update

from fusionnode.domain.job import WORKING, Job, JobEvent
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import SeriesUnknown
from fusionnode.index.database import Store
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.job_store import Move, find_row, move_job
from fusionnode.index.tables import GenerationRow, JobRow, SeriesRow

_WHY = "A human set it aside; `fusionnode release` lets it go on."


class HoldStore(Store):
    """What is held is neither worked on, sent, paired nor deleted."""

    def hold_job(self, job_id: str, now: datetime) -> None:
        """Set a job aside; a worker that has it loses it and keeps nothing.

        Raises:
            JobUnknown: there is no such job.
        """
        with self._database.write() as connection:
            _hold(connection, find_row(connection, job_id, lock=True), now)

    def release_job(self, job_id: str, now: datetime) -> None:
        """Let a job go on from where it was set aside.

        Raises:
            JobUnknown: there is no such job.
        """
        with self._database.write() as connection:
            _release(connection, find_row(connection, job_id, lock=True), now)

    def hold_series(self, uid: str, now: datetime) -> list[str]:
        """Set a series aside with all its jobs; return their ids.

        Raises:
            SeriesUnknown: there is no such series.
        """
        with self._database.write() as connection:
            jobs = _lock_jobs(connection, uid)
            _mark_series(connection, uid, now, held=True)
            for job in jobs:
                _hold(connection, job, now)
        return [job.id for job in jobs]

    def release_series(self, uid: str, now: datetime) -> list[str]:
        """Let a series be paired again, and its jobs go on; return their ids.

        It counts as received now, however old: it is not deleted before its time, and a complete one is judged once
        more by the sweep, also by one that begins only after this.

        Raises:
            SeriesUnknown: there is no such series.
        """
        with self._database.write() as connection:
            jobs = _lock_jobs(connection, uid)
            generation = _mark_series(connection, uid, now, held=False)
            present = and_(
                GenerationRow.series_instance_uid == uid,
                GenerationRow.generation == generation,
                GenerationRow.state == SeriesState.COMPLETE,
            )
            again = {"state": SeriesState.REOPENED, "reason": "A human released it."}
            connection.execute(update(GenerationRow).where(present).values(again))
            for job in jobs:
                _release(connection, job, now)
        return [job.id for job in jobs]


def _lock_jobs(connection: Connection, uid: str) -> list[Job]:
    concerned = or_(JobRow.fixed_uid == uid, JobRow.moving_uid == uid)
    ids = connection.execute(select(JobRow.id).where(concerned).order_by(JobRow.id)).scalars().all()
    return [find_row(connection, job_id, lock=True) for job_id in ids]


def _mark_series(connection: Connection, uid: str, now: datetime, *, held: bool) -> int:
    values = {"held": True} if held else {"held": False, "last_seen_at": now}
    named = update(SeriesRow).where(SeriesRow.series_instance_uid == uid)
    found = connection.execute(named.values(values).returning(SeriesRow.generation)).first()
    if found is None:
        raise SeriesUnknown(f"The ledger has no series {uid}.", remedy="See `fusionnode series`.", uid=uid)
    append_event(connection, Event(now, uid, "held" if held else "released", _WHY if held else "A human released it."))
    return int(found[0])


def _hold(connection: Connection, job: Job, now: datetime) -> None:
    if job.held:
        return
    if job.state in WORKING.values():
        move_job(connection, job, Move(JobEvent.EXPIRED, now, _WHY, not_before=now))
    connection.execute(update(JobRow).where(JobRow.id == job.id).values(held=True))
    append_event(connection, Event(now, job.id, "held", _WHY))


def _release(connection: Connection, job: Job, now: datetime) -> None:
    if not job.held:
        return
    connection.execute(update(JobRow).where(JobRow.id == job.id).values(held=False))
    append_event(connection, Event(now, job.id, "released", "A human released it."))
