"""Speaks to a listener byte by byte, as peers do that keep no rules; and reads what comes back."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import uid
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_ECHO_RQ
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    P_DATA,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from tests.support.dry_association import list_fragments

RELEASE_RQ = b"\x05\0\0\0\0\x04\0\0\0\0"
ACCEPTED, REJECTED, DATA, RELEASED, ABORTED = 2, 3, 4, 6, 7
_ECHO_CONTEXT, _STORE_CONTEXT = 1, 3
_OFFERED = (
    (_ECHO_CONTEXT, "1.2.840.10008.1.1", uid.ExplicitVRLittleEndian),
    (_STORE_CONTEXT, uid.MRImageStorage, uid.ExplicitVRLittleEndian),
)


@dataclass(frozen=True)
class Pdu:
    """A protocol data unit as it came (PS3.8 section 9.3): its type and what follows the length."""

    kind: int
    body: bytes

    @property
    def rejection(self) -> tuple[int, int, int]:
        """Result, source and reason of an A-ASSOCIATE-RJ (PS3.8 section 9.3.4)."""
        assert self.kind == REJECTED, self
        return self.body[1], self.body[2], self.body[3]


@contextmanager
def connected(port: int, source: str = "127.0.0.1", target: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A connection to the listener from the address ``source``."""
    with socket.create_connection((target, port), timeout=30, source_address=(source, 0)) as connection:
        yield connection


def encode_request(
    calling: str = "SCANNER",
    called: str = "NODE",
    context: str = "1.2.840.10008.3.1.1.1",
    offered: Sequence[tuple[int, str, str]] = _OFFERED,
) -> bytes:
    """An A-ASSOCIATE-RQ with presentation contexts of (number, SOP class, transfer syntax)."""
    request = A_ASSOCIATE()
    request.application_context_name = context
    request.calling_ae_title, request.called_ae_title = calling, called
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = UID("1.2.3")
    request.user_information = [length, implementation]
    contexts = []
    for number, sop_class, syntax in offered:
        one = build_context(sop_class, syntax)
        one.context_id = number
        contexts.append(one)
    request.presentation_context_definition_list = contexts
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(request)
    return bytes(pdu.encode())


def encode_echo() -> bytes:
    """A C-ECHO request."""
    message = C_ECHO_RQ()
    command = message.command_set
    command.AffectedSOPClassUID = UID("1.2.840.10008.1.1")
    command.CommandField, command.MessageID, command.CommandDataSetType = 0x30, 7, 0x0101
    return b"".join(_encode_data(message.encode_msg(_ECHO_CONTEXT, 16382)))


def encode_store(
    encoded: bytes, sop_instance_uid: str, sop_class_uid: str = uid.MRImageStorage, context_id: int = _STORE_CONTEXT
) -> list[bytes]:
    """The P-DATA-TF PDUs of a C-STORE request; the first is its command set."""
    return _encode_data(list_fragments(encoded, sop_instance_uid, sop_class_uid, context_id))


def encode_fragment(control: int, content: bytes, context_id: int = _STORE_CONTEXT) -> bytes:
    """A P-DATA-TF of one presentation data value with this message control header (PS3.8 annex E)."""
    value = struct.pack(">LBB", len(content) + 2, context_id, control) + content
    return struct.pack(">BxL", DATA, len(value)) + value


def read_pdus(connection: socket.socket) -> list[Pdu]:
    """Read until the other end closes or resets the connection; a PDU that is cut off is left out."""
    received = bytearray()
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return list(_split(bytes(received)))


def read_pdu(connection: socket.socket) -> Pdu:
    """Read one PDU."""
    kind, length = struct.unpack(">BxL", _read(connection, 6))
    return Pdu(kind, _read(connection, length))


def establish(connection: socket.socket, calling: str = "SCANNER", called: str = "NODE") -> None:
    """Open an association for Verification and MR images."""
    connection.sendall(encode_request(calling, called))
    assert read_pdu(connection).kind == ACCEPTED


def _encode_data(primitives: Sequence[P_DATA] | Iterator[P_DATA]) -> list[bytes]:
    pdus = []
    for primitive in primitives:
        pdu = P_DATA_TF()
        pdu.from_primitive(primitive)
        pdus.append(bytes(pdu.encode()))
    return pdus


def _split(received: bytes) -> Iterator[Pdu]:
    while len(received) >= 6:
        kind, length = struct.unpack_from(">BxL", received)
        if len(received) < 6 + length:
            return
        yield Pdu(kind, received[6 : 6 + length])
        received = received[6 + length :]


def _read(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        assert chunk, "the connection was closed in the middle of a PDU"
        received += chunk
    return received
