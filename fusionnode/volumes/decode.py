"""Turns the stored pixels of one frame into an array, after checking that what is claimed can be there (middle)."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException
from pydicom.pixels.utils import as_pixel_options, pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from fusionnode.errors import DatasetUnreadable, SeriesUnsupported
from fusionnode.volumes.codestream import read_extent
from fusionnode.volumes.decode_apart import (
    DEFAULT_BOUNDS,
    DecodingBounds,
    DecodingProcess,
    EncodedFrame,
    FrameUndecodable,
)
from fusionnode.volumes.decode_child import DECODER_ERRORS
from fusionnode.volumes.planes import count_frames
from fusionnode.volumes.values import read_numbers, read_text, read_value

MAX_FRAME_BYTES = 1 << 28
MAX_OBJECT_BYTES = 1 << 30
MAX_COMPRESSION = 20_000
"""An all-black frame in JPEG 2000 shrinks by a few thousand; a file claiming more than this is a bomb."""

# pydicom's name of the one decoder of each transfer syntax; left to itself it tries one after the other. All run in a
# process of their own, also that of RLE: it is written in Rust and panics on damaged frames past `except Exception`.
_DECODERS = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: "pillow",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "gdcm",
    JPEGLSNearLossless: "gdcm",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
# GDCM does not read JPEG-LS of so many bits; CharLS, in turn, not what older encoders left behind the last pixel.
_BITS_FOR_CHARLS = (6, 7)

_SEND_AGAIN = "Send it again, uncompressed if it was compressed."
_OPTIONS = ("rows", "columns", "samples_per_pixel", "bits_allocated", "bits_stored", "pixel_representation")


def check_pixels(ds: Dataset) -> None:
    """Refuse an object whose pixels cannot be one channel of whole numbers of the claimed size.

    Nothing is decoded and nothing of the claimed size is allocated.

    Raises:
        SeriesUnsupported: colour, inverted or floating-point pixels.
        DatasetUnreadable: no pixels, sizes beyond the bounds, fewer bytes than claimed, or a High Bit that is not the
            highest of the bits stored.
    """
    samples = _demand_count(ds, "SamplesPerPixel")
    photometric = read_text(ds, "PhotometricInterpretation") or "of no stated kind"
    if samples != 1 or photometric != "MONOCHROME2":
        raise SeriesUnsupported(
            f"Pixels are {photometric} with {samples} sample(s); a scalar volume is MONOCHROME2 with one.",
            remedy="Send the scanner's own images, not screenshots or colour maps.",
            sop_instance_uid=str(ds.get("SOPInstanceUID", "")),
        )
    if "PixelData" not in ds:
        raise _make_unreadable(ds, "has no Pixel Data")
    _check_size(ds)
    _check_bits(ds)


class FrameDecoder:
    """Decodes the frames of one volume; a context manager, since compressed ones are decoded by a process of its own.

    That process is started by the first frame that needs it. See `fusionnode.volumes.decode_apart`.
    """

    def __init__(self, bounds: DecodingBounds = DEFAULT_BOUNDS) -> None:
        self._process = DecodingProcess(bounds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.close()

    def decode(self, ds: Dataset, frame_number: int | None) -> NDArray[np.integer]:
        """Return the stored values of one frame, [row, column], as pydicom decodes them; frames count from 1.

        Call `check_pixels` first.

        Raises:
            DatasetUnreadable: the transfer syntax cannot be decoded here, or the data are broken or need more memory or
                time than `DecodingBounds`, or need more bits than are stored, or they hold a picture of another size
                than the header says, which is not decoded at all.
            DecoderUnavailable: the process that decodes cannot work now, whatever the frame.
        """
        index = 0 if frame_number is None else frame_number - 1
        try:
            stored = self._decode(ds, index)
        except (*DECODER_ERRORS, BytesLengthException) as cause:
            reason = f": {cause}" if isinstance(cause, FrameUndecodable) else ""
            finding = f"cannot be decoded from transfer syntax {_tell_syntax(ds)}{reason}"
            raise _make_unreadable(ds, finding, frame_number) from cause
        if stored.shape != (ds.Rows, ds.Columns) or stored.dtype.kind not in "iu":
            finding = f"decodes to {stored.dtype} {stored.shape} from {_tell_syntax(ds)}"
            raise _make_unreadable(ds, finding, frame_number)
        return stored

    def _decode(self, ds: Dataset, index: int) -> NDArray[np.integer]:
        syntax = _find_syntax(ds)
        if not syntax.is_encapsulated:
            return _cut_spare_bits(ds, pixel_array(ds, index=index, correct_unused_bits=False), index + 1)
        if syntax not in _DECODERS:
            raise FrameUndecodable("nothing here decodes it")
        options = as_pixel_options(ds)
        own = _choose_options(options)
        codestream = get_frame(
            ds.PixelData,
            index,
            number_of_frames=options["number_of_frames"],
            extended_offsets=options.get("extended_offsets"),
        )
        if syntax == RLELossless:  # which keeps whole cells, and has no size of its own to state
            frame = EncodedFrame(codestream, syntax, _DECODERS[syntax], {**own, "correct_unused_bits": False})
            return _cut_spare_bits(ds, self._process.decode(frame), index + 1)
        _check_extent(ds, codestream, index + 1)
        plugin = _DECODERS[syntax]
        if syntax in JPEGLSTransferSyntaxes and options["bits_stored"] in _BITS_FOR_CHARLS:
            plugin = "pyjpegls"
        return self._process.decode(EncodedFrame(codestream, syntax, plugin, own))


def _check_size(ds: Dataset) -> None:
    rows, columns = _demand_count(ds, "Rows"), _demand_count(ds, "Columns")
    bits = _demand_count(ds, "BitsAllocated")
    frames = count_frames(ds)
    if min(rows, columns, frames) < 1 or bits not in (8, 16, 32):
        raise _make_unreadable(ds, f"claims {frames} frames of {rows} x {columns} with {bits} bits")
    frame_bytes = rows * columns * bits // 8
    pixels = read_value(ds, "PixelData") or b""
    if not isinstance(pixels, bytes):
        raise _make_unreadable(ds, "holds Pixel Data that are no bytes")
    claimed_bytes, held_bytes = frame_bytes * frames, len(pixels)
    if frame_bytes > MAX_FRAME_BYTES or claimed_bytes > MAX_OBJECT_BYTES:
        raise _make_unreadable(ds, f"claims {claimed_bytes} bytes of pixels, more than is ever needed")
    shrunk = _find_syntax(ds).is_encapsulated
    if held_bytes * (MAX_COMPRESSION if shrunk else 1) < claimed_bytes:
        raise _make_unreadable(ds, f"claims {claimed_bytes} bytes of pixels but holds {held_bytes}")


def _check_bits(ds: Dataset) -> None:
    """Refuse values that do not lie in the lowest bits of their cells (PS3.5 8.1.1): their upper bits would be lost."""
    stored, high = (read_numbers(ds, keyword, 1) for keyword in ("BitsStored", "HighBit"))
    if stored and high and high[0] != stored[0] - 1:
        finding = f"states High Bit {high[0]:g} for {stored[0]:g} Bits Stored"
        raise _make_unreadable(ds, finding, remedy="Ask the sender.")


def _cut_spare_bits(ds: Dataset, cells: NDArray[np.integer], frame_number: int) -> NDArray[np.integer]:
    """Return the values that whole cells hold in their Bits Stored.

    Above those only zeros, the sign or, in old objects, overlays may lie (PS3.5 8.1.1). Anything else is part of values
    that need more bits than stated, and cutting it off would make a hot spot cold.
    """
    bits = int(ds.BitsStored)
    spare = 8 * cells.dtype.itemsize - bits
    values = (cells << spare) >> spare
    if ((values != cells) & (cells >> bits != 0)).any() and not _has_overlay_among_pixels(ds):
        finding = f"holds values that need more than its {bits} Bits Stored"
        raise _make_unreadable(ds, finding, frame_number, remedy="Ask the sender.")
    return values


def _has_overlay_among_pixels(ds: Dataset) -> bool:
    """Whether an overlay (PS3.3 C.9.2) lies in bits of the pixels: it states its bit and has no data of its own."""
    return any((group, 0x0102) in ds and (group, 0x3000) not in ds for group in range(0x6000, 0x6020, 2))


def _check_extent(ds: Dataset, codestream: bytes, frame_number: int) -> None:
    extent = read_extent(codestream)
    if extent is None:
        raise _make_unreadable(ds, f"has a frame of {_tell_syntax(ds)} that does not say its size", frame_number)
    if extent != (ds.Rows, ds.Columns, 1):
        finding = f"holds {' x '.join(map(str, extent))} samples where {ds.Rows} x {ds.Columns} x 1 are claimed"
        raise _make_unreadable(ds, finding, frame_number)


def _choose_options(options: Mapping[str, Any]) -> dict[str, int | str]:
    """Return the part of pydicom's decoding options that says how one frame is read."""
    return {
        **{name: int(options[name]) for name in _OPTIONS},
        "photometric_interpretation": str(options["photometric_interpretation"]),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }


def _demand_count(ds: Dataset, keyword: str) -> int:
    numbers = read_numbers(ds, keyword, 1)
    if numbers is None:
        raise _make_unreadable(ds, f"has no {keyword}")
    return int(numbers[0])


def _find_syntax(ds: Dataset) -> UID:
    syntax = read_value(getattr(ds, "file_meta", Dataset()), "TransferSyntaxUID")
    if not syntax or not UID(syntax).is_transfer_syntax:
        raise _make_unreadable(ds, f"has no known transfer syntax ({syntax or 'absent'})")
    return UID(syntax)


def _tell_syntax(ds: Dataset) -> str:
    syntax = _find_syntax(ds)
    return f"{syntax.name} ({syntax})"


def _make_unreadable(
    ds: Dataset, finding: str, frame_number: int | None = None, remedy: str = _SEND_AGAIN
) -> DatasetUnreadable:
    uid = str(ds.get("SOPInstanceUID", ""))
    frame = "" if frame_number is None else f" frame {frame_number}"
    return DatasetUnreadable(
        f"Instance {uid}{frame} {finding}.",
        remedy=remedy,
        sop_instance_uid=uid,
        frame_number=frame_number,
    )
