"""A colour picture of which the uptake is known at every pixel, and how exactly a perfect eye could read it back."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.images import RgbStack
from fusionnode.fusion.colour import chroma_table, colourise, show_uptake
from fusionnode.fusion.readback import read_uptake
from fusionnode.pipeline.schema import Palette

ROWS, COLUMNS = 34, 256
_ENTRIES = (np.arange(256) / 255).astype(np.float32)
_LUMA = np.array([0.299, 0.587, 0.114])
_ROUNDING = 2
"""Grey levels per channel by which two colours may differ and still be the same: each is rounded twice."""

COLOURED = {Palette.PET: 2, Palette.HOT_IRON: 2, Palette.HOT_METAL_BLUE: 2, Palette.PET_20_STEP: 13}
"""Entries by which most of the uptake is off at most; a palette of twenty steps has no finer ones. Grey has no hue."""


@cache
def make_known_picture(palette: Palette) -> RgbStack:
    """Two slices with every uptake from 0 to 1 from left to right, the second from right to left, fused by colour.

    The fused luminance is that of the palette, where there is most room for its colours.
    """
    uptake = np.broadcast_to(np.stack([_ENTRIES, _ENTRIES[::-1]])[:, None], (2, ROWS, COLUMNS))
    own = (show_uptake(np.ascontiguousarray(uptake), palette) @ _LUMA / 255).astype(np.float32)
    return colourise(own, np.ascontiguousarray(uptake), palette)


def require_known(pictures: RgbStack, palette: Palette) -> None:
    """Fail unless the uptake of `make_known_picture` can be read from what became of it.

    Each uptake must be read as one of those that the palette shows in the same colour at that luminance, and most of
    them exactly.
    """
    for read, known in zip(read_uptake(pictures, chroma_table(palette)), (_ENTRIES, _ENTRIES[::-1]), strict=True):
        off = np.abs(np.rint(read * 255) - np.rint(known * 255))
        resolution = _find_resolution(palette)[np.rint(known * 255).astype(int)]
        assert (off <= resolution).all(), f"{palette}: off by {off.max()} entries"
        if palette in COLOURED:
            assert (off <= COLOURED[palette]).mean() > 0.7, f"{palette}: most of the uptake is lost"


@cache
def _find_resolution(palette: Palette) -> NDArray[np.intp]:
    """For each entry, how far away others look the same at its luminance."""
    own = (show_uptake(_ENTRIES[None, None], palette) @ _LUMA / 255).astype(np.float32)[0, 0]
    luminances = np.broadcast_to(own[:, None], (256, 256))
    shown = colourise(luminances[None], np.broadcast_to(_ENTRIES, (1, 256, 256)), palette)[0].astype(int)
    alike = np.abs(shown - shown[np.arange(256), np.arange(256)][:, None]).max(axis=2) <= _ROUNDING
    apart = np.abs(np.arange(256)[None] - np.arange(256)[:, None])
    return np.where(alike, apart, 0).max(axis=1)
