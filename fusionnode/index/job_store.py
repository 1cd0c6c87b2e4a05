"""Edge: jobs in the ledger. Every move is one conditional UPDATE along the transition table, or it does not happen."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, false, or_, select, update
from sqlalchemy.orm import aliased

from fusionnode.domain.job import (
    LONGEST_WAIT,
    TRANSITIONS,
    WAITING,
    WORKING,
    Job,
    JobEvent,
    JobState,
    Lease,
    next_state,
)
from fusionnode.domain.terms import Step
from fusionnode.errors import JobUnknown, LeaseLost, TransitionForbidden
from fusionnode.index.consignment_rows import revive_consignments
from fusionnode.index.database import CHUNK, Store, insert_new
from fusionnode.index.discard_rows import claim_back, list_discarded, name_results, require_results, require_sources
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.job_rows import describe_cause, read_job, write_job
from fusionnode.index.tables import JobRow

_COLUMNS = tuple(JobRow.__table__.columns)
_AT_WORK = sorted(WORKING.values())
_UNFINISHED = sorted(state for state, event in TRANSITIONS if event is JobEvent.SUPERSEDED)
_ATTEMPTS: dict[JobEvent, Any] = {
    JobEvent.DEFERRED: JobRow.attempts + 1,
    JobEvent.EXPIRED: JobRow.attempts + 1,
    JobEvent.FINISHED: 0,
    JobEvent.POSTPONED: 0,
    JobEvent.RETRIED: 0,
    JobEvent.RESENT: 0,
}


class JobStore(Store):
    """Enters, claims, moves and lists jobs."""

    def add_job(self, job: Job, because: str = "") -> bool:
        """Enter a job, and into the log ``because`` of what; False when its id is known already.

        False also when the files of one of its series were given up for deletion meanwhile.

        Raises:
            TransitionForbidden: it is not queued; every job begins there.
        """
        if job.state is not JobState.QUEUED:
            raise TransitionForbidden(
                f"A job enters the ledger queued, not {job.state}.", state=job.state, job_id=job.id
            )
        with self._database.write() as connection:
            if list_discarded(connection, (job.fixed, job.moving)):
                return False
            added = insert_new(connection, JobRow, [write_job(job)]) == 1
            if added:
                detail = f"{job.fixed} with {job.moving}" + (f": {because}" if because else "")
                append_event(connection, Event(job.moment, job.id, "queued", detail))
        return added

    def has_job(self, job_id: str) -> bool:
        """Return whether the job is known."""
        with self._database.read() as connection:
            return connection.execute(select(JobRow.id).where(JobRow.id == job_id)).first() is not None

    def find_job(self, job_id: str) -> Job:
        """Return the job.

        Raises:
            JobUnknown: there is none.
        """
        with self._database.read() as connection:
            return find_row(connection, job_id)

    def list_jobs(self, states: Collection[JobState] | None = None, limit: int = 1000) -> list[Job]:
        """Return jobs, newest first."""
        query = select(*_COLUMNS).order_by(JobRow.moment.desc(), JobRow.id).limit(limit)
        if states is not None:
            query = query.where(JobRow.state.in_(sorted(states)))
        with self._database.read() as connection:
            return _load_jobs(connection, query)

    def list_jobs_on(self, series_uids: Collection[str]) -> list[Job]:
        """Return every job one of whose two series is among ``series_uids``, newest first."""
        uids = sorted(series_uids)
        found: dict[str, Job] = {}
        with self._database.read() as connection:
            for start in range(0, len(uids), CHUNK):
                chunk = uids[start : start + CHUNK]
                concerned = or_(JobRow.fixed_uid.in_(chunk), JobRow.moving_uid.in_(chunk))
                found |= {job.id: job for job in _load_jobs(connection, select(*_COLUMNS).where(concerned))}
        return sorted(sorted(found.values(), key=lambda job: job.id), key=lambda job: job.moment, reverse=True)

    def list_claimable(self, step: Step, now: datetime, limit: int = 1000) -> list[str]:
        """Return ids of jobs that wait for ``step`` and whose time has come, oldest first."""
        query = select(JobRow.id).where(is_claimable(JobRow, step, now)).order_by(JobRow.moment, JobRow.id)
        with self._database.read() as connection:
            return list(connection.execute(query.limit(limit)).scalars())

    def claim_job(
        self, step: Step, now: datetime, lease_seconds: float, worker: str, job_id: str | None = None
    ) -> Job | None:
        """Take one waiting job (or exactly ``job_id``) by one conditional UPDATE; its fence grows by one.

        Returns None when nothing is claimable, or when another worker was quicker.
        """
        state = next_state(WAITING[step], JobEvent.CLAIMED)
        statement = (
            update(JobRow)
            .where(JobRow.id == _choose_claimable(step, now, job_id), is_claimable(JobRow, step, now))
            .values(
                state=state,
                fence=JobRow.fence + 1,
                lease_until=now + timedelta(seconds=lease_seconds),
                worker=worker,
                not_before=None,
                reason="",
                error="",
                changed_at=now,
            )
            .returning(*_COLUMNS)
        )
        with self._database.write() as connection:
            row = connection.execute(statement).mappings().one_or_none()
            if row is None:
                return None
            job = read_job(row)
            append_event(connection, Event(now, job.id, JobEvent.CLAIMED, f"{state}, fence {job.fence}, by {worker}"))
        return job

    def renew_lease(self, job: Job, now: datetime, lease_seconds: float) -> None:
        """Prolong the lease.

        Raises:
            JobUnknown: there is no such job.
            LeaseLost: the job was claimed again or moved on since.
        """
        held = and_(_is_unchanged(job), JobRow.state.in_(_AT_WORK))
        statement = update(JobRow).where(held).values(lease_until=now + timedelta(seconds=lease_seconds))
        with self._database.write() as connection:
            if connection.execute(statement).rowcount != 1:
                raise _explain_loss(connection, job)

    def advance_job(
        self,
        job: Job,
        event: JobEvent,
        now: datetime,
        cause: Exception | str | None = None,
        not_before: datetime | None = None,
    ) -> Job:
        """Move a job along the transition table, if and only if ``job.fence`` is still the current one.

        ``cause`` fills ``reason`` and, where it is no mere remark, ``error``; ``not_before`` holds the next step back.
        A job that is STORED goes on at that time, and without it rests.

        Raises:
            JobUnknown: there is no such job.
            LeaseLost: the job was claimed again or moved on since.
            TransitionForbidden: the table has no such arrow, or it is the one of `claim_job`, which gives the lease.
        """
        next_state(job.state, event)
        if event is JobEvent.CLAIMED:
            raise TransitionForbidden("A job is claimed with a lease only.", state=job.state, job_event=event)
        reason, error = describe_cause(cause)
        with self._database.write() as connection:
            moved = move_job(connection, job, Move(event, now, reason, error, not_before))
            if moved is None:
                raise _explain_loss(connection, job)
        return moved

    def retry_job(self, job_id: str, now: datetime) -> Job:
        """Put a refused or failed job back at its beginning; destinations that were given up are tried again.

        Raises:
            JobUnknown: there is no such job.
            TransitionForbidden: it is neither refused nor failed, or the files it was made from were deleted.
        """
        with self._database.write() as connection:
            job = find_row(connection, job_id, lock=True)
            next_state(job.state, JobEvent.RETRIED)
            require_sources(connection, job)
            claim_back(connection, name_results(job_id))
            connection.execute(update(JobRow).where(JobRow.id == job_id).values(discarded_at=None))
            revive_consignments(connection, job_id)
            moved = move_job(connection, job, Move(JobEvent.RETRIED, now))
            if moved is None:
                raise _explain_loss(connection, job)
        return moved

    def resend_job(self, job_id: str, now: datetime, destination: str = "", *, everything: bool = False) -> Job:
        """Have a job's instances sent again at once: those outstanding, or ``everything``.

        ``destination`` restricts it to one of them. Destinations that were given up are tried again.

        Raises:
            JobUnknown: there is no such job.
            TransitionForbidden: nothing of it was published for that destination, or it was deleted since, or a worker
                has it at this moment.
        """
        with self._database.write() as connection:
            job = find_row(connection, job_id, lock=True)
            next_state(job.state, JobEvent.RESENT)
            require_results(connection, job)
            if not revive_consignments(connection, job_id, destination, everything=everything):
                raise TransitionForbidden(
                    f"Nothing of job {job_id} was ever published for {destination or 'any destination'}.",
                    remedy="See `fusionnode jobs`; `fusionnode retry` makes its objects anew.",
                    state=job.state,
                    job_event=JobEvent.RESENT,
                )
            moved = move_job(connection, job, Move(JobEvent.RESENT, now))
            if moved is None:
                raise _explain_loss(connection, job)
        return moved

    def supersede_jobs(self, pipeline: str, fixed_uid: str, moving_uid: str, keep: str, now: datetime) -> list[str]:
        """End every unfinished job of the pair other than ``keep``; return ids of all earlier jobs, newest first.

        Where ``keep`` is entered already, jobs on a later generation than its own are none of the earlier ones.
        """
        pair = and_(JobRow.pipeline == pipeline, JobRow.fixed_uid == fixed_uid, JobRow.moving_uid == moving_uid)
        with self._database.write() as connection:
            jobs = _load_jobs(connection, select(*_COLUMNS).where(pair).order_by(JobRow.id).with_for_update())
            earlier = _choose_earlier(jobs, keep)
            move = Move(JobEvent.SUPERSEDED, now, f"Job {keep} on newer data takes its place.")
            for job in earlier:
                if job.state in _UNFINISHED:
                    move_job(connection, job, move)
        return [job.id for job in earlier]

    def withdraw_jobs(self, series_instance_uid: str, reason: str, now: datetime) -> list[str]:
        """End every unfinished job on the series, whatever its generation; return their ids."""
        concerned = or_(JobRow.fixed_uid == series_instance_uid, JobRow.moving_uid == series_instance_uid)
        unfinished = select(*_COLUMNS).where(concerned, JobRow.state.in_(_UNFINISHED)).order_by(JobRow.id)
        with self._database.write() as connection:
            jobs = _load_jobs(connection, unfinished.with_for_update())
            for job in jobs:
                move_job(connection, job, Move(JobEvent.SUPERSEDED, now, reason))
        return [job.id for job in jobs]

    def list_leases(self) -> list[Lease]:
        """Return every lease that is held now, whatever any clock says."""
        query = select(JobRow.id, JobRow.fence, JobRow.lease_until).where(JobRow.state.in_(_AT_WORK))
        with self._database.read() as connection:
            return [_read_lease(row) for row in connection.execute(query.order_by(JobRow.id)).mappings()]

    def release_leases(self, leases: Collection[Lease], now: datetime) -> list[Job]:
        """Return the jobs of those leases that are still the same to their waiting state; return those jobs."""
        if not leases:
            # As in nearly every round of a sweep, which shall not keep writers waiting for nothing.
            return []
        silent = {lease.job_id: lease for lease in leases}
        # Whoever renews at this moment, or releases as well, has it.
        held = select(*_COLUMNS).where(JobRow.id.in_(sorted(silent)), JobRow.state.in_(_AT_WORK))
        with self._database.write() as connection:
            rows = connection.execute(held.order_by(JobRow.id).with_for_update(skip_locked=True)).mappings().all()
            lapsed = [row for row in rows if _read_lease(row) == silent[row["id"]]]
            moved = [move_job(connection, read_job(row), _expire(row["lease_until"], now)) for row in lapsed]
        return [job for job in moved if job is not None]


@dataclass(frozen=True)
class Move:
    """One step along the transition table and what is noted with it."""

    event: JobEvent
    now: datetime
    reason: str = ""
    error: str = ""
    not_before: datetime | None = None


def _read_lease(row: RowMapping) -> Lease:
    return Lease(row["id"], row["fence"], row["lease_until"])


def _expire(until: datetime, now: datetime) -> Move:
    # With a time, for a stored job without one would rest and never be asked for its commitment again; and not later
    # than the lease's, for a clock that is ahead would keep the step from the workers whose is right.
    reason = "Its worker went silent and the lease ran out."
    return Move(JobEvent.EXPIRED, now, reason, not_before=min(until, now))


def move_job(connection: Connection, job: Job, move: Move) -> Job | None:
    """Move ``job`` unless it is not what it was; return it as it is now, or None when nothing was changed."""
    state = next_state(job.state, move.event)
    statement = (
        update(JobRow)
        .where(_is_unchanged(job))
        .values(
            state=state,
            attempts=_ATTEMPTS.get(move.event, JobRow.attempts),
            reason=move.reason,
            error=move.error,
            not_before=move.not_before,
            lease_until=None,
            worker="",
            changed_at=move.now,
        )
        .returning(*_COLUMNS)
    )
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        return None
    detail = f"{job.state} to {state}, fence {job.fence}. {move.reason}".strip()
    append_event(connection, Event(move.now, job.id, move.event, detail))
    return read_job(row)


def _is_unchanged(job: Job) -> ColumnElement[bool]:
    return and_(JobRow.id == job.id, JobRow.fence == job.fence, JobRow.state == job.state)


def is_claimable(row: type[JobRow], step: Step, now: datetime) -> ColumnElement[bool]:
    """Return the condition for jobs that wait for ``step`` and whose time has come."""
    # A stored job without a time has nothing more to wait for.
    at_once = false() if step is Step.COMMIT else row.not_before.is_(None)
    return and_(
        row.state == WAITING[step],
        row.held.is_(False),
        or_(at_once, row.not_before <= now, row.not_before > now + LONGEST_WAIT),
    )


def require_fence(connection: Connection, job: Job) -> None:
    """Lock the job until the transaction ends.

    Raises:
        JobUnknown: there is no such job.
        LeaseLost: it is not what its worker holds it to be any more.
    """
    if connection.execute(select(JobRow.id).where(_is_unchanged(job)).with_for_update()).first() is None:
        raise _explain_loss(connection, job)


def _choose_claimable(step: Step, now: datetime, job_id: str | None) -> Any:
    """Return a subquery for one id. PostgreSQL passes over rows others are claiming; SQLite has one writer anyway."""
    candidate = aliased(JobRow)
    query = select(candidate.id).where(is_claimable(candidate, step, now))
    if job_id is not None:
        query = query.where(candidate.id == job_id)
    ordered = query.order_by(candidate.moment, candidate.id).limit(1).with_for_update(skip_locked=True)
    return ordered.scalar_subquery()


def _choose_earlier(jobs: Sequence[Job], keep: str) -> list[Job]:
    kept = next((job for job in jobs if job.id == keep), None)
    earlier = [
        job
        for job in jobs
        if job.id != keep
        and (
            kept is None
            or (job.fixed.generation <= kept.fixed.generation and job.moving.generation <= kept.moving.generation)
        )
    ]
    return sorted(earlier, key=lambda job: (job.moment, job.fixed.generation, job.moving.generation), reverse=True)


def _load_jobs(connection: Connection, query: Select[Any]) -> list[Job]:
    return [read_job(row) for row in connection.execute(query).mappings()]


def find_row(connection: Connection, job_id: str, *, lock: bool = False) -> Job:
    """Return the job; with ``lock`` nobody else moves it until the transaction ends.

    Raises:
        JobUnknown: there is none.
    """
    query = select(*_COLUMNS).where(JobRow.id == job_id)
    jobs = _load_jobs(connection, query.with_for_update() if lock else query)
    if not jobs:
        raise JobUnknown(f"There is no job {job_id}.", remedy="See `fusionnode jobs`.", job_id=job_id)
    return jobs[0]


def _explain_loss(connection: Connection, job: Job) -> LeaseLost:
    """Return the error for a job that is not what its worker holds it to be.

    Raises:
        JobUnknown: there is no such job.
    """
    found = find_row(connection, job.id)
    return LeaseLost(
        f"Job {job.id} is {found.state} under fence {found.fence}, not {job.state} under fence {job.fence} any more.",
        remedy="Nothing is to be done: what this worker computed is dropped.",
        job_id=job.id,
        expected=job.fence,
        found=found.fence,
    )
