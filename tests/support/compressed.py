"""Compressed frames, whole and damaged: made here, or real ones that pydicom brings along."""

import random
from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_samples.edge_cases.jpeg_lossless import encode_jpeg_lossless
from tests.support.datasets import make_mr_series

RAMP = (np.arange(32 * 24) // 4).astype(np.uint8).reshape(32, 24)
_PUBLIC_FILES = {
    JPEGLSLossless: "MR_small_jpeg_ls_lossless.dcm",
    JPEGLSNearLossless: "JPEGLSNearLossless_16.dcm",
    JPEG2000Lossless: "MR_small_jp2klossless.dcm",
    JPEG2000: "693_J2KI.dcm",
    RLELossless: "MR_small_RLE.dcm",
}
_EIGHT_BIT_JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit)
SYNTAXES = (*_EIGHT_BIT_JPEG, JPEGLossless, JPEGLosslessSV1, *_PUBLIC_FILES)
_HEAD_BYTES = 120


def make_compressed(syntax: UID) -> Dataset:
    """Return an instance of one frame in ``syntax``."""
    if syntax in _PUBLIC_FILES:
        return read_public(_PUBLIC_FILES[syntax])
    if syntax in _EIGHT_BIT_JPEG:
        return wrap_eight_bit(make_jpeg(), syntax)
    ds = make_mr_series()[5]
    ds.BitsStored, ds.HighBit = 12, 11
    pixels = np.frombuffer(ds.PixelData, dtype="<u2").reshape(ds.Rows, ds.Columns)
    return put_codestream(ds, encode_jpeg_lossless(pixels, int(ds.BitsStored)), syntax)


def read_public(name: str) -> Dataset:
    """Read one of the files that pydicom is tested with."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return dcmread(path)


def make_jpeg(mode: str = "L") -> bytes:
    """Return `RAMP` as a JPEG file."""
    buffer = BytesIO()
    Image.fromarray(RAMP).convert(mode).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def wrap_eight_bit(codestream: bytes, syntax: UID) -> Dataset:
    """Return an instance of the size of `RAMP` that holds ``codestream``."""
    ds = make_mr_series()[0]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    return put_codestream(ds, codestream, syntax)


def put_codestream(ds: Dataset, codestream: bytes, syntax: UID) -> Dataset:
    """Let ``ds`` hold ``codestream``, and return it."""
    ds.PixelData = encapsulate([codestream])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def take_codestream(ds: Dataset) -> bytes:
    """Return the first frame as it is stored."""
    return get_frame(ds.PixelData, 0, number_of_frames=1)


def make_deadly(kind: str) -> Dataset:
    """Return an instance on which the decoder dies: of ``SIGSEGV``, ``SIGABRT``, or a Rust ``panic``."""
    if kind == "panic":
        ds = make_compressed(RLELossless)
        return put_codestream(ds, make_long_rle(ds.Rows * ds.Columns), RLELossless)
    ds = make_compressed(JPEGLosslessSV1)
    codestream = bytearray(take_codestream(ds))
    if kind == "SIGSEGV":
        codestream[6] = 255  # bits of a sample
    else:
        codestream[codestream.index(b"\xff\xc4") + 1] = 0  # no longer a Huffman table
    return put_codestream(ds, bytes(codestream), JPEGLosslessSV1)


def make_long_rle(pixels: int) -> bytes:
    """Return an RLE frame of 16 bits (PS3.5 annex G) whose first segment holds twice as much as it should."""
    segment = b"\x81\x00" * (2 * -(-pixels // 128))
    return np.array([2, 64, 64 + len(segment), *[0] * 13], dtype="<u4").tobytes() + 2 * segment


def damage(codestream: bytes, seed: int) -> bytes:
    """Cut, flip bits, overwrite, remove or insert bytes, mostly in the header, where sizes and tables stand."""
    chance, damaged = random.Random(seed), bytearray(codestream)
    head = min(len(damaged), _HEAD_BYTES)
    kind = chance.randrange(6)
    if kind == 0:
        return bytes(damaged[: chance.randrange(len(damaged))])
    if kind == 1:
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    elif kind == 2:
        for _ in range(chance.choice([1, 2, 4])):
            damaged[chance.randrange(head)] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
    elif kind == 3:
        start = chance.randrange(head)
        del damaged[start : start + chance.choice([1, 2, 10])]
    elif kind == 4:
        start = chance.randrange(head)
        damaged[start:start] = chance.randbytes(chance.choice([1, 2, 10]))
    else:
        start, count = chance.randrange(len(damaged)), chance.randrange(1, 400)
        damaged[start : start + count] = bytes([chance.choice([0, 255])]) * count
    return bytes(damaged)
