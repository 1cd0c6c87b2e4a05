"""Turns the stored pixels of one frame into an array, after checking that what is claimed can be there (middle)."""

import struct

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

from fusionnode.errors import DatasetUnreadable, SeriesUnsupported
from fusionnode.volumes.codestream import read_extent
from fusionnode.volumes.planes import count_frames, read_numbers

MAX_FRAME_BYTES = 1 << 28
MAX_OBJECT_BYTES = 1 << 30
MAX_COMPRESSION = 20_000
"""An all-black frame in JPEG 2000 shrinks by a few thousand; a file claiming more than this is a bomb."""

# GDCM, which pydicom prefers, ends the whole process on some damaged frames; Pillow raises.
_DECODED_BY_PILLOW = (JPEGBaseline8Bit, JPEGExtended12Bit)

# What pydicom and its decoders raise on malformed data; a shortage of memory is not among them.
_DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def check_pixels(ds: Dataset) -> None:
    """Refuse an object whose pixels cannot be one channel of whole numbers of the claimed size.

    Nothing is decoded and nothing of the claimed size is allocated.

    Raises:
        SeriesUnsupported: colour, inverted or floating-point pixels.
        DatasetUnreadable: no pixels, sizes beyond the bounds, or fewer bytes than claimed.
    """
    samples = _demand_count(ds, "SamplesPerPixel")
    photometric = str(ds.get("PhotometricInterpretation") or "of no stated kind")
    if samples != 1 or photometric != "MONOCHROME2":
        raise SeriesUnsupported(
            f"Pixels are {photometric} with {samples} sample(s); a scalar volume is MONOCHROME2 with one.",
            remedy="Send the scanner's own images, not screenshots or colour maps.",
            sop_instance_uid=str(ds.get("SOPInstanceUID", "")),
        )
    if "PixelData" not in ds:
        raise _make_unreadable(ds, "has no Pixel Data")
    _check_size(ds)


def decode_frame(ds: Dataset, frame_number: int | None) -> NDArray[np.integer]:
    """Return the stored values of one frame, [row, column], as pydicom decodes them; frames count from 1.

    Call `check_pixels` first.

    Raises:
        DatasetUnreadable: the transfer syntax cannot be decoded here, or the data are broken, or they hold a picture of
            another size than the header says, which is not decoded at all.
    """
    try:
        _check_codestream(ds, (frame_number or 1) - 1)
        plugin = "pillow" if _find_syntax(ds) in _DECODED_BY_PILLOW else ""
        index = None if frame_number is None else frame_number - 1
        stored: NDArray[np.integer] = pixel_array(ds, index=index, decoding_plugin=plugin)
    except _DECODER_ERRORS as cause:
        raise _make_unreadable(ds, f"cannot be decoded from transfer syntax {_tell_syntax(ds)}") from cause
    if stored.shape != (ds.Rows, ds.Columns) or stored.dtype.kind not in "iu":
        raise _make_unreadable(ds, f"decodes to {stored.dtype} {stored.shape} from {_tell_syntax(ds)}")
    return stored


def _check_size(ds: Dataset) -> None:
    rows, columns = _demand_count(ds, "Rows"), _demand_count(ds, "Columns")
    bits = _demand_count(ds, "BitsAllocated")
    frames = count_frames(ds)
    if min(rows, columns, frames) < 1 or bits not in (8, 16, 32):
        raise _make_unreadable(ds, f"claims {frames} frames of {rows} x {columns} with {bits} bits")
    frame_bytes = rows * columns * bits // 8
    claimed_bytes, held_bytes = frame_bytes * frames, len(ds.PixelData or b"")
    if frame_bytes > MAX_FRAME_BYTES or claimed_bytes > MAX_OBJECT_BYTES:
        raise _make_unreadable(ds, f"claims {claimed_bytes} bytes of pixels, more than is ever needed")
    shrunk = _find_syntax(ds).is_encapsulated
    if held_bytes * (MAX_COMPRESSION if shrunk else 1) < claimed_bytes:
        raise _make_unreadable(ds, f"claims {claimed_bytes} bytes of pixels but holds {held_bytes}")


def _check_codestream(ds: Dataset, index: int) -> None:
    syntax = _find_syntax(ds)
    if not syntax.is_encapsulated or syntax == RLELossless:  # RLE has no size of its own to state
        return
    extent = read_extent(get_frame(ds.PixelData, index, number_of_frames=count_frames(ds)))
    if extent is None:
        raise _make_unreadable(ds, f"has a frame of {_tell_syntax(ds)} that does not say its size")
    if extent != (ds.Rows, ds.Columns):
        raise _make_unreadable(ds, f"holds {extent} pixels where {(ds.Rows, ds.Columns)} are claimed")


def _demand_count(ds: Dataset, keyword: str) -> int:
    numbers = read_numbers(ds, keyword, 1)
    if numbers is None:
        raise _make_unreadable(ds, f"has no {keyword}")
    return int(numbers[0])


def _find_syntax(ds: Dataset) -> UID:
    syntax = getattr(ds, "file_meta", Dataset()).get("TransferSyntaxUID")
    if not syntax or not UID(syntax).is_transfer_syntax:
        raise _make_unreadable(ds, f"has no known transfer syntax ({syntax or 'absent'})")
    return UID(syntax)


def _tell_syntax(ds: Dataset) -> str:
    syntax = _find_syntax(ds)
    return f"{syntax.name} ({syntax})"


def _make_unreadable(ds: Dataset, finding: str) -> DatasetUnreadable:
    uid = str(ds.get("SOPInstanceUID", ""))
    return DatasetUnreadable(
        f"Instance {uid} {finding}.",
        remedy="Send it again, uncompressed if it was compressed.",
        sop_instance_uid=uid,
    )
