"""Edge: parses the part of a stored file in front of its pixels, without trusting a byte of it.

pydicom does the parsing, but on a leash: a file that claims, nests or compresses more than a header can need is refused
instead of filling memory, and every way in which the parser fails on hostile bytes becomes one named error.
"""

import io
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_sequence_item
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from fusionnode.errors import DatasetUnreadable, SpoolFileMissing, SpoolUnreadable
from fusionnode.index.fields import read_text

MAX_HEADER_BYTES = 16 * 2**20
"""How much of a file may be read for its header; values that are skipped do not count."""

MAX_READS = 500_000
"""How often the parser may ask for bytes: two or three times per element, so this bounds time and memory."""

PARSER_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on malformed input, by observation and by reading it; it has no error of its own for that."""

Parsed = TypeVar("Parsed")

_PER_FRAME_GROUPS = 0x52009230
_UNDEFINED_LENGTH = 0xFFFFFFFF
_RADIOTHERAPY_GROUPS = range(0x3002, 0x3010)
_PIXEL_GROUPS = 0x7FE0
_PREFIX_END = 132


@dataclass(frozen=True)
class ParsedHeader:
    """The data elements in front of the pixels, still raw.

    Attributes:
        transfer_syntax_uid: from the file meta information.
        ds: the wanted elements of the data set.
        frames: the items of the Per-frame Functional Groups Sequence; the first alone where all would be more than a
            header may need, or a later one is broken.
    """

    transfer_syntax_uid: str
    ds: Dataset
    frames: tuple[Dataset, ...]

    @property
    def first_frame(self) -> Dataset:
        """The first of the frames, or an empty data set."""
        return next(iter(self.frames), Dataset())


def parse_header(path: Path, wanted: Collection[str | int]) -> ParsedHeader:
    """Parse ``path`` up to its pixels and keep the elements named by the keywords and tags in ``wanted``.

    Raises:
        DatasetUnreadable: it is no Part 10 file (PS3.10 section 7.1), breaks the encoding rules, or needs more than
            `MAX_HEADER_BYTES` in front of its pixels.
        SpoolFileMissing: it cannot be opened.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise SpoolFileMissing(
            f"{path.name} cannot be opened: {error.strerror}.", remedy="Check the spool's file system.", path=str(path)
        ) from error
    with stream:
        return refuse_parser_failures(lambda: _parse_stream(stream, wanted), path.name)


def refuse_parser_failures(parse: Callable[[], Parsed], name: str) -> Parsed:
    """Return what ``parse`` returns; whatever pydicom raises on malformed bytes becomes `DatasetUnreadable`.

    Raises:
        DatasetUnreadable: the bytes are at fault.
        SpoolUnreadable: the file system is, which may pass.
    """
    try:
        return parse()
    except PARSER_FAILURES as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise SpoolUnreadable(
                f"{name} cannot be read: {error.strerror}.", remedy="Check the spool's file system.", file=name
            ) from error
        raise DatasetUnreadable(
            f"{name} breaks the DICOM encoding rules ({type(error).__name__}).",
            remedy="Send it again; if that does not help, ask the sender to repair it.",
            file=name,
        ) from error


def _parse_stream(stream: BinaryIO, wanted: Collection[str | int]) -> ParsedHeader:
    if stream.read(_PREFIX_END)[128:] != b"DICM":
        raise DatasetUnreadable("The file has no DICM prefix.", remedy="Only files as of PS3.10 section 7.1 are read.")
    budget = _Budget()
    # File meta information is Explicit VR Little Endian, always (PS3.10 section 7.1).
    meta = read_dataset(_bound(stream, budget), False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    transfer_syntax_uid = read_text(meta, "TransferSyntaxUID")
    if not transfer_syntax_uid:
        raise DatasetUnreadable("The file does not name its transfer syntax.", remedy="PS3.10 table 7.1-1 requires it.")
    body = _inflate(stream) if transfer_syntax_uid == DeflatedExplicitVRLittleEndian else stream
    implicit, little = _choose_encoding(transfer_syntax_uid)
    bounded = _bound(body, budget)
    tags: list[BaseTag | int] = [Tag(keyword) for keyword in wanted]
    ds = read_dataset(bounded, implicit, little, stop_when=_ends_header, specific_tags=tags)
    return ParsedHeader(transfer_syntax_uid, ds, _read_frames(bounded, little))


def _choose_encoding(transfer_syntax_uid: str) -> tuple[bool, bool]:
    """Return (implicit VR, little endian); whatever is not listed is Explicit VR Little Endian (PS3.5 A.4)."""
    syntax = UID(transfer_syntax_uid)
    if syntax.is_transfer_syntax and not syntax.is_private:
        return syntax.is_implicit_VR, syntax.is_little_endian
    return False, True


def _ends_header(tag: BaseTag, vr: str | None, length: int) -> bool:
    # Contours and plans are large, come before no element that is wanted here, and belong to no image.
    return tag == _PER_FRAME_GROUPS or tag.group >= _PIXEL_GROUPS or tag.group in _RADIOTHERAPY_GROUPS


def _read_frames(stream: BinaryIO, little: bool) -> tuple[Dataset, ...]:
    """Read the items of the sequence the stream stands at, or the first alone: the first must be readable."""
    items: list[Dataset] = []
    try:
        items.extend(_iterate_frames(stream, little))
    except (DatasetUnreadable, *PARSER_FAILURES):
        if not items:
            raise
        del items[1:]
    return tuple(items)


def _iterate_frames(stream: BinaryIO, little: bool) -> Iterator[Dataset]:
    start = stream.tell()
    order = "<" if little else ">"
    head = stream.read(12)
    if len(head) < 12 or struct.unpack(order + "HH", head[:4]) != (0x5200, 0x9230):
        return
    implicit = head[4:6] not in (b"SQ", b"UN")
    begin = start + (8 if implicit else 12)
    (length,) = struct.unpack(order + "L", head[4:8] if implicit else head[8:12])
    stream.seek(begin)
    while length == _UNDEFINED_LENGTH or stream.tell() < begin + length:
        item = read_sequence_item(stream, implicit, little, "iso8859")
        if item is None:
            return
        yield item


def _inflate(stream: BinaryIO) -> BinaryIO:
    """Inflate no more than a header can need: a few bytes may claim to be gigabytes (PS3.5 A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    return io.BytesIO(inflater.decompress(stream.read(MAX_HEADER_BYTES), MAX_HEADER_BYTES))


class _Budget:
    """Counts what has been read and ends the parsing when it is more than a header can need."""

    def __init__(self) -> None:
        self.bytes_left = MAX_HEADER_BYTES
        self.reads_left = MAX_READS

    def spend(self, size: int) -> None:
        self.bytes_left -= size
        self.reads_left -= 1
        if self.bytes_left < 0 or self.reads_left < 0:
            raise DatasetUnreadable(
                f"The header needs more than {MAX_HEADER_BYTES} bytes or {MAX_READS} reads.",
                remedy="Ask the sender what this object holds; headers of images are far smaller.",
            )


class _BoundedStream:
    """The three methods the parser uses, charged to a budget; a length claimed beyond the end costs nothing."""

    def __init__(self, stream: BinaryIO, budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget
        here = stream.tell()
        self._size = stream.seek(0, io.SEEK_END)
        stream.seek(here)
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._stream.tell())
        wanted = left if size < 0 else min(size, left)
        self._budget.spend(wanted)
        return self._stream.read(wanted)


def _bound(stream: BinaryIO, budget: _Budget) -> BinaryIO:
    return cast("BinaryIO", _BoundedStream(stream, budget))
