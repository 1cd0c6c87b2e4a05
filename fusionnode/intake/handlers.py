"""Answers C-ECHO, C-STORE and commitment reports, and logs associations, without patient data (edge)."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from pynetdicom import evt
from pynetdicom.events import Event

from fusionnode.errors import DatasetUnreadable, SpoolFull, UidMalformed, format_frames
from fusionnode.flow.commitment import read_report, require_bounded
from fusionnode.flow.observing import UNOBSERVED, IntakeObserver
from fusionnode.flow.ports import CommitmentReport, StoredFile
from fusionnode.intake.access import NO_REASON
from fusionnode.intake.door import OPEN_DOOR, Door, describe_peer
from fusionnode.intake.peek import peek_identity
from fusionnode.intake.sockets import IntakeServer, PromptSocket, allow_time, dismiss, hasten
from fusionnode.intake.spool import Spool, translate_full
from fusionnode.intake.statuses import Status
from fusionnode.intake.streaming import InstanceStream, StoreRequest, StreamingProvider
from fusionnode.intake.subject import read_subject
from fusionnode.malformed import NOT_CODABLE

logger = logging.getLogger(__name__)

_REMEMBERED_INSTANCES = 16384


class Reception:
    """The event handlers of one listener. They run in the association's threads, several at a time."""

    def __init__(
        self,
        spool: Spool,
        keep_report: Callable[[CommitmentReport], None],
        observer: IntakeObserver = UNOBSERVED,
        door: Door = OPEN_DOOR,
    ) -> None:
        """``keep_report`` makes a commitment report durable; ``observer`` is told what happens."""
        self._spool = spool
        self._door = door
        self._observer = observer
        self._keep_report = keep_report
        self._seen: OrderedDict[str, str] = OrderedDict()
        # What a report takes while it is decoded is taken once, however many peers send one.
        self._decoding = threading.Lock()

    def list_handlers(self) -> list[Any]:
        """Return (event, handler) pairs to bind."""
        return [
            (evt.EVT_C_ECHO, self.answer_echo),
            (evt.EVT_C_STORE, self.answer_store),
            (evt.EVT_N_EVENT_REPORT, self.answer_report),
            (evt.EVT_CONN_OPEN, self.open_connection),
            (evt.EVT_ESTABLISHED, self.log_established),
            (evt.EVT_REQUESTED, self.judge_request),
            (evt.EVT_RELEASED, self.end_association),
            (evt.EVT_ABORTED, self.end_association),
            (evt.EVT_CONN_CLOSE, self.close_connection),
        ]

    def answer_echo(self, _event: Event) -> int:
        """Answer C-ECHO."""
        return Status.SUCCESS

    def answer_store(self, event: Event) -> int:
        """Answer C-STORE: Success if and only if the instance is durable.

        Any failure has its own status, and nothing of a failed instance stays in the spool.
        """
        stream, provider = getattr(event.request, "DataSet", None), event.assoc.dimse
        if not isinstance(stream, InstanceStream) or not isinstance(provider, StreamingProvider):
            logger.error("The association was not set up for streaming; the instance is refused")
            return Status.PROCESSING_FAILURE
        provider.claim(stream)
        if not provider.visit.enter():
            # It lay in a connection that is closed: nobody hears the answer, and its end has been told.
            stream.discard()
            return Status.PROCESSING_FAILURE
        try:
            status = self._try_to_keep(event, stream, provider)
            provider.visit.begin(self._observer, partial(describe_peer, event.assoc))
            self._observer.instance_answered(provider.key, stream.describe_answer(status))
        finally:
            provider.visit.leave(self._observer)
        return status

    def _try_to_keep(self, event: Event, stream: InstanceStream, provider: StreamingProvider) -> int:
        try:
            return self._keep_instance(stream, provider)
        except SpoolFull as problem:
            logger.error("Instance refused: %s", problem, extra=_correlate(event))
            return Status.OUT_OF_RESOURCES
        except (UidMalformed, DatasetUnreadable) as problem:
            logger.warning("Instance from %s refused: %s", _name_peer(event), problem, extra=_correlate(event))
            return Status.CANNOT_UNDERSTAND
        except Exception as problem:
            logger.error("Instance from %s not stored: %s", _name_peer(event), format_frames(problem))
            return Status.PROCESSING_FAILURE
        finally:
            stream.discard()

    def answer_report(self, event: Event) -> tuple[int, None]:
        """Answer a storage commitment report: Success if and only if it is durable."""
        try:
            # Small, and what leads to space becoming free: taken when instances are not any more.
            self._spool.require_free(self._spool.reserve_bytes // 4)
            with self._decoding:
                report = _read_report(event)
            self._keep_report(report)
        except SpoolFull as problem:
            logger.error("Commitment report refused: %s", problem)
            return Status.RESOURCE_LIMITATION, None
        except DatasetUnreadable as problem:
            logger.warning("Commitment report from %s refused: %s", _name_peer(event), problem)
            return Status.INVALID_ARGUMENT, None
        except Exception as problem:
            logger.error("Commitment report from %s not kept: %s", _name_peer(event), format_frames(problem))
            return Status.PROCESSING_FAILURE, None
        return Status.SUCCESS, None

    def open_connection(self, event: Event) -> None:
        """Prepare an association before its first byte is read."""
        hasten(event.assoc, StreamingProvider(event.assoc, self._spool, self._door.entrance.limits))

    def judge_request(self, event: Event) -> None:
        """Turn away whoever may not come in, before anything is negotiated; in doubt that is everybody."""
        server = event.assoc._server
        try:
            inside = server.list_inside() if isinstance(server, IntakeServer) else []
            rejection = self._door.judge(event.assoc, inside)
        except Exception as problem:
            logger.error("An association request cannot be judged: %s", format_frames(problem))
            rejection = NO_REASON
        if rejection is None:
            allow_time(event.assoc)
        else:
            self._door.reject(event.assoc, rejection)

    def log_established(self, event: Event) -> None:
        """Log and tell who opened an association."""
        if isinstance(event.assoc.dimse, StreamingProvider):
            event.assoc.dimse.visit.begin(self._observer, partial(describe_peer, event.assoc))
        logger.info("Association with %s", _name_peer(event), extra=_correlate(event))

    def end_association(self, event: Event) -> None:
        """Withdraw the evidence, delete what was left half received, and log how it ended."""
        if isinstance(event.assoc.dimse, StreamingProvider):
            event.assoc.dimse.visit.how = "aborted" if event.event is evt.EVT_ABORTED else "released"
            event.assoc.dimse.close()
        logger.info("%s: %s", event.event.description, _name_peer(event), extra=_correlate(event))

    def close_connection(self, event: Event) -> None:
        """Tell that it is over, and clear up; not every association ends in good order before."""
        if isinstance(event.assoc.dimse, StreamingProvider):
            event.assoc.dimse.close()
            event.assoc.dimse.visit.end(self._observer)
        transport = event.assoc.dul.socket
        if event.assoc.requestor.primitive is None and isinstance(transport, PromptSocket) and transport.touched:
            self._door.tell(describe_peer(event.assoc), "sent no association request")
        dismiss(event.assoc)

    def _keep_instance(self, stream: InstanceStream, provider: StreamingProvider) -> Status:
        try:
            return self._take_over(stream, provider)
        except OSError as problem:
            # A disk that fills up shows in whatever is written next: the data set, its folder, the evidence.
            raise translate_full(problem) from problem

    def _take_over(self, stream: InstanceStream, provider: StreamingProvider) -> Status:
        dataset = stream.open_dataset()
        request = stream.request
        if request is None:
            raise DatasetUnreadable("The request came without a data set.")
        identity = peek_identity(dataset, request.transfer_syntax)
        announced = (request.sop_class_uid, request.sop_instance_uid)
        if identity is not None and (identity.sop_class_uid, identity.sop_instance_uid) != announced:
            logger.warning("Instance %s refused: its data set is of another instance or class", announced[1])
            return Status.DATASET_DOES_NOT_MATCH
        stream.subject = read_subject(stream.open_dataset(), request.transfer_syntax)
        path, digest = stream.finish()
        stored = self._spool.accept(path, request.sop_instance_uid, digest)
        provider.evidence.add(stored)
        self._note_conflict(request, stored)
        return Status.SUCCESS

    def _note_conflict(self, request: StoreRequest, stored: StoredFile) -> None:
        """Log other bytes under a UID seen lately. The ledger finds the older ones, without scanning folders."""
        before = self._seen.pop(request.sop_instance_uid, stored.sha256)
        self._seen[request.sop_instance_uid] = stored.sha256
        if len(self._seen) > _REMEMBERED_INSTANCES:
            self._seen.popitem(last=False)
        if before != stored.sha256:
            logger.warning("Instance %s came again with other bytes; both are kept", request.sop_instance_uid)


def _read_report(event: Event) -> CommitmentReport:
    """Return what a peer reports.

    Raises:
        DatasetUnreadable: these are no data elements, or not those of a report, or too many.
    """
    require_bounded(getattr(event.request, "EventInformation", None))
    try:
        return read_report(event.event_information)
    except NOT_CODABLE as problem:
        raise DatasetUnreadable(f"A report breaks the DICOM encoding rules ({type(problem).__name__}).") from problem


def _correlate(event: Event) -> dict[str, str]:
    """Return what tells the lines of one association from those of others."""
    provider = event.assoc.dimse
    return {"association": provider.key} if isinstance(provider, StreamingProvider) else {}


def _name_peer(event: Event) -> str:
    peer = event.assoc.requestor
    return f"{peer.ae_title!r} at {peer.address}"
