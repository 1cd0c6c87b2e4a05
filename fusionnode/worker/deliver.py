"""One round of a job's delivery: every destination that is due, all at the same time, each with its own account."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydicom.uid import generate_uid

from fusionnode.domain.consignment import Consignment, Outlook, Phase, judge_round
from fusionnode.domain.job import Job
from fusionnode.errors import (
    CommitmentRefused,
    DeliveryIncomplete,
    DeliveryRefused,
    DeliveryUncommitted,
    DestinationUnreachable,
    FusionNodeError,
    LeaseLost,
    LedgerUnavailable,
    SettingsInvalid,
    format_frames,
)
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.ports import Ledger, Sender
from fusionnode.settings import WorkSettings
from fusionnode.worker.heartbeat import Heartbeat
from fusionnode.worker.policy import is_given_up, judge_consignment

logger = logging.getLogger(__name__)

_SILENCE_SECONDS = 60.0
"""How long at most a destination that did not answer is left alone by a worker, whatever else is due for it."""


@dataclass
class Courier:
    """Brings to each destination what it is owed, and asks it to commit to it where it offers that.

    A destination that is down, refuses or trips over a defect keeps its own account and holds up no other one.
    """

    ledger: Ledger
    sender: Sender
    work: WorkSettings
    clock: Callable[[], datetime]
    _silent_until: dict[str, datetime] = field(default_factory=dict)

    def go_round(self, job: Job, heartbeat: Heartbeat) -> Outlook:
        """Serve what is due of a job that is SENDING or COMMITTING; return where that leads it.

        Raises:
            LeaseLost: another worker has the job now.
            LedgerUnavailable: what became of some destination could not be kept; what was stored was.
        """
        due = [
            one for one in self.ledger.list_consignments(job.id) if one.is_due(self.clock(), commits=self._asks(one))
        ]
        if due:
            with ThreadPoolExecutor(len(due), thread_name_prefix="deliver") as pool:
                rounds = [pool.submit(copy_context().run, self._serve, job, one, heartbeat) for one in due]
            for done in rounds:
                done.result()
        after = self.ledger.list_consignments(job.id)
        logger.info("%s", "; ".join(f"{one.destination}: {one.stored} of {one.total} stored" for one in after))
        committing = {one.destination for one in after if self._asks(one)}
        return judge_round(job.state, after, committing, self.clock())

    def _asks(self, consignment: Consignment) -> bool:
        return self.sender.offers_commitment(consignment.destination)

    def _serve(self, job: Job, consignment: Consignment, heartbeat: Heartbeat) -> None:
        """Bring one destination as far as it goes today, and keep how that ended."""
        try:
            if consignment.find_phase(commits=self._asks(consignment)) is Phase.OWED:
                self._send(job, consignment, heartbeat)
                refused = len(self.ledger.list_refused(job.id, consignment.destination))
                stored = consignment.total - refused
                consignment = replace(consignment, attempts=0, stored=stored, refused=refused)
            consignment = self._commit(job, consignment)
        except (LeaseLost, LedgerUnavailable):
            raise
        except Exception as error:  # what trips one destination up must not stop the others
            consignment = self._note_trouble(consignment, error)
        self.ledger.save_consignment(job, consignment, self.clock())
        reach(FaultPoint.DESTINATION_ACCOUNTED)

    def _send(self, job: Job, consignment: Consignment, heartbeat: Heartbeat) -> None:
        name = consignment.destination
        self._require_answering(name)
        # Each outcome is accounted for as it comes, so that a lost association costs nothing already stored.
        for outcome in self.sender.send(name, self.ledger.list_undelivered(job.id, name)):
            reach(FaultPoint.INSTANCE_SENT)
            self.ledger.record_outcome(job, outcome, self.clock(), given_up=is_given_up(outcome, self.work))
            reach(FaultPoint.OUTCOME_RECORDED)
            heartbeat.require_lease()
        refused = self.ledger.list_undelivered(job.id, name)
        if refused:
            statuses = ", ".join(sorted({one.last_status for one in refused}))
            raise DeliveryIncomplete(
                f"{name} refused {len(refused)} of {consignment.total} instances ({statuses}).",
                remedy="Only these are tried again; see `fusionnode jobs --json`.",
                destination=name,
                refused=len(refused),
                total=consignment.total,
            )

    def _commit(self, job: Job, consignment: Consignment) -> Consignment:
        """Ask for commitment where it is due; return the account after that."""
        phase = consignment.find_phase(commits=self._asks(consignment))
        if phase is Phase.REFUSED:
            raise self._name_refused(job, consignment)
        if phase is Phase.DONE:
            return replace(consignment, attempts=0, not_before=None, reason="", error="")
        if consignment.requests >= self.work.max_commitment_requests:
            raise DeliveryUncommitted(
                f"{consignment.destination} was asked {consignment.requests} times and has not committed to all of"
                f" {consignment.total} instances.",
                remedy="Look into its log, then run `fusionnode resend`.",
                destination=consignment.destination,
            )
        name, transaction = consignment.destination, str(generate_uid(prefix=None))
        self._require_answering(name)
        self.ledger.open_commitment(job, name, transaction, self.clock())
        reach(FaultPoint.COMMITMENT_OPENED)
        self.sender.request_commitment(name, transaction, self.ledger.list_uncommitted(job.id, name))
        reach(FaultPoint.COMMITMENT_ASKED)
        patience = timedelta(seconds=self.work.commitment_seconds)
        return replace(
            consignment,
            attempts=0,
            requests=consignment.requests + 1,
            not_before=self.clock() + patience,
            reason="Its storage commitment report is waited for.",
            error="",
        )

    def _name_refused(self, job: Job, consignment: Consignment) -> DeliveryRefused:
        given_up = self.ledger.list_refused(job.id, consignment.destination)
        statuses = ", ".join(sorted({one.last_status for one in given_up}))
        return DeliveryRefused(
            f"{consignment.destination} refuses {len(given_up)} of {consignment.total} instances for good ({statuses});"
            f" {consignment.stored} are stored.",
            remedy="Look into its log, then run `fusionnode resend`.",
            destination=consignment.destination,
            refused=len(given_up),
            total=consignment.total,
        )

    def _note_trouble(self, consignment: Consignment, error: Exception) -> Consignment:
        verdict = judge_consignment(error, consignment, self.clock(), self.work)
        if isinstance(error, DestinationUnreachable) and consignment.destination not in self._silent_until:
            limit = self.clock() + timedelta(seconds=_SILENCE_SECONDS)
            self._silent_until[consignment.destination] = min(verdict.not_before or limit, limit)
        told = str(error) if isinstance(error, FusionNodeError) else f"A defect: {type(error).__name__}."
        if verdict.defect:
            logger.error("defect in delivering to %s:\n%s", consignment.destination, format_frames(error))
        logger.warning("%s %s: %s", consignment.destination, "given up" if verdict.dead else "put off", told)
        return replace(
            consignment,
            attempts=consignment.attempts + 1,
            not_before=verdict.not_before,
            dead=verdict.dead,
            reason=told,
            error=error.code if isinstance(error, FusionNodeError) else type(error).__name__,
        )

    def _require_answering(self, destination: str) -> None:
        """Spare the other destinations the wait for one that did not answer a moment ago."""
        until = self._silent_until.get(destination)
        if until is not None and self.clock() < until:
            raise DestinationUnreachable(
                f"Destination {destination} did not answer a moment ago.",
                remedy="It will be tried again.",
                destination=destination,
            )
        self._silent_until.pop(destination, None)


def explain_rest(consignments: list[Consignment]) -> FusionNodeError | None:
    """Return what stands in the way of a job's destinations, in words; None when nothing does.

    It has the name of the first one's error, those that were given up before the others.
    """
    hindered = sorted((one for one in consignments if one.reason), key=lambda one: not one.dead)
    if not hindered:
        return None
    words = [f"{'Given up on ' if one.dead else ''}{one.destination}: {one.reason}" for one in hindered]
    return _NAMED.get(hindered[0].error, DeliveryIncomplete)(" ".join(words))


_NAMED = {
    kind.__name__: kind
    for kind in (CommitmentRefused, DeliveryRefused, DeliveryUncommitted, DestinationUnreachable, SettingsInvalid)
}
