"""The simplest JPEG encoder there is: lossless, first-order prediction, one fixed Huffman table (pure).

ITU-T T.81, process 14 with selection value 1 (annex H): what the transfer syntax 1.2.840.10008.1.2.4.70 holds.
"""

import struct

import numpy as np
from numpy.typing import NDArray

_CATEGORIES = 17
_CODE_BITS = 5
"""Every difference category 0..16 has the code of five bits that is its number: 17 of 32, so none is all ones."""


def encode_jpeg_lossless(pixels: NDArray[np.uint16], bits: int) -> bytes:
    """Return the JPEG stream of one frame [row, column] whose values need ``bits`` bits."""
    rows, columns = pixels.shape
    frame = struct.pack(">HHBHHBBBB", 0xFFC3, 11, bits, rows, columns, 1, 1, 0x11, 0)
    lengths = bytes(_CATEGORIES if length == _CODE_BITS else 0 for length in range(1, 17))
    table = struct.pack(">HHB", 0xFFC4, 19 + _CATEGORIES, 0) + lengths + bytes(range(_CATEGORIES))
    scan = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + frame + table + scan + _pack(_differ(pixels, bits)) + b"\xff\xd9"


def _differ(pixels: NDArray[np.uint16], bits: int) -> NDArray[np.int64]:
    """Differences to the neighbour on the left, in the first column to the one above, at the start to half range."""
    values = pixels.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << (bits - 1)
    return (values - predicted).ravel()


def _pack(differences: NDArray[np.int64]) -> bytes:
    words = []
    for difference in differences.tolist():
        category = abs(difference).bit_length()
        words.append(f"{category:0{_CODE_BITS}b}")
        if category:
            low = difference if difference > 0 else difference + (1 << category) - 1
            words.append(f"{low:0{category}b}")
    stream = "".join(words)
    stream += "1" * (-len(stream) % 8)
    packed = int(stream, 2).to_bytes(len(stream) // 8, "big")
    return packed.replace(b"\xff", b"\xff\x00")
