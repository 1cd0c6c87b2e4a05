"""Edge: gives up what is old and delivered.

Deleting has two halves. What is given up is decided, forgotten and listed in one transaction, under the locks that an
arrival and a new job take; nothing was touched yet. The files move out of sight in another one, under the rows of that
list: an arrival that wants one of the places back takes its row away first, or waits until the old file is gone.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from fusionnode.domain.job import JobState
from fusionnode.domain.retention import (
    JobStanding,
    Judgement,
    RetentionLimits,
    SeriesStanding,
    judge_results,
    judge_series,
)
from fusionnode.domain.series import PatientIdentity, SeriesKey
from fusionnode.domain.terms import UNSETTLED, SeriesState
from fusionnode.index.arrival_store import exclude_other_writers
from fusionnode.index.database import Store
from fusionnode.index.discard_rows import give_up, name_results, split_values
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.instance_rows import write_identity
from fusionnode.index.tables import (
    ConflictRow,
    DeliveryRow,
    DiscardRow,
    GenerationRow,
    InstanceRow,
    JobRow,
    SeriesRow,
)

_PRESENT = and_(
    GenerationRow.series_instance_uid == SeriesRow.series_instance_uid,
    GenerationRow.generation == SeriesRow.generation,
)
_KEPT = sorted({*SeriesState} - {*UNSETTLED, SeriesState.DISCARDED})
_SETTLED_JOBS = (JobState.STORED, JobState.COMMITTED, JobState.REFUSED, JobState.FAILED, JobState.SUPERSEDED)
_COMPUTING = (JobState.QUEUED, JobState.PREPARING, JobState.PREPARED, JobState.FUSING)
_REVIVABLE = (JobState.REFUSED, JobState.FAILED)


class RetentionStore(Store):
    """Says what is old, and forgets it."""

    def list_old_series(self, before: datetime) -> list[SeriesStanding]:
        """Return the closed series that were received last before ``before``, oldest first, with their jobs."""
        old = and_(GenerationRow.state.in_(_KEPT), SeriesRow.last_seen_at < before)
        with self._database.read() as connection:
            return _load_series(connection, old)

    def list_old_results(self, before: datetime) -> list[JobStanding]:
        """Return the ended jobs that did so before ``before`` and whose results were not given up, oldest first."""
        old = and_(JobRow.state.in_(sorted(_SETTLED_JOBS)), JobRow.changed_at < before, JobRow.discarded_at.is_(None))
        with self._database.read() as connection:
            return _load_jobs(connection, old)

    def discard_series(self, uid: str, limits: RetentionLimits, now: datetime) -> Judgement:
        """Forget the instances of a series and give its files up, if that is right at this very moment.

        Its name, its history and the jobs made of it stay; who the patient is does not.
        """
        with self._database.write() as connection:
            exclude_other_writers(connection)
            # Jobs before the series, as everybody locks them who locks both.
            concerned = or_(JobRow.fixed_uid == uid, JobRow.moving_uid == uid)
            connection.execute(select(JobRow.id).where(concerned).order_by(JobRow.id).with_for_update()).all()
            connection.execute(select(SeriesRow).where(SeriesRow.series_instance_uid == uid).with_for_update()).all()
            found = _load_series(connection, SeriesRow.series_instance_uid == uid)
            if not found or found[0].state is SeriesState.DISCARDED:
                return Judgement(False, "it is not here any more")
            judgement = judge_series(found[0], limits, now)
            if judgement.discard:
                give_up(connection, _forget_instances(connection, uid), now)
                _forget_series(connection, found[0], judgement.why, now)
            return judgement

    def discard_results(self, job_id: str, limits: RetentionLimits, now: datetime) -> Judgement:
        """Give up what a job published, if that is right at this very moment; its accounts stay."""
        named = JobRow.id == job_id
        with self._database.write() as connection:
            connection.execute(select(JobRow.id).where(named).with_for_update()).all()
            found = _load_jobs(connection, named)
            if not found or found[0].discarded:
                return Judgement(False, "it is not here any more")
            judgement = judge_results(found[0], limits, now)
            if judgement.discard:
                give_up(connection, [name_results(job_id)], now)
                connection.execute(update(JobRow).where(named).values(discarded_at=now))
                append_event(connection, Event(now, job_id, "discarded", f"Its results: {judgement.why}."))
            return judgement

    def finish_discards(
        self, remove: Callable[[Sequence[str]], Collection[str]], limit: int = 500, after: str = ""
    ) -> str:
        """Have ``remove`` take up to ``limit`` of the given up paths that follow ``after`` out of sight; forget them.

        Nobody else can have one of the paths meanwhile. Those that ``remove`` returns stay listed; when it fails, or
        this process dies in it, all of them do. Returns the last path, with which to go on; empty at the end.
        """
        following = select(DiscardRow.path).where(DiscardRow.path > after).order_by(DiscardRow.path)
        with self._database.write() as connection:
            paths = list(connection.execute(following.limit(limit).with_for_update(skip_locked=True)).scalars())
            stuck = remove(paths) if paths else ()
            for chunk in split_values({*paths} - {*stuck}):
                connection.execute(delete(DiscardRow).where(DiscardRow.path.in_(chunk)))
        return paths[-1] if len(paths) == limit else ""

    def follow_sources(self, job_id: str, fixed: SeriesKey, moving: SeriesKey) -> None:
        """Have a job that a human may retry use these generations; the ones it knew may be deleted.

        They have the content it was made from, for its id comes from that.
        """
        sources = {
            "fixed_uid": fixed.series_instance_uid,
            "fixed_generation": fixed.generation,
            "moving_uid": moving.series_instance_uid,
            "moving_generation": moving.generation,
        }
        differs = or_(*(getattr(JobRow, name) != value for name, value in sources.items()))
        concerned = and_(JobRow.id == job_id, JobRow.state.in_(_REVIVABLE), differs)
        with self._database.read() as connection:
            if connection.execute(select(JobRow.id).where(concerned)).first() is None:
                return
        with self._database.write() as connection:
            connection.execute(update(JobRow).where(concerned).values(sources))

    def count_waiting(self) -> int:
        """Return how many jobs are still to be computed."""
        waiting = select(func.count()).select_from(JobRow).where(JobRow.state.in_(sorted(_COMPUTING)))
        with self._database.read() as connection:
            return int(connection.execute(waiting).scalar_one())


def _load_series(connection: Connection, condition: Any) -> list[SeriesStanding]:
    query = (
        select(
            SeriesRow.series_instance_uid,
            SeriesRow.generation,
            GenerationRow.state,
            SeriesRow.held,
            SeriesRow.last_seen_at,
        )
        .join(GenerationRow, _PRESENT)
        .where(condition)
        .order_by(SeriesRow.last_seen_at, SeriesRow.series_instance_uid)
    )
    rows = connection.execute(query).all()
    jobs = _load_jobs_on(connection, [row[0] for row in rows])
    return [
        SeriesStanding(uid, generation, SeriesState(state), held, seen_at, tuple(jobs[uid]))
        for uid, generation, state, held, seen_at in rows
    ]


def _load_jobs_on(connection: Connection, uids: Collection[str]) -> dict[str, list[JobStanding]]:
    found: dict[str, list[JobStanding]] = defaultdict(list)
    for chunk in split_values(uids):
        for column in (JobRow.fixed_uid, JobRow.moving_uid):
            users: dict[str, list[str]] = defaultdict(list)
            for job_id, uid in connection.execute(select(JobRow.id, column).where(column.in_(chunk))):
                users[job_id].append(uid)
            for ids in split_values(users):
                for standing in _load_jobs(connection, JobRow.id.in_(ids)):
                    for uid in users[standing.id]:
                        found[uid].append(standing)
    return found


def _load_jobs(connection: Connection, condition: Any) -> list[JobStanding]:
    unsent = (
        select(func.count()).where(DeliveryRow.job_id == JobRow.id, DeliveryRow.stored_at.is_(None)).scalar_subquery()
    )
    columns = (JobRow.id, JobRow.state, JobRow.not_before, JobRow.changed_at, JobRow.held, unsent, JobRow.discarded_at)
    query = select(*columns).where(condition).order_by(JobRow.changed_at, JobRow.id)
    return [
        JobStanding(job_id, JobState(state), not_before, changed_at, held, owed, discarded_at is not None)
        for job_id, state, not_before, changed_at, held, owed, discarded_at in connection.execute(query)
    ]


def _forget_instances(connection: Connection, uid: str) -> set[str]:
    """Delete the rows of the instances and conflicts of a series; return the places that nobody else names."""
    mine = {
        path
        for table in (InstanceRow, ConflictRow)
        for path in connection.execute(select(table.path).where(table.series_instance_uid == uid)).scalars()
    }
    for table in (InstanceRow, ConflictRow):
        connection.execute(delete(table).where(table.series_instance_uid == uid))
    shared = {
        path
        for table in (InstanceRow, ConflictRow)
        for chunk in split_values(mine)
        for path in connection.execute(select(table.path).where(table.path.in_(chunk))).scalars()
    }
    return mine - shared


def _forget_series(connection: Connection, series: SeriesStanding, why: str, now: datetime) -> None:
    uid = series.series_instance_uid
    generation = and_(GenerationRow.series_instance_uid == uid, GenerationRow.generation == series.generation)
    reason = f"Its files were deleted: {why}."
    connection.execute(update(GenerationRow).where(generation).values(state=SeriesState.DISCARDED, reason=reason))
    nobody = write_identity(PatientIdentity(""))
    connection.execute(update(SeriesRow).where(SeriesRow.series_instance_uid == uid).values(nobody))
    append_event(connection, Event(now, uid, SeriesState.DISCARDED, f"Generation {series.generation}. {reason}"))
