"""What is fuzzed, and what must hold whatever comes: an answer or a named refusal, never a crash, and life goes on."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE

from fusionnode.errors import Refused
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from fusionnode.intake.door import Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener
from fusionnode.intake.peek import peek_identity
from fusionnode.intake.spool import Spool, hash_dataset

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
INSTANCE_UID = "1.2.3"
BARE = 0xFF
"""As the first byte: the rest is a file as it stands, not a data set."""

_ECHO_EVERY = 200
_SILENCE_SECONDS = 10.0
_ANSWER_SECONDS = 0.3


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
    """Read ``content`` as the sweep would read a received file, and as the listener peeks into it.

    Raises:
        Exception: anything but a refusal; a defect.
    """
    path = scratch / "strange.dcm"
    path.write_bytes(wrap_dataset(content))
    with suppress(Refused):
        read_header(StoredFile(path, path.name, ""))
    if content and content[0] != BARE:
        with path.open("rb") as file, suppress(Refused):
            file.seek(len(wrap_dataset(content[:1])))
            peek_identity(file, SYNTAXES[content[0] % len(SYNTAXES)])


@dataclass
class Target:
    """A listener of this process that strange bytes are sent to.

    Attributes:
        escaped: exceptions that ended a thread of it.
    """

    listener: Listener
    spool: Spool
    escaped: list[str] = field(default_factory=list)
    _runs: int = 0

    def send(self, content: bytes) -> None:
        """Send one conversation (`tell_conversation`) and wait until the listener has closed the connection.

        Raises:
            AssertionError: the listener did not close it, a thread died, or what lies in the spool is not what its
                name says; a defect.
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
        if self._runs % _ECHO_EVERY == 0:
            self.require_life()

    def require_life(self) -> None:
        """Make sure that a well-behaved peer is served, and that nothing half-received lies about.

        Raises:
            AssertionError: it is not.
        """
        entity = AE("SANE")
        entity.add_requested_context("1.2.840.10008.1.1")
        assoc = entity.associate("127.0.0.1", self.listener.port, ae_title="FUSIONNODE")
        assert assoc.is_established, "the listener takes no association any more"
        status = assoc.send_c_echo()
        assoc.release()
        assert status.Status == 0x0000
        for stored in self.spool.list_arrivals():
            assert hash_dataset(stored.path) == stored.sha256, stored.path
            stored.path.unlink()


def _talk(peer: socket.socket, content: bytes) -> None:
    for part in tell_conversation(content):
        peer.sendall(part)
        if part[:1] == b"\1":
            _hear_out(peer)
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(1 << 16):
        pass


def _hear_out(peer: socket.socket) -> None:
    """Wait a moment for the answer to an association request, as a peer does that has manners."""
    peer.settimeout(_ANSWER_SECONDS)
    with suppress(TimeoutError):
        peer.recv(1 << 16)
    peer.settimeout(_SILENCE_SECONDS)


def tell_conversation(content: bytes) -> Iterator[bytes]:
    """Return what goes over the wire. ``content`` is a sequence of: kind (1 byte), length (2 bytes), that many bytes.

    Kinds, modulo 5: bytes as they stand, a PDU of a type that the first byte names, an association request with these
    bytes as one more item, a P-DATA-TF with them as a fragment, and a good C-STORE request before a data set of them.
    """
    place = 0
    while place + 3 <= len(content):
        kind, length = content[place] % 5, int.from_bytes(content[place + 1 : place + 3], "big")
        body = content[place + 3 : place + 3 + length]
        place += 3 + length
        if kind == 0:
            yield body
        elif kind == 1:
            yield make_pdu(body[0] if body else 0, body[1:])
        elif kind == 2:
            yield make_request(body)
        elif kind == 3:
            yield make_fragment(body[1:], body[0] if body else 0)
        else:
            yield make_fragment(make_store_command(), 3) + make_fragment(body, 2)


def make_pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU (PS3.8 section 9.3) whose length is right."""
    return struct.pack(">BBL", kind, 0, len(body)) + body


def make_request(more: bytes = b"") -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8 section 9.3.2) for MR images, with ``more`` as further items."""
    syntaxes = _item(0x30, MRImageStorage.encode()) + b"".join(_item(0x40, one.encode()) for one in SYNTAXES[:2])
    context = _item(0x20, bytes([1, 0, 0, 0]) + syntaxes)
    user = _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4"))
    titles = b"FUSIONNODE".ljust(16) + b"STRANGER".ljust(16)
    return make_pdu(
        1, b"\0\1\0\0" + titles + b"\0" * 32 + _item(0x10, b"1.2.840.10008.3.1.1.1") + context + user + more
    )


def make_fragment(body: bytes, control: int) -> bytes:
    """Return a P-DATA-TF with one value (PS3.8 sections 9.3.5 and E.2)."""
    return make_pdu(4, struct.pack(">LBB", len(body) + 2, 1, control) + body)


def make_store_command() -> bytes:
    """Return the command set of a C-STORE request (PS3.7 section 9.3.1.1)."""
    elements = [(0x0002, MRImageStorage.encode()), (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0")]
    elements += [(0x0800, b"\1\0"), (0x1000, INSTANCE_UID.encode())]
    body = b"".join(
        struct.pack("<HHL", 0, tag, len(value) + len(value) % 2) + value + b"\0" * (len(value) % 2)
        for tag, value in elements
    )
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


@contextmanager
def listening(folder: Path) -> Iterator[Target]:
    """Run a listener to be fuzzed, with its spool below ``folder``."""
    spool = Spool(folder / "spool", reserve_bytes=0)
    entrance = Entrance(limits=ListenerLimits(acse_seconds=3, network_seconds=3))
    listener = Listener("FUSIONNODE", "127.0.0.1", 0, spool, entrance)
    target = Target(listener, spool)
    before = threading.excepthook
    threading.excepthook = lambda args: target.escaped.append(f"{args.exc_type.__name__} in {args.thread}")
    listener.start()
    try:
        yield target
    finally:
        listener.stop(grace_seconds=5)
        threading.excepthook = before
