"""Reads how large a picture a compressed frame says it is, without decoding it (middle).

The size in the DICOM header is a claim of its own: decoders allocate what the codestream says, so a few bytes of it may
ask for gigabytes though Rows and Columns are small.
"""

import struct
from typing import NamedTuple

_JPEG = b"\xff\xd8"
# ISO/IEC 15444-1 A.4.1, A.5.1: start of codestream, then always the image and tile size marker.
_JPEG_2000 = b"\xff\x4f\xff\x51"
_SIZE_BYTES = 42
# ISO/IEC 10918-1 table B.1: start of frame; without the tables DHT, JPG and DAC. ISO/IEC 14495-1: JPEG-LS has its own.
_STARTS_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


class Extent(NamedTuple):
    """What a codestream says it holds; ``components`` are the samples of one pixel."""

    rows: int
    columns: int
    components: int


def read_extent(frame: bytes) -> Extent | None:
    """Return the extent of a JPEG, JPEG-LS or JPEG 2000 codestream, or None where it does not say so."""
    if frame.startswith(_JPEG):
        return _read_jpeg_extent(frame)
    start = frame.find(_JPEG_2000, 0, 1024)  # behind the boxes of a JP2 file, which do not belong into DICOM
    if start < 0 or len(frame) < start + _SIZE_BYTES:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    (components,) = struct.unpack_from(">H", frame, start + 40)
    return Extent(bottom - top, right - left, components)


def _read_jpeg_extent(frame: bytes) -> Extent | None:
    place = len(_JPEG)
    while place + 10 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in _STARTS_OF_FRAME:
            return Extent(*struct.unpack_from(">2HB", frame, place + 5))
        if marker == 0xFF:  # a fill byte
            place += 1
        elif marker in _WITHOUT_LENGTH:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None
