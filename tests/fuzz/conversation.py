"""What a fuzzed input says to the listener, byte by byte: good peers' PDUs with strange parts in any place."""

import struct
from collections.abc import Callable, Iterable, Iterator

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from tests.support.wire import encode_fragment

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
INSTANCE_UID = "1.2.3"

RAW, PDU, REQUEST, FRAGMENT, STORE, COMMAND, REPORT, USER, VALUES = range(9)
_KINDS = 9
# A command set in one fragment, and the last fragment of a data set (PS3.8 section E.2).
_WHOLE, _LAST = 3, 2

MR, DEFLATED, COMMITMENT, ECHO = 1, 3, 5, 7
_OFFERED = {
    MR: (MRImageStorage, SYNTAXES[:3]),
    DEFLATED: (MRImageStorage, SYNTAXES[3:4]),
    COMMITMENT: (StorageCommitmentPushModel, SYNTAXES[:1]),
    ECHO: (Verification, SYNTAXES[:1]),
}


def tell_conversation(content: bytes) -> Iterator[bytes]:
    """Yield what goes over the wire. ``content`` is a sequence of: kind (1 byte), length (2 bytes), that many bytes.

    Kinds, modulo 9:

    - ``RAW``: the bytes as they stand
    - ``PDU``: a PDU of the type that the first byte names
    - ``REQUEST``: a good association request, with the bytes as further items
    - ``FRAGMENT``: a P-DATA-TF of one value; the first byte gives control header and context (`_encode_value`)
    - ``STORE``: a good C-STORE command, and a data set of these bytes in the context that the first byte names
    - ``COMMAND``: a command set of these bytes, behind the right group length
    - ``REPORT``: a good N-EVENT-REPORT command, and the bytes as what it reports
    - ``USER``: an association request with the bytes as further items of its user information
    - ``VALUES``: a P-DATA-TF of many values, each a first byte as above, a length of one byte and that many bytes
    """
    place = 0
    while place + 3 <= len(content):
        kind, length = content[place] % _KINDS, int.from_bytes(content[place + 1 : place + 3], "big")
        body = content[place + 3 : place + 3 + length]
        place += 3 + length
        yield _tell(kind, body)


def _tell(kind: int, body: bytes) -> bytes:
    head = body[:1] or b"\0"
    context, control, rest = _choose_context(head[0]), head[0] & 3, body[1:]
    tellers: dict[int, Callable[[], bytes]] = {
        RAW: lambda: body,
        PDU: lambda: _encode_pdu(head[0], rest),
        REQUEST: lambda: _encode_request(more=body),
        USER: lambda: _encode_request(user=body),
        FRAGMENT: lambda: encode_fragment(control, rest, context),
        STORE: lambda: encode_fragment(_WHOLE, STORE_COMMAND, context) + encode_fragment(_LAST, rest, context),
        COMMAND: lambda: encode_fragment(_WHOLE, _encode_command(body), MR),
        REPORT: lambda: encode_fragment(_WHOLE, REPORT_COMMAND, COMMITMENT) + encode_fragment(_LAST, body, COMMITMENT),
        VALUES: lambda: _encode_pdu(4, b"".join(_split_values(body))),
    }
    return tellers[kind]()


def _choose_context(head: int) -> int:
    """Bits 2 to 4 name one of the four contexts, or one of the four that were never offered."""
    return 1 + 2 * (head >> 2 & 7)


def _split_values(body: bytes) -> Iterator[bytes]:
    place = 0
    while place + 2 <= len(body):
        head, length = body[place], body[place + 1]
        value = body[place + 2 : place + 2 + length]
        place += 2 + length
        yield struct.pack(">LBB", len(value) + 2, _choose_context(head), head & 3) + value


def encode_message(kind: int, body: bytes = b"") -> bytes:
    """Return one part of a conversation, for `tell_conversation`."""
    return bytes([kind]) + len(body).to_bytes(2, "big") + body


def _encode_pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def _encode_request(more: bytes = b"", user: bytes = b"") -> bytes:
    """Return an A-ASSOCIATE-RQ (PS3.8 section 9.3.2)."""
    contexts = b""
    for number, (sop_class, syntaxes) in _OFFERED.items():
        offered = encode_item(0x30, sop_class.encode()) + b"".join(encode_item(0x40, one.encode()) for one in syntaxes)
        contexts += encode_item(0x20, bytes([number, 0, 0, 0]) + offered)
    told = encode_item(0x51, struct.pack(">L", 16384)) + encode_item(0x52, b"1.2.3.4")
    role = StorageCommitmentPushModel.encode()
    told += encode_item(0x54, struct.pack(">H", len(role)) + role + b"\0\1") + user
    titles = b"FUSIONNODE".ljust(16) + b"STRANGER".ljust(16)
    application = encode_item(0x10, b"1.2.840.10008.3.1.1.1")
    return _encode_pdu(1, b"\0\1\0\0" + titles + b"\0" * 32 + application + contexts + encode_item(0x50, told) + more)


def encode_item(kind: int, body: bytes) -> bytes:
    """Return an item of an association request (PS3.8 section 9.3.2)."""
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _encode_command(elements: bytes) -> bytes:
    return struct.pack("<HHLL", 0, 0, 4, len(elements)) + elements


def list_elements(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """Return elements of a command set (PS3.7 section 6.3.1) by their number in group 0000."""
    padded = [(number, value + b"\0" * (len(value) % 2)) for number, value in elements]
    return b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in padded)


STORE_ELEMENTS = list_elements(
    [
        (0x0002, MRImageStorage.encode()),
        (0x0100, b"\1\0"),
        (0x0110, b"\1\0"),
        (0x0700, b"\0\0"),
        (0x0800, b"\1\0"),
        (0x1000, INSTANCE_UID.encode()),
    ]
)
STORE_COMMAND = _encode_command(STORE_ELEMENTS)
REPORT_COMMAND = _encode_command(
    list_elements(
        [
            (0x0002, StorageCommitmentPushModel.encode()),
            (0x0100, b"\0\1"),
            (0x0110, b"\1\0"),
            (0x0800, b"\1\0"),
            (0x1000, b"1.2.840.10008.1.20.1.1"),
            (0x1002, b"\1\0"),
        ]
    )
)
