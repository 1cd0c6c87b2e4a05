"""What an error means for a job: the one place that decides. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from fusionnode.domain.job import Job, JobEvent
from fusionnode.domain.terms import Step
from fusionnode.errors import Misconfigured, Refused, Unavailable
from fusionnode.settings import WorkSettings


@dataclass(frozen=True)
class Verdict:
    """What happens to the job. ``not_before`` holds a deferred step back; ``defect`` asks for the traceback."""

    event: JobEvent
    not_before: datetime | None = None
    defect: bool = False


def judge_error(error: Exception, job: Job, step: Step, now: datetime, settings: WorkSettings) -> Verdict:
    """Return what ``error`` means for ``job``.

    Refused is final. Unavailable waits, and so does a want of memory, doubling from ``retry_seconds`` up to
    ``retry_cap_seconds``, until the step has used up its attempts. Misconfigured and defects fail at once: trying again
    would not help.
    """
    if isinstance(error, Refused):
        return Verdict(JobEvent.REFUSED)
    if isinstance(error, Unavailable | MemoryError) and job.attempts + 1 < max_attempts(step, settings):
        return Verdict(JobEvent.DEFERRED, now + timedelta(seconds=retry_delay_seconds(job.attempts, settings)))
    return Verdict(JobEvent.FAILED, defect=not isinstance(error, Misconfigured | Unavailable | MemoryError))


def max_attempts(step: Step, settings: WorkSettings) -> int:
    """How often a step is tried. Sending waits for a PACS that is down over a weekend; computing does not."""
    return settings.max_send_attempts if step is Step.SEND else settings.max_attempts


def retry_delay_seconds(attempts: int, settings: WorkSettings) -> float:
    """Seconds to wait after ``attempts`` failed tries: doubling, capped."""
    return min(settings.retry_seconds * 2.0 ** min(attempts, 32), settings.retry_cap_seconds)
