"""Reads whose data set it is from its first bytes, without decoding the rest (edge)."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.uid import UID

from fusionnode.errors import DatasetUnreadable

SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018

_UNDEFINED_LENGTH = 0xFFFFFFFF
_UID_BYTES = 64
_INFLATED_BYTES = 65536
_VR = re.compile(rb"[A-Z]{2}")
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


@dataclass(frozen=True)
class Identity:
    """SOP Class UID (0008,0016) and SOP Instance UID (0008,0018) as the data set itself states them."""

    sop_class_uid: str
    sop_instance_uid: str


def peek_identity(dataset: BinaryIO, transfer_syntax: UID) -> Identity | None:
    """Read the identity of an encoded data set (PS3.5 section 7.1).

    Args:
        dataset: positioned at the data set's first element; seekable.
        transfer_syntax: how it is encoded.

    Returns:
        The identity, or None when an element of undefined length stands in front of it: then a full reader must tell.

    Raises:
        DatasetUnreadable: these are no data elements, or the two UIDs, which every instance has, are missing.
    """
    source = inflate_head(dataset) if transfer_syntax.is_deflated else dataset
    found: dict[int, str] = {}
    for tag, length in _walk_elements(source, transfer_syntax):
        if tag > SOP_INSTANCE_UID:
            break
        if length == _UNDEFINED_LENGTH:
            return None
        if tag in (SOP_CLASS_UID, SOP_INSTANCE_UID):
            found[tag] = _read_uid(source, tag, length)
        else:
            source.seek(length, io.SEEK_CUR)
        if len(found) == 2:
            return Identity(found[SOP_CLASS_UID], found[SOP_INSTANCE_UID])
    raise DatasetUnreadable(
        "The data set names no SOP Class UID (0008,0016) or no SOP Instance UID (0008,0018).",
        remedy="Send complete instances.",
        found=sorted(found),
    )


def inflate_head(dataset: BinaryIO) -> BinaryIO:
    """Return the first bytes of a deflated data set, inflated, as many as a look at its head needs.

    Raises:
        DatasetUnreadable: it does not inflate.
    """
    try:
        return io.BytesIO(
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset.read(_INFLATED_BYTES), _INFLATED_BYTES)
        )
    except zlib.error as problem:
        raise DatasetUnreadable("The data set is announced as deflated, but does not inflate.") from problem


def _walk_elements(source: BinaryIO, transfer_syntax: UID) -> Iterator[tuple[int, int]]:
    """Yield (tag, length) with ``source`` at the value; the caller consumes the value before going on."""
    order = "<" if transfer_syntax.is_little_endian else ">"
    previous = -1
    while len(head := source.read(8)) == 8:
        group, element = struct.unpack_from(f"{order}HH", head)
        tag = group << 16 | element
        if tag <= previous:
            raise DatasetUnreadable("Its tags do not ascend, so these bytes are no data set.", tag=f"{tag:08X}")
        previous = tag
        yield tag, read_length(source, head, order, implicit=transfer_syntax.is_implicit_VR)


def read_length(source: BinaryIO, head: bytes, order: str, *, implicit: bool) -> int:
    """Return the length of a value (PS3.5 section 7.1), with ``source`` left at its first byte.

    Args:
        source: positioned behind ``head``.
        head: the first eight bytes of the element.
        order: "<" or ">", as `struct` writes it.
        implicit: whether the value representation is left out.

    Raises:
        DatasetUnreadable: there should be a value representation and there is none.
    """
    if implicit:
        return int(struct.unpack_from(f"{order}I", head, 4)[0])
    vr = head[4:6]
    if not _VR.fullmatch(vr):
        raise DatasetUnreadable("An element has no value representation, though the transfer syntax demands it.")
    if vr not in _LONG_VRS:
        return int(struct.unpack_from(f"{order}H", head, 6)[0])
    return int.from_bytes(source.read(4), "little" if order == "<" else "big")


def _read_uid(source: BinaryIO, tag: int, length: int) -> str:
    value = source.read(length) if length <= _UID_BYTES else b""
    if not value or len(value) != length:
        raise DatasetUnreadable(f"The UID ({tag >> 16:04X},{tag & 0xFFFF:04X}) is cut off, empty or too long.")
    return value.decode("ascii", errors="replace").rstrip("\0 ")
