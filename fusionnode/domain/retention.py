"""What may be deleted, and when: only what is delivered and old enough, never what waits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fusionnode.domain.job import JobState
from fusionnode.domain.terms import UNSETTLED, SeriesState

_EVER = datetime.min.replace(tzinfo=UTC)
_SET_ASIDE = "a human set it aside"
_ENDED = frozenset({JobState.COMMITTED, JobState.REFUSED, JobState.FAILED, JobState.SUPERSEDED})


@dataclass(frozen=True)
class RetentionLimits:
    """How long what is received and made stays after nothing is to be done with it any more.

    Attributes:
        delivered: after everything that was made of it reached its destinations; of series and of results.
        unpaired: of series nothing was ever made of.
        failed: of series and results with a job that was refused, failed or superseded, and of series that are not
            whole.
        window: how far apart the two series of a pair may arrive: no series goes before, for a better partner may
            still come.
        since: since when the clock goes evenly. What is dated before that was dated by another clock, for all we know,
            and counts as of then.
    """

    delivered: timedelta
    unpaired: timedelta
    failed: timedelta
    window: timedelta = timedelta()
    since: datetime = _EVER

    @property
    def shortest(self) -> timedelta:
        """Nothing younger than this is ever deleted."""
        return min(self.delivered, self.unpaired, self.failed)

    def measure_age(self, dated: datetime, now: datetime) -> timedelta:
        """Return how old something is at least."""
        return now - max(dated, self.since)


@dataclass(frozen=True)
class JobStanding:
    """How far a job has come, as far as it matters for what may be deleted.

    Attributes:
        not_before: when it goes on (UTC); a stored job without it has nothing more to wait for.
        changed_at: when it came to its present state.
        held: set aside by a human.
        unsent: instances it published that a destination has not accepted.
        discarded: whether its results are given up already.
    """

    id: str
    state: JobState
    not_before: datetime | None
    changed_at: datetime
    held: bool = False
    unsent: int = 0
    discarded: bool = False

    @property
    def is_delivered(self) -> bool:
        """Whether every destination has everything, and has committed to it where it offers that."""
        resting = self.state is JobState.STORED and self.not_before is None
        return (resting or self.state is JobState.COMMITTED) and not self.unsent

    @property
    def waits(self) -> bool:
        """Whether there is still something to do for it."""
        return self.state not in _ENDED and not self.is_delivered


@dataclass(frozen=True)
class SeriesStanding:
    """How a series stands, with all jobs that ever used it in any generation.

    Attributes:
        last_seen_at: when an instance of it was received last, also one it had already.
    """

    series_instance_uid: str
    generation: int
    state: SeriesState
    held: bool
    last_seen_at: datetime
    jobs: tuple[JobStanding, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """Whether something may be deleted, and why or why not, in words that follow "because"."""

    discard: bool
    why: str


def judge_series(series: SeriesStanding, limits: RetentionLimits, now: datetime) -> Judgement:
    """Return whether the files of a series may be deleted at ``now``."""
    hindrance = _find_hindrance(series, limits, now)
    if hindrance:
        return Judgement(False, hindrance)
    dated = max([series.last_seen_at, *(job.changed_at for job in series.jobs)])
    if any(job.is_delivered for job in series.jobs) and all(_is_settled(job) for job in series.jobs):
        return _judge_age(limits, limits.delivered, dated, now, "everything made of it was delivered")
    if series.jobs:
        return _judge_age(limits, limits.failed, dated, now, _tell_ends(series.jobs))
    if series.state is SeriesState.QUARANTINED:
        return _judge_age(limits, limits.failed, dated, now, "it was quarantined")
    return _judge_age(limits, limits.unpaired, dated, now, "it was never paired")


def judge_results(job: JobStanding, limits: RetentionLimits, now: datetime) -> Judgement:
    """Return whether what a job published may be deleted at ``now``.

    What a destination has not accepted is never deleted while it can be sent again, however old it is.
    """
    if job.held:
        return Judgement(False, _SET_ASIDE)
    if job.waits:
        return Judgement(False, f"the job is {job.state}")
    if job.unsent and job.state is not JobState.SUPERSEDED:
        return Judgement(False, f"{job.unsent} instances were not accepted and can be sent again")
    if job.is_delivered:
        return _judge_age(limits, limits.delivered, job.changed_at, now, "it was delivered")
    return _judge_age(limits, limits.failed, job.changed_at, now, f"the job is {job.state}")


def _find_hindrance(series: SeriesStanding, limits: RetentionLimits, now: datetime) -> str:
    """Return why a series has to stay whatever its age; empty where nothing speaks for that."""
    if series.held or any(job.held for job in series.jobs):
        return _SET_ASIDE
    if series.state in UNSETTLED:
        return "it is still arriving"
    waiting = next((job for job in series.jobs if job.waits), None)
    if waiting is not None:
        return f"job {waiting.id} is {waiting.state}"
    return "a partner for it may still come" if limits.measure_age(series.last_seen_at, now) < limits.window else ""


def _is_settled(job: JobStanding) -> bool:
    return job.is_delivered or job.state is JobState.SUPERSEDED


def _tell_ends(jobs: Sequence[JobStanding]) -> str:
    undelivered = [job for job in jobs if not job.is_delivered] or jobs
    return f"its job is {max(undelivered, key=lambda job: (job.changed_at, job.id)).state}"


def _judge_age(limits: RetentionLimits, limit: timedelta, dated: datetime, now: datetime, what: str) -> Judgement:
    age = limits.measure_age(dated, now)
    days = max(age.days, 0)
    if age >= limit:
        return Judgement(True, f"{what}, {days} days ago")
    if dated < limits.since:
        return Judgement(False, f"{what}, and {days} of {limit.days} days have passed since the clock goes evenly")
    return Judgement(False, f"{what}, {days} of {limit.days} days ago")
