"""What the fuzzer starts from, small: ``python -m tests.fuzz.seeds`` writes the corpus.

Good peers' objects and conversations, and hostile ones of every kind that was thought of.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset

from tests.fuzz.conversation import (
    COMMAND,
    COMMITMENT,
    DEFLATED,
    FRAGMENT,
    INSTANCE_UID,
    MR,
    PDU,
    RAW,
    REPORT,
    REQUEST,
    STORE,
    STORE_COMMAND,
    STORE_ELEMENTS,
    SYNTAXES,
    USER,
    VALUES,
    encode_item,
    encode_message,
    list_elements,
)
from tests.fuzz.targets import BARE
from tests.support.datasets import Layout, make_mr_series, make_nm_recon, make_pt_series
from tests.support.enhanced import make_enhanced_mr, make_enhanced_pet

CORPUS = Path(__file__).with_name("corpus")

_LAYOUT = Layout(slices=3, rows=2, columns=2)
_IMPLICIT, _EXPLICIT, _DEFLATED = 0, 1, 3
_WANTED = 0x00081140  # Referenced Image Sequence
_ASK, _RELEASE = encode_message(REQUEST), encode_message(PDU, b"\5" + bytes(4))
_OPEN = 0xFFFFFFFF


def make_neighbours() -> list[Dataset]:
    """Return good slices beside those of the corpus, for `read_strange_volume`."""
    return [*make_mr_series(_LAYOUT)[1:], *make_pt_series(_LAYOUT)[1:]]


def list_seeds() -> Iterator[tuple[str, bytes]]:
    """Yield the place of each seed below the corpus, and its bytes."""
    mr = make_mr_series(_LAYOUT)
    pt = make_pt_series(_LAYOUT)
    objects = {
        "mr": mr[0], "pt": pt[0], "nm": make_nm_recon(_LAYOUT),
        "enhanced-mr": make_enhanced_mr(mr), "enhanced-pt": make_enhanced_pet(pt),
    }  # fmt: skip
    mr[0].SOPInstanceUID = mr[0].file_meta.MediaStorageSOPInstanceUID = INSTANCE_UID
    for name, ds in objects.items():
        for number, syntax in enumerate(SYNTAXES[:2]):
            yield f"header/{name}-{syntax.name.split()[0].lower()}", bytes([number]) + _encode(ds, number == 0)
    file = BytesIO()
    dcmwrite(file, mr[0], enforce_file_format=True)
    yield "header/mr-file", bytes([BARE]) + file.getvalue()
    for name, content in _list_hostile_objects(mr[0]).items():
        yield f"header/{name}", content
    dataset, report = _encode(mr[0], implicit=False), _encode(_make_report(), implicit=True)
    for name, parts in {**_list_conversations(dataset), **_list_hostile_conversations(dataset, report)}.items():
        yield f"pdu/{name}", b"".join(parts)


def _list_hostile_objects(mr: Dataset) -> dict[str, bytes]:
    whole = _encode(mr, implicit=True)
    texts = _encode(_make_hostile_texts(mr), implicit=True)
    return {
        "nested-200-deep": bytes([_IMPLICIT]) + _nest(200),
        "longer-than-the-file": bytes([_IMPLICIT]) + struct.pack("<HHL", 8, 5, 0xFFFFFFF0) + whole,
        "deflated": bytes([_DEFLATED]) + _deflate(_encode(mr, implicit=False)),
        "deflate-bomb": bytes([_DEFLATED]) + _deflate(struct.pack("<HH2sHL", 8, 5, b"UT", 0, 1 << 21) + bytes(1 << 21)),
        "paths-and-script-in-texts": bytes([_IMPLICIT]) + texts,
    }


def _make_hostile_texts(mr: Dataset) -> Dataset:
    ds = Dataset()
    ds.update(mr)
    ds.PatientName = "<script>alert(1)</script>^$(reboot)"
    ds.PatientID = "'; DROP TABLE jobs; --"
    ds.StudyDescription = "{{7*7}} %n%n%s \x1b[2J"
    for keyword, path in (("SeriesInstanceUID", "../../../etc/passwd"), ("FrameOfReferenceUID", "/dev/full")):
        ds[keyword]._value = path
    return ds


def _nest(depth: int) -> bytes:
    opened = struct.pack("<HHLHHL", _WANTED >> 16, _WANTED & 0xFFFF, _OPEN, 0xFFFE, 0xE000, _OPEN)
    return opened * depth


def _deflate(content: bytes) -> bytes:
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return deflater.compress(content) + deflater.flush()


def _list_conversations(dataset: bytes) -> dict[str, Sequence[bytes]]:
    store = encode_message(STORE, b"\0" + dataset)
    parts = [
        encode_message(FRAGMENT, one) for one in (b"\3" + STORE_COMMAND, b"\0" + dataset[:100], b"\2" + dataset[100:])
    ]
    return {
        "request": [_ASK],
        "request-and-release": [_ASK, _RELEASE],
        "store": [_ASK, store, _RELEASE],
        "store-twice": [_ASK, store, store, _RELEASE],
        "store-in-parts": [_ASK, *parts, _RELEASE],
        "store-deflated": [_ASK, encode_message(STORE, bytes([_head(DEFLATED)]) + _deflate(dataset)), _RELEASE],
        "abort": [_ASK, encode_message(PDU, b"\7" + bytes(4))],
        "release-first": [_RELEASE],
        "rubbish": [encode_message(RAW, b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n")],
        "cut-short": [_ASK, encode_message(RAW, b"\4\0\0\0\1\0\0\0")],
    }


def _list_hostile_conversations(dataset: bytes, report: bytes) -> dict[str, Sequence[bytes]]:
    without_uid, no_field = STORE_ELEMENTS[: -8 - 6], STORE_ELEMENTS.replace(b"\1\0", b"\xff\xff", 1)
    many = b"".join(
        bytes([head, len(part)]) + part for head, part in ((1, STORE_COMMAND[:60]), (0, dataset[:80]), (3, b"\0" * 9))
    )
    shuffled = [(3, STORE_COMMAND), (_head(COMMITMENT) | 3, STORE_COMMAND), (0, dataset[:90]), (2, dataset[90:])]
    user = b"".join(
        [
            encode_item(0x53, b"\0\5\0\5"),
            encode_item(0x56, struct.pack(">H", 2000) + b"1.2"),
            encode_item(0x57, b"\0\3abc\0\0"),
            encode_item(0x58, b"\2\1\0\4user\0\4pass"),
            encode_item(0x51, encode_item(0x51, encode_item(0x51, b""))),
        ]
    )
    return {
        "report": [_ASK, encode_message(REPORT, report), _RELEASE],
        "report-of-nonsense": [_ASK, encode_message(REPORT, _nest(100)), _RELEASE],
        "command-without-instance": [_ASK, encode_message(COMMAND, without_uid), encode_message(FRAGMENT, b"\2abcd")],
        "command-of-no-kind": [_ASK, encode_message(COMMAND, no_field), _RELEASE],
        "command-with-a-path-for-a-uid": [_ASK, encode_message(COMMAND, _make_path_command()), _tell_rest(dataset)],
        "user-items-of-every-kind": [encode_message(USER, user), _RELEASE],
        "values-interleaved": [_ASK, encode_message(VALUES, many), _RELEASE],
        "fragments-interleaved": [_ASK, *(encode_message(FRAGMENT, bytes([h]) + part) for h, part in shuffled)],
        "two-requests": [_ASK, _ASK, _RELEASE],
    }


def _make_path_command() -> bytes:
    return STORE_ELEMENTS[: -8 - 6] + list_elements([(0x1000, b"../../../../tmp/owned")])


def _tell_rest(dataset: bytes) -> bytes:
    return encode_message(FRAGMENT, b"\2" + dataset)


def _head(context: int) -> int:
    """Return the bits that choose ``context`` in the first byte of a fragment."""
    return (context - MR) // 2 << 2


def _make_report() -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    ds = Dataset()
    ds.TransactionUID, ds.ReferencedSOPSequence = "1.2.3.5", [item]
    return ds


def _encode(ds: Dataset, implicit: bool) -> bytes:
    buffer = BytesIO()
    target = DicomIO(buffer)
    target.is_little_endian, target.is_implicit_VR = True, implicit
    write_dataset(target, ds)
    return buffer.getvalue()


if __name__ == "__main__":
    for place, content in list_seeds():
        path = CORPUS / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
