"""A consignment: what one job owes to one destination, and what the consignments of a job together mean for it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fusionnode.domain.job import LONGEST_WAIT, JobEvent, JobState


class Phase(StrEnum):
    """How far a destination has come with its consignment.

    REFUSED is what is left to be told when all is done but for the instances that it refuses for good.
    """

    OWED = "owed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    DONE = "done"
    DEAD = "dead"


_GOING_ON = (Phase.OWED, Phase.ACCEPTED, Phase.REFUSED)


@dataclass(frozen=True)
class Consignment:
    """The account of one job with one destination.

    Attributes:
        total, stored, committed: numbers of instances: owed at all, accepted, and of these safe by its own word.
        refused: number of instances given up, each by itself, because it refuses them for good.
        attempts: tries in a row that did not lead on.
        requests: how often storage commitment was asked for.
        not_before: when it is to be gone on with (UTC); None means at once.
        dead: given up; only a human revives it.
        reason, error: what stands in its way, in words and by the name of the error; empty when nothing does.
    """

    job_id: str
    destination: str
    total: int
    stored: int = 0
    committed: int = 0
    refused: int = 0
    attempts: int = 0
    requests: int = 0
    not_before: datetime | None = None
    dead: bool = False
    reason: str = ""
    error: str = ""

    def find_phase(self, *, commits: bool) -> Phase:
        """Return how far it has come; ``commits`` tells whether the destination offers storage commitment."""
        if self.dead:
            return Phase.DEAD
        if self.stored + self.refused < self.total:
            return Phase.OWED
        if commits and self.committed < self.stored:
            return Phase.ACCEPTED
        return Phase.REFUSED if self.refused else Phase.DONE

    def is_due(self, now: datetime, *, commits: bool) -> bool:
        """Return whether there is something to do for it at ``now``."""
        going_on = self.find_phase(commits=commits) in _GOING_ON
        return going_on and (self.not_before is None or not now < self.not_before <= now + LONGEST_WAIT)


@dataclass(frozen=True)
class Outlook:
    """What a step, such as a round of sending, means for its job.

    Attributes:
        not_before: when the next round is due; None without one.
        remark: what whoever asks for the job shall know of what was made, or empty.
    """

    event: JobEvent
    not_before: datetime | None = None
    remark: str = ""


def judge_round(
    state: JobState, consignments: Sequence[Consignment], committing: Collection[str], now: datetime
) -> Outlook:
    """Return where a job goes that is SENDING or COMMITTING, after a round that left ``consignments``.

    Each destination goes on by itself; the job has failed when nothing goes on any more and one was given up.
    ``committing`` names the destinations that offer storage commitment.
    """
    phases = {one.destination: one.find_phase(commits=one.destination in committing) for one in consignments}
    open_ones = [one for one in consignments if phases[one.destination] in _GOING_ON]
    later = min((one.not_before or now for one in open_ones), default=None)
    sending = state is JobState.SENDING
    given_up = Phase.DEAD in phases.values() or any(one.refused for one in consignments)
    if open_ones and (given_up or Phase.OWED in phases.values()):
        return Outlook(JobEvent.POSTPONED if sending else JobEvent.RESENT, later)
    if given_up:
        return Outlook(JobEvent.FAILED)
    if open_ones:
        return Outlook(JobEvent.FINISHED if sending else JobEvent.POSTPONED, later)
    if any(name in committing for name in phases):
        return Outlook(JobEvent.FINISHED, now if sending else None)
    return Outlook(JobEvent.FINISHED if sending else JobEvent.POSTPONED)
