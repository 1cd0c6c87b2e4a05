"""What an error means for a job: the one place that decides. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from fusionnode.domain.consignment import Consignment
from fusionnode.domain.job import Job, JobEvent
from fusionnode.domain.terms import Step
from fusionnode.errors import (
    DeliveryRefused,
    DeliveryUncommitted,
    LedgerUnavailable,
    Misconfigured,
    Refused,
    SpoolFull,
    Unavailable,
)
from fusionnode.flow.ports import DeliveryOutcome
from fusionnode.settings import WorkSettings

_ROOM_SECONDS = 30.0
"""How long a step waits before it looks again whether there is room, or a database."""


@dataclass(frozen=True)
class Verdict:
    """What happens to the job. ``not_before`` holds a deferred step back; ``defect`` asks for the traceback."""

    event: JobEvent
    not_before: datetime | None = None
    defect: bool = False


def judge_error(error: Exception, job: Job, step: Step, now: datetime, settings: WorkSettings) -> Verdict:
    """Return what ``error`` means for ``job``.

    Refused is final. Unavailable waits, and so does a want of memory, for `retry_delay_seconds`, until the step has
    used up its attempts. A full disk and a database that is away are no fault of the job: they are waited for without
    counting a try, however long it takes. Misconfigured and defects fail at once: trying again would not help.
    """
    if isinstance(error, Refused):
        return Verdict(JobEvent.REFUSED)
    if isinstance(error, SpoolFull | LedgerUnavailable):
        pause = min(_ROOM_SECONDS, settings.retry_cap_seconds)
        return Verdict(JobEvent.POSTPONED, now + timedelta(seconds=pause))
    if isinstance(error, Unavailable | MemoryError) and job.attempts + 1 < max_attempts(step, settings):
        return Verdict(JobEvent.DEFERRED, now + timedelta(seconds=retry_delay_seconds(job.attempts, settings, job.id)))
    return Verdict(JobEvent.FAILED, defect=not isinstance(error, Misconfigured | Unavailable | MemoryError))


@dataclass(frozen=True)
class ConsignmentVerdict:
    """What happens to a consignment that could not be brought on: given up, or gone on with at ``not_before``."""

    dead: bool
    not_before: datetime | None = None
    defect: bool = False


def judge_consignment(
    error: Exception, consignment: Consignment, now: datetime, settings: WorkSettings
) -> ConsignmentVerdict:
    """Return what ``error`` means for one destination of a job; the same rules as for a job, with its own count."""
    waits = isinstance(error, Unavailable | MemoryError) and not isinstance(error, _ENDED)
    if waits and consignment.attempts + 1 < settings.max_send_attempts:
        key = f"{consignment.job_id} {consignment.destination}"
        delay = retry_delay_seconds(consignment.attempts, settings, key)
        return ConsignmentVerdict(dead=False, not_before=now + timedelta(seconds=delay))
    named = isinstance(error, Misconfigured | Refused | Unavailable | MemoryError)
    return ConsignmentVerdict(dead=True, defect=not named)


_ENDED = (DeliveryRefused, DeliveryUncommitted)
"""What is said of a destination after it was waited for long enough."""


def is_given_up(outcome: DeliveryOutcome, settings: WorkSettings) -> bool:
    """Return whether an instance is not to be sent again: refused often enough for a reason that lies in itself.

    One that is refused for want of room, or is not answered for, has the patience of its consignment.
    """
    return outcome.final and outcome.delivery.refusals + 1 >= settings.max_refusals


def max_attempts(step: Step, settings: WorkSettings) -> int:
    """How often a step is tried. Sending waits for a PACS that is down over a weekend; computing does not."""
    return settings.max_send_attempts if step in (Step.SEND, Step.COMMIT) else settings.max_attempts


def retry_delay_seconds(attempts: int, settings: WorkSettings, key: str) -> float:
    """Return the seconds to wait after ``attempts`` failed tries: doubling, capped, and shortened by chance.

    Chance takes up to half of it, so that what failed together does not come back together. It is a hash of ``key``
    and ``attempts``, so the same try waits equally long wherever it is computed.
    """
    longest = min(settings.retry_seconds * 2.0 ** min(attempts, 32), settings.retry_cap_seconds)
    digest = hashlib.sha256(f"{key} {attempts}".encode()).digest()
    return longest * (1 - int.from_bytes(digest[:4], "big") / 2**33)
