"""What is fuzzed, and what must hold whatever comes: an answer or a named refusal, never a crash, and life goes on."""

import logging
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pynetdicom import AE, Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.sop_class import Verification

from fusionnode.errors import Refused
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.intake import handlers
from fusionnode.intake.door import Entrance
from fusionnode.intake.folder import read_folder
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener
from fusionnode.intake.peek import peek_identity
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.intake.subject import read_subject
from fusionnode.volumes.assemble import assemble_volume
from tests.fuzz.conversation import INSTANCE_UID, SYNTAXES, tell_conversation
from tests.support.running import await_value

BARE = 0xFF
"""As the first byte: the rest is a file as it stands, not a data set."""

_LOOK_EVERY = 200
_SILENCE_SECONDS = 10.0
_ANSWER_SECONDS = 0.3
_ANSWERED = (b"\1", b"\5")


def wrap_dataset(content: bytes) -> bytes:
    """Return a DICOM file (PS3.10 section 7.1). The first byte of ``content`` chooses the transfer syntax."""
    if not content or content[0] == BARE:
        return content[1:]
    elements = [
        (0x00020002, b"UI", MRImageStorage.encode()),
        (0x00020003, b"UI", INSTANCE_UID.encode()),
        (0x00020010, b"UI", SYNTAXES[content[0] % len(SYNTAXES)].encode()),
    ]
    meta = b"".join(_encode(*one) for one in elements)
    length = _encode(0x00020000, b"UL", struct.pack("<L", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta + content[1:]


def _encode(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def read_strange_header(content: bytes, scratch: Path) -> None:
    """Read ``content`` as the sweep would read a received file, and as the listener looks into it.

    Raises:
        Exception: anything but a refusal; a defect.
    """
    path = scratch / "strange.dcm"
    path.write_bytes(wrap_dataset(content))
    with suppress(Refused):
        read_header(StoredFile(path, path.name, ""))
    if content and content[0] != BARE:
        syntax, offset = SYNTAXES[content[0] % len(SYNTAXES)], len(wrap_dataset(content[:1]))
        with path.open("rb") as file:
            file.seek(offset)
            with suppress(Refused):
                peek_identity(file, syntax)
            file.seek(offset)
            read_subject(file, syntax)


def read_strange_volume(content: bytes, scratch: Path, neighbours: Sequence[Dataset]) -> None:
    """Make a volume of ``content`` and of those ``neighbours`` that say they are of its series.

    Raises:
        Exception: anything but a refusal; a defect.
    """
    if content and content[0] != BARE and content[0] % len(SYNTAXES) > 2:
        # Every compressed frame would cost a process, which has tests of its own.
        return
    (scratch / "strange.dcm").write_bytes(wrap_dataset(content))
    with suppress(Refused):
        strange = read_folder(scratch)
        own = str(strange[0].SeriesInstanceUID)
        assemble_volume([*strange, *(ds for ds in neighbours if ds.SeriesInstanceUID == own)])


@dataclass
class Target:
    """A listener of this process that strange bytes are sent to.

    Attributes:
        escaped: exceptions that ended a thread of it, or that its handlers did not foresee.
    """

    listener: Listener
    spool: Spool
    escaped: list[str] = field(default_factory=list)
    _runs: int = 0
    _descriptors: int = 0

    def send(self, content: bytes) -> None:
        """Send one conversation (`tell_conversation`) and wait until the listener has closed the connection.

        Raises:
            AssertionError: the listener did not close it, a thread died, or it holds on to something (`require_life`);
                a defect.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.listener.port), timeout=_SILENCE_SECONDS) as peer:
                _talk(peer, content)
        except TimeoutError:
            raise AssertionError("the listener neither goes on nor closes the connection") from None
        except OSError:
            # It closed the connection first, as it may.
            pass
        self._runs += 1
        assert not self.escaped, self.escaped
        if self._runs % _LOOK_EVERY == 0:
            self.require_life()

    def require_life(self) -> None:
        """Make sure that a well-behaved peer is served, and that nothing half-received, no thread and no file is left.

        Raises:
            AssertionError: it is not.
        """
        self._require_echo()
        self.await_quiet()
        assert list(self.spool.incoming.iterdir()) == []
        assert list(self.spool.associations.iterdir()) == []
        for stored in self.spool.list_arrivals():
            assert hash_dataset(stored.path) == stored.sha256, stored.path
            stored.path.unlink()
        reports = ReportFolder(self.spool.root)
        for name, _ in reports.list_reports():
            reports.discard_report(name)
        assert list(reports.folder.iterdir()) == []
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        self._descriptors = self._descriptors or descriptors
        assert descriptors <= self._descriptors, f"{descriptors} open files instead of {self._descriptors}"
        assert not self.escaped, self.escaped

    def await_quiet(self) -> None:
        """Wait until no association is left."""
        await_value(lambda: not _list_association_threads(), seconds=20, pause=0.01)

    def _require_echo(self) -> None:
        entity = AE("SANE")
        entity.add_requested_context(Verification)
        assoc = entity.associate("127.0.0.1", self.listener.port, ae_title="FUSIONNODE")
        assert assoc.is_established, "the listener takes no association any more"
        status = assoc.send_c_echo()
        assoc.release()
        assert status.Status == 0x0000


class _Watch(logging.Handler):
    """Notes what our handlers did not foresee: they log it as an error, and what a peer did wrong as a warning."""

    def __init__(self, escaped: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._escaped = escaped

    def emit(self, record: logging.LogRecord) -> None:
        self._escaped.append(record.getMessage())


def _list_association_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if isinstance(one, Association | DULServiceProvider)]


def _talk(peer: socket.socket, content: bytes) -> None:
    for part in tell_conversation(content):
        peer.sendall(part)
        if part[:1] in _ANSWERED:
            _hear_out(peer)
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(1 << 16):
        pass


def _hear_out(peer: socket.socket) -> None:
    """Wait a moment for the answer to a request or a release, as a peer does that has manners."""
    peer.settimeout(_ANSWER_SECONDS)
    with suppress(TimeoutError):
        peer.recv(1 << 16)
    peer.settimeout(_SILENCE_SECONDS)


@contextmanager
def listening(folder: Path, patience_seconds: float = 3) -> Iterator[Target]:
    """Run a listener to be fuzzed, with its spool below ``folder``."""
    spool = Spool(folder / "spool", reserve_bytes=0)
    entrance = Entrance(limits=ListenerLimits(acse_seconds=patience_seconds, network_seconds=patience_seconds))
    listener = Listener("FUSIONNODE", "127.0.0.1", 0, spool, entrance)
    target = Target(listener, spool)
    before = threading.excepthook
    threading.excepthook = lambda args: target.escaped.append(f"{args.exc_type.__name__} in {args.thread}")
    watch = _Watch(target.escaped)
    logging.getLogger(handlers.__name__).addHandler(watch)
    listener.start()
    try:
        yield target
    finally:
        listener.stop(grace_seconds=5)
        logging.getLogger(handlers.__name__).removeHandler(watch)
        threading.excepthook = before
