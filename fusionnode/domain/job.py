"""A job: one pair on its way from two series to a fused series in the PACS, and the table of moves it may make."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import Step
from fusionnode.errors import TransitionForbidden


class JobState(StrEnum):
    """Where a job stands. The waiting states are claimable, the working states hold a lease.

    STORED is both: the end where no destination offers storage commitment, else where its report is waited for.
    """

    QUEUED = "queued"
    PREPARING = "preparing"
    PREPARED = "prepared"
    FUSING = "fusing"
    FUSED = "fused"
    SENDING = "sending"
    STORED = "stored"
    COMMITTING = "committing"
    COMMITTED = "committed"
    REFUSED = "refused"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class JobEvent(StrEnum):
    """What can happen to a job."""

    CLAIMED = "claimed"
    FINISHED = "finished"
    DEFERRED = "deferred"
    POSTPONED = "postponed"
    EXPIRED = "expired"
    REFUSED = "refused"
    FAILED = "failed"
    RETRIED = "retried"
    RESENT = "resent"
    SUPERSEDED = "superseded"


WAITING: dict[Step, JobState] = {
    Step.PREPARE: JobState.QUEUED,
    Step.FUSE: JobState.PREPARED,
    Step.SEND: JobState.FUSED,
    Step.COMMIT: JobState.STORED,
}
WORKING: dict[Step, JobState] = {
    Step.PREPARE: JobState.PREPARING,
    Step.FUSE: JobState.FUSING,
    Step.SEND: JobState.SENDING,
    Step.COMMIT: JobState.COMMITTING,
}
DONE: dict[Step, JobState] = {
    Step.PREPARE: JobState.PREPARED,
    Step.FUSE: JobState.FUSED,
    Step.SEND: JobState.STORED,
    Step.COMMIT: JobState.COMMITTED,
}


def _build_transitions() -> dict[tuple[JobState, JobEvent], JobState]:
    table: dict[tuple[JobState, JobEvent], JobState] = {}
    for step in Step:
        waiting, working = WAITING[step], WORKING[step]
        table[waiting, JobEvent.CLAIMED] = working
        table[working, JobEvent.FINISHED] = DONE[step]
        table[working, JobEvent.DEFERRED] = waiting
        table[working, JobEvent.EXPIRED] = waiting
        table[working, JobEvent.REFUSED] = JobState.REFUSED
        table[working, JobEvent.FAILED] = JobState.FAILED
    for step in (Step.PREPARE, Step.FUSE, Step.SEND):
        table[WAITING[step], JobEvent.SUPERSEDED] = JobState.SUPERSEDED
        table[WORKING[step], JobEvent.SUPERSEDED] = JobState.SUPERSEDED
    # Unlike one that is deferred, a step that is postponed counts no try: it ended well and more is to be done later,
    # or what it waits for is no fault of the job.
    for step in Step:
        table[WORKING[step], JobEvent.POSTPONED] = WAITING[step]
    # What a destination lost is sent again by itself; a human may have anything that was published sent again.
    for state in (JobState.COMMITTING, JobState.FUSED, JobState.STORED, JobState.COMMITTED, JobState.FAILED):
        table[state, JobEvent.RESENT] = JobState.FUSED
    # A human may ask for another try; a refused or failed job starts again from its sources.
    table[JobState.REFUSED, JobEvent.RETRIED] = JobState.QUEUED
    table[JobState.FAILED, JobEvent.RETRIED] = JobState.QUEUED
    return table


TRANSITIONS = _build_transitions()


def next_state(state: JobState, event: JobEvent) -> JobState:
    """Return where ``event`` leads from ``state``.

    Raises:
        TransitionForbidden: the table has no such arrow.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise TransitionForbidden(
            f"A job that is {state} cannot be {event}.", remedy="See `fusionnode jobs`.", state=state, job_event=event
        ) from None


LONGEST_WAIT = timedelta(days=31)
"""Nothing is put off for longer. A moment further ahead was told by a clock that went wrong, and is not waited for once
the clock is right again."""


@dataclass(frozen=True)
class Lease:
    """A worker's hold of a job, as it is now: renewed, or claimed by another, it is another one.

    Attributes:
        until: when the worker means it to end, by its own clock.
    """

    job_id: str
    fence: int
    until: datetime


@dataclass(frozen=True)
class Job:
    """One pair under one version of one pipeline.

    Attributes:
        id: derived from what it fuses (`derive_job_id`), so that the same work is never queued twice.
        pipeline_version: the edition of the pipeline (`Pipeline.edition`): its version and what it makes of a pair.
        moment: when the job was made (UTC); stamped on its outputs so that running twice gives the same bytes.
        fence: grows with every claim; a result is kept only under the fence it was claimed with.
        attempts: claims of the present step that ended neither finished nor refused.
        supersedes: id of the job on an earlier generation of the same pair, or on the pair that was fused of the same
            functional scan before a better partner arrived; or the Series Instance UID of a fused series that another
            node made of the pair; or empty.
        reason: why it was refused, deferred or failed, in words; empty otherwise.
        held: set aside by a human: nobody claims it until it is released.
    """

    id: str
    pipeline: str
    pipeline_version: str
    fixed: SeriesKey
    moving: SeriesKey
    shared_frame: bool
    state: JobState
    moment: datetime
    fence: int = 0
    attempts: int = 0
    supersedes: str = ""
    reason: str = ""
    error: str = ""
    held: bool = False


def derive_job_id(pipeline: str, pipeline_version: str, fixed_content: str, moving_content: str) -> str:
    """Return a 24-digit hexadecimal id that depends on nothing but the four arguments.

    The contents (`Series.content`) rather than the generations, because a ledger rebuilt from the spool counts
    generations anew, and two jobs of different content must never share the UIDs of their outputs.
    """
    text = "\x1f".join((pipeline, pipeline_version, fixed_content, moving_content))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
