"""Carries instances to a PACS by C-STORE and tells exactly what became of each of them (edge)."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.events import EVT_N_EVENT_REPORT, EVT_PDU_SENT, Event, EventHandlerType
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.directory import find_destination
from fusionnode.delivery.offers import Parcel, choose_syntax, group_parcels, list_contexts
from fusionnode.delivery.parcels import open_parcels
from fusionnode.delivery.statuses import NO_PRESENTATION_CONTEXT, NOT_ENCODABLE, judge_status
from fusionnode.delivery.transcode import read_plain
from fusionnode.dimse.association import open_association, own_answers
from fusionnode.dimse.node import Patience
from fusionnode.errors import CaptureInvalid, CommitmentRefused
from fusionnode.flow.commitment import build_request, read_report, require_bounded
from fusionnode.flow.ports import CommitmentReport, Delivery, DeliveryOutcome

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
"""How long a commitment report is waited for before the association in which it was asked for is released; most send
it later, over one of their own."""

_PATIENCE = Patience()
_REQUEST_COMMITMENT = 1
"""Action Type ID (PS3.4 section J.3.2)."""
_PLAIN: list[str | UID] = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]
"""Without the deflated one, in which a short report may be a huge one."""


def _drop_report(report: CommitmentReport) -> None:
    """Where nothing asks for commitment, nobody keeps a report."""


class AssociationSender:
    """Sends to DICOM nodes, one association per call; fulfils `fusionnode.flow.ports.Sender`.

    Args:
        spool_root: what the paths of deliveries are relative to.
        destinations: by the name that deliveries use.
        keep_report: makes a commitment report durable that comes over our own association, before it is answered.
        report_seconds: how long it is waited for.
    """

    def __init__(
        self,
        spool_root: Path,
        destinations: Mapping[str, Destination],
        patience: Patience = _PATIENCE,
        keep_report: Callable[[CommitmentReport], None] = _drop_report,
        report_seconds: float = REPORT_SECONDS,
    ) -> None:
        self._spool_root = spool_root
        self._destinations = destinations
        self._patience = patience
        self._keep_report = keep_report
        self._report_seconds = report_seconds
        # Files then go out byte for byte as they are stored, without being decoded.
        _config.STORE_SEND_CHUNKED_DATASET = True

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Send each instance over one association and yield what became of it.

        A refusal, a missing file or a kind of object the destination does not take costs that instance only. An
        instance in a transfer syntax that it does not take is decoded and sent in a plain one.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: no association could be had, or it broke; what was yielded before stands, and
                what was not yielded is unknown and must be sent again.
        """
        return self._send_to(find_destination(self._destinations, destination), deliveries)

    def offers_commitment(self, destination: str) -> bool:
        """Return whether storage commitment is to be asked of it."""
        return destination in self._destinations and self._destinations[destination].commits

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        """Ask by N-ACTION that the destination answer for what it accepted (PS3.4 section J.3.2).

        Its report may come over this association while it lasts (`REPORT_SECONDS`) or over another one to our
        listener.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: there is no association.
            CommitmentRefused: it does not take the request.
        """
        peer = find_destination(self._destinations, destination)
        heard, answered = threading.Event(), threading.Event()

        def hear(event: Event) -> tuple[int, None]:
            require_bounded(getattr(event.request, "EventInformation", None))
            self._keep_report(read_report(event.event_information))
            heard.set()
            return 0x0000, None

        def notice(event: Event) -> None:
            if heard.is_set() and isinstance(event.pdu, P_DATA_TF):
                answered.set()

        contexts = [build_context(StorageCommitmentPushModel, _PLAIN)]
        handlers: list[EventHandlerType] = [(EVT_N_EVENT_REPORT, hear), (EVT_PDU_SENT, notice)]
        with open_association(peer, contexts, self._patience, handlers) as assoc:
            if not assoc.is_established:
                raise _name_refusal(peer, "it does not take storage commitment requests")
            status = _ask(assoc, build_request(transaction_uid, deliveries))
            if status != "0000":
                raise _name_refusal(peer, f"N-ACTION for storage commitment: {status}")
            if heard.wait(self._report_seconds):
                # Released between the report and our answer, the peer would wait for that answer in vain.
                answered.wait(self._patience.answer_seconds)

    def echo(self, destination: str) -> str:
        """Ask whether the destination answers; returns the status of its C-ECHO, ``0000``.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: it does not answer, or not with success.
        """
        peer = find_destination(self._destinations, destination)
        with (
            open_association(peer, [build_context(Verification)], self._patience) as assoc,
            own_answers(assoc),
        ):
            answer = assoc.send_c_echo() if assoc.is_established else None
            status = _read_status(answer)
        if status != "0000":
            raise peer.describe_trouble(f"C-ECHO: {status}")
        return status

    def _send_to(self, peer: Destination, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        parcels, unusable = open_parcels(self._spool_root, deliveries)
        yield from unusable
        for group in group_parcels(parcels):
            contexts = list_contexts(group)
            with open_association(peer, contexts, self._patience) as assoc, own_answers(assoc):
                _log_transcoding(peer, group, assoc)
                for number, parcel in enumerate(group, start=1):
                    yield _store(assoc, peer, parcel, message_id=number % 0xFFFF + 1)


def _name_refusal(peer: Destination, why: str) -> CommitmentRefused:
    return CommitmentRefused(
        f"Destination {peer.place}: {why}.",
        remedy="Let it know this node as one that may ask, or set `commitment = false`; it will be tried again.",
        destination=peer.name,
        why=why,
    )


def _log_transcoding(peer: Destination, parcels: Sequence[Parcel], assoc: Association) -> None:
    """Say once for each transfer syntax that it is not what goes out."""
    changes = {(one.transfer_syntax_uid, choose_syntax(one, assoc.accepted_contexts)) for one in parcels}
    for stored, sent in sorted(changes):
        if sent and sent != stored:
            logger.info("%s does not take %s; sent as %s", peer.name, UID(stored).name, UID(sent).name)


def _store(assoc: Association, peer: Destination, parcel: Parcel, message_id: int) -> DeliveryOutcome:
    syntax = choose_syntax(parcel, assoc.accepted_contexts)
    if not syntax:
        return judge_status(parcel.delivery, NO_PRESENTATION_CONTEXT)
    as_stored = syntax == parcel.transfer_syntax_uid
    try:
        answer = assoc.send_c_store(parcel.path if as_stored else read_plain(parcel.path), msg_id=message_id)
    except FileNotFoundError:
        # pynetdicom opens the file in the middle of the message, so this association cannot be used any further.
        assoc.abort()
        raise peer.describe_trouble("aborted, because a file vanished from the spool while it was sent") from None
    except (ValueError, CaptureInvalid):
        return judge_status(parcel.delivery, NOT_ENCODABLE)
    except RuntimeError:
        raise peer.describe_trouble("the association broke") from None
    if "Status" not in answer:
        assoc.abort()
        raise peer.describe_trouble("the association broke, or no answer came in time")
    status = _read_status(answer)
    if status != "0000":
        logger.warning("%s: %s answered %s", parcel.delivery.sop_instance_uid, peer.name, status)
    return judge_status(parcel.delivery, status)


def _ask(assoc: Association, request: Any) -> str:
    try:
        # Only while its answer is waited for: afterwards the association's own loop must hear the report.
        with own_answers(assoc):
            answer, _ = assoc.send_n_action(
                request, _REQUEST_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
    except RuntimeError:
        return "the association broke"
    return _read_status(answer)


def _read_status(answer: Any) -> str:
    return f"{answer.Status:04X}" if answer is not None and "Status" in answer else "no answer"
