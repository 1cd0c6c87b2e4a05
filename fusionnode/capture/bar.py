"""A colour bar in the pictures themselves, for viewers that show nothing else (middle).

It says nothing about the patient, so Burned In Annotation stays NO: that is about annotation by which the patient and
the date can be told (PS3.3 C.7.6.1.1.8 and table C.7-9).
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fusionnode.domain.images import RgbStack

_LEAST_LETTERED, _LEAST = 128, 16
"""Rows and columns from which on the limits can be read, and a bar be seen; smaller pictures go without."""


def burn_bar(rgb: RgbStack, colours: NDArray[np.uint8], low: str, high: str) -> RgbStack:
    """Return the pictures with an upright bar in their upper right corner, the same on every slice.

    That is where a head leaves most room.

    Args:
        rgb: uint8 [slice, row, column, 3]; not changed.
        colours: of the bar, the lowest uptake first, uint8 [colour, 3].
        low: what stands below the bar.
        high: what stands above it, with the unit.

    Returns:
        uint8, shape of ``rgb``; what the bar and its letters do not cover is as it was.
    """
    barred = rgb.copy()
    if min(rgb.shape[1:3]) < _LEAST:
        return barred
    overlay, covered = _draw(rgb.shape[1], rgb.shape[2], colours, (low, high))
    barred[:, covered] = overlay[covered]
    return barred


def _draw(
    rows: int, columns: int, colours: NDArray[np.uint8], texts: tuple[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The bar on one picture, and which of its pixels count."""
    width, height = max(1, columns // 40), rows // 3
    lettered = min(rows, columns) >= _LEAST_LETTERED
    top, right = 2 + rows // 50 + (_letter_size(rows) if lettered else 0), columns - 1 - columns // 50
    left = right - width
    overlay = np.zeros((rows, columns, 3), np.uint8)
    covered = np.zeros((rows, columns), np.bool_)
    covered[top - 1 : top + height + 1, left - 1 : right + 1] = True
    entries = np.rint(np.linspace(len(colours) - 1, 0, height)).astype(int)
    overlay[top : top + height, left:right] = colours[entries][:, None]
    if lettered:
        _letter(overlay, covered, (right, top, height), texts)
    return overlay, covered


def _letter_size(rows: int) -> int:
    return max(10, rows // 32)


def _letter(
    overlay: NDArray[np.uint8], covered: NDArray[np.bool_], place: tuple[int, int, int], texts: tuple[str, str]
) -> None:
    """Write the limits below and above the bar, flush with its right edge, in white with a dark rim."""
    right, top, height = place
    font = ImageFont.load_default(_letter_size(overlay.shape[0]))
    ink, rim = (Image.new("L", overlay.shape[1::-1]) for _ in range(2))
    for text, y, anchor in ((texts[0], top + height + 2, "ra"), (texts[1], top - 2, "rs")):
        ImageDraw.Draw(ink).text((right, y), text, 255, font, anchor=anchor)
        ImageDraw.Draw(rim).text((right, y), text, 255, font, anchor=anchor, stroke_width=1)
    written = np.asarray(rim) > 0
    overlay[written] = np.asarray(ink)[written][:, None]
    covered |= written
