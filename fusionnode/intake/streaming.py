"""Writes the data set of a C-STORE request into the spool while it arrives (edge).

pynetdicom can do so too, but only for a whole process at once, into the system's temporary folder, and a full disk
then breaks the association instead of being answered. Here each association gets its own DIMSE provider.
"""

import hashlib
import io
import logging
import queue
import struct
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, N_EVENT_REPORT_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE

from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, parse_uid
from fusionnode.errors import DatasetUnreadable, FusionNodeError
from fusionnode.flow.commitment import MAX_REPORT_BYTES
from fusionnode.flow.observing import NOBODY, StoreAnswer, Subject
from fusionnode.intake.limits import DEFAULT_LIMITS, ListenerLimits, Pace
from fusionnode.intake.spool import AssociationEvidence, Spool, translate_full
from fusionnode.intake.visit import Visit
from fusionnode.malformed import NOT_CODABLE

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.002

_BUFFER_BYTES = 1 << 18
# Far more than any command set needs, and than a peer may have underway that proposed no asynchronous operations.
_COMMAND_BYTES = 1 << 16
_MOST_UNANSWERED = 16
# Of one data set between two looks at the space that is left.
_BYTES_PER_CHECK = 1 << 25


@dataclass(frozen=True)
class StoreRequest:
    """What the command set and the presentation context say about an instance."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: UID
    calling_ae_title: str


class InstanceStream(io.BytesIO):
    """Stands where pynetdicom collects a data set in memory; what is written goes to a file in `Spool.incoming`.

    Writing never raises, because it happens in the thread that keeps the association alive. What goes wrong is kept in
    ``failure``, later bytes are dropped, and the handler answers with the matching status.

    Attributes:
        request: facts of the request; None until the first byte.
        failure: why the data set cannot be kept, or None.
        subject: whose data it is, once that was read.
    """

    def __init__(self, spool: Spool, message: DIMSEMessage, assoc: Association) -> None:
        super().__init__()
        self.request: StoreRequest | None = None
        self.failure: FusionNodeError | OSError | None = None
        self.path: Path | None = None
        self.subject: Subject = NOBODY
        self._begun = time.perf_counter()
        self._spool, self._message, self._assoc = spool, message, assoc
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._offset = 0
        self._unchecked = 0
        # The transport's thread writes while the association's may be giving the stream up.
        self._turn = threading.Lock()

    def write(self, data: Any, /) -> int:
        """Append a fragment of the data set, or of a report, which stays in memory: it is short."""
        # One that is too long stays so, whatever is dropped of it from then on.
        if isinstance(self._message, N_EVENT_REPORT_RQ) and self.tell() <= MAX_REPORT_BYTES:
            return super().write(data)
        with self._turn:
            if self.failure is None:
                self._append(data)
        return len(data)

    def open_dataset(self) -> BinaryIO:
        """Return the file, positioned at the data set's first element.

        Raises:
            FusionNodeError, OSError: what went wrong while the data set arrived.
        """
        if self.failure is not None:
            raise self.failure
        if self._file is None:
            raise DatasetUnreadable("The request came without a data set.")
        self._file.seek(self._offset)
        return self._file

    def finish(self) -> tuple[Path, str]:
        """Close the complete file; return it and the SHA-256 of its data set."""
        self.open_dataset().close()
        return cast("Path", self.path), self._hash.hexdigest()

    def describe_answer(self, status: int) -> StoreAnswer:
        """Return what those who watch are told of the request, answered with ``status``."""
        command = self._message.command_set
        seconds = time.perf_counter() - self._begun
        stored_uid = str(command.get("AffectedSOPInstanceUID", ""))
        subject = NOBODY if status else self.subject
        return StoreAnswer(str(command.get("AffectedSOPClassUID", "")), stored_uid, status, seconds, subject)

    def discard(self) -> None:
        """Delete whatever is left of the file in `Spool.incoming`; safe to repeat."""
        with self._turn:
            self.failure = self.failure or DatasetUnreadable("The association ended before the data set was complete.")
            # Closing writes what is still buffered, which fails again on the full disk that made us come here.
            with suppress(OSError):
                if self._file is not None:
                    self._file.close()
            if self.path is not None:
                self.path.unlink(missing_ok=True)

    def _append(self, data: Any) -> None:
        try:
            file = self._file or self._begin()
            self._hash.update(data)
            file.write(data)
            self._check_space(len(data))
        except OSError as problem:
            self.failure = translate_full(problem)
        except FusionNodeError as problem:
            self.failure = problem

    def _check_space(self, count: int) -> None:
        """Look again now and then: a peer may send more than was free when it began."""
        self._unchecked += count
        if self._unchecked > _BYTES_PER_CHECK:
            self._unchecked = 0
            self._spool.check_space()

    def _begin(self) -> BinaryIO:
        self.request = _read_request(self._message, self._assoc)
        self._spool.check_space()
        self.path = self._spool.incoming / f"{uuid.uuid4().hex}.part"
        self._file = self.path.open("x+b", buffering=_BUFFER_BYTES)
        header = encode_header(self.request)
        self._offset = len(header)
        self._file.write(header)
        return self._file


class StreamingProvider(DIMSEServiceProvider):
    """The DIMSE provider of one association: streams C-STORE data sets into the spool and has them answered at once.

    C-STORE requests are served in the transport's thread, as the peer is silent until it has its answer; handing each
    of them to the association's thread and back would cost more than the rest of the work. All else goes the usual way.

    Attributes:
        evidence: what this association has stored so far.
        key: tells this association from any other one, in traces.
        visit: what was told of it.
    """

    def __init__(self, assoc: Association, spool: Spool, limits: ListenerLimits = DEFAULT_LIMITS) -> None:
        super().__init__(assoc)
        self.evidence: AssociationEvidence = spool.open_evidence()
        self.key = uuid.uuid4().hex[:12]
        self.visit = Visit(self.key)
        self.msg_queue = _ServingQueue(self._serve_now)
        self._spool = spool
        self._unclaimed: set[InstanceStream] = set()
        self._closed = False
        self._pace = Pace(limits)
        self._unanswered = 0
        self._counting = threading.Lock()

    def receive_primitive(self, primitive: Any) -> None:
        """Take a P-DATA primitive in; a malformed or endless message ends the association, not the thread."""
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.data_set = InstanceStream(self._spool, self.message, self.assoc)
            self._unclaimed.add(self.message.data_set)
            self._pace.begin()
            if self._closed:
                # What still lay in the connection when the association was ended is nobody's any more.
                self.message.data_set.discard()
        message, stream = self.message, cast("InstanceStream", self.message.data_set)
        try:
            super().receive_primitive(primitive)
        except NOT_CODABLE as problem:
            self._give_up(f"malformed DIMSE message, {type(problem).__name__}")
            return
        if self.message is None:
            self._note_message(stream)
        elif message.encoded_command_set.tell() > _COMMAND_BYTES:
            self._give_up("a command set without an end")
        elif not self._pace.keeps(sum(len(value) for _, value in primitive.presentation_data_value_list)):
            self._give_up("a message that hardly comes")

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send an answer."""
        with self._counting:
            self._unanswered -= 1
        super().send_msg(primitive, context_id)

    def get_msg(self, block: bool = False) -> Any:
        """Return the next message, waiting a moment for it instead of being asked a thousand times a second."""
        if block:
            return super().get_msg(block=True)
        try:
            return self.msg_queue.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return None, None

    def claim(self, stream: InstanceStream) -> None:
        """Make the caller responsible for discarding ``stream``."""
        self._unclaimed.discard(stream)

    def close(self) -> None:
        """Delete unfinished files and withdraw the evidence; safe to repeat."""
        self._closed = True
        for stream in tuple(self._unclaimed):
            stream.discard()
        self._unclaimed.clear()
        self.evidence.close()

    def _note_message(self, stream: InstanceStream) -> None:
        """A message is complete; a C-STORE request has been answered already, the others may have to wait."""
        if stream.path is None:
            self._unclaimed.discard(stream)
        with self._counting:
            self._unanswered += 1
            too_many = self._unanswered > _MOST_UNANSWERED
        if too_many:
            self._give_up("requests that wait for no answer")

    def _give_up(self, why: str) -> None:
        logger.warning("Aborting the association with %r: %s", self.assoc.requestor.ae_title, why)
        self.dul.event_queue.put("Evt19")

    def _serve_now(self, context_id: int | None, request: Any) -> bool:
        """Answer a C-STORE request; False leaves the message to the association's thread."""
        if not isinstance(request, C_STORE) or not request.is_valid_request or not self.assoc.is_established:
            return False
        context = self.assoc._accepted_cx.get(cast("int", context_id))
        if context is None:
            return False
        attributes = {"request": request, "context": context.as_tuple}
        answer = C_STORE()
        answer.Status = evt.trigger(self.assoc, evt.EVT_C_STORE, attributes)
        answer.MessageIDBeingRespondedTo = request.MessageID
        answer.AffectedSOPClassUID = request.AffectedSOPClassUID
        answer.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        self.send_msg(answer, cast("int", context_id))
        return True


class _ServingQueue(queue.Queue[Any]):
    """A message queue that offers each message to ``serve`` first and keeps those it does not take."""

    def __init__(self, serve: Callable[[int | None, Any], bool]) -> None:
        super().__init__()
        self._serve = serve

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if not self._serve(*item):
            super().put(item, block, timeout)


def _read_request(message: DIMSEMessage, assoc: Association) -> StoreRequest:
    context = assoc._accepted_cx.get(cast("int", message.context_id))
    if not isinstance(message, C_STORE_RQ) or context is None:
        raise DatasetUnreadable("Only C-STORE requests in an accepted presentation context bring a data set here.")
    command = message.command_set
    return StoreRequest(
        sop_class_uid=parse_uid(str(command.get("AffectedSOPClassUID", ""))),
        sop_instance_uid=parse_uid(str(command.get("AffectedSOPInstanceUID", ""))),
        transfer_syntax=context.transfer_syntax[0],
        calling_ae_title=assoc.requestor.ae_title,
    )


def encode_header(request: StoreRequest) -> bytes:
    """Return preamble, prefix and file meta information (PS3.10 section 7.1), written out as it is needed so often."""
    texts = (
        (0x0002, b"UI", request.sop_class_uid),
        (0x0003, b"UI", request.sop_instance_uid),
        (0x0010, b"UI", request.transfer_syntax),
        (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        (0x0016, b"AE", request.calling_ae_title),
    )
    version = struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\x00\x01"
    elements = version + b"".join(_encode_text(element, vr, text) for element, vr, text in texts if text)
    group_length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(elements))
    return bytes(128) + b"DICM" + group_length + elements


def _encode_text(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value
