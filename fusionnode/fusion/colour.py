"""Colour (middle): the fused luminance with the hue of the uptake. numpy only.

Luminance and chrominance are those of BT.601 in full range (Y' = 0.299 R + 0.587 G + 0.114 B). A palette gives every
uptake its chrominance; the fused image alone gives the luminance. Where a colour does not exist at that luminance,
it is paled toward grey at the same luminance, never clipped channel by channel, so the grey picture a radiologist would
see with the colours turned off is the fused image itself.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from fusionnode.domain.images import RgbStack, SliceStack
from fusionnode.pipeline.schema import Palette

_WELL_KNOWN_UIDS = {
    Palette.HOT_IRON: "1.2.840.10008.1.5.1",
    Palette.PET: "1.2.840.10008.1.5.2",
    Palette.HOT_METAL_BLUE: "1.2.840.10008.1.5.3",
    Palette.PET_20_STEP: "1.2.840.10008.1.5.4",
}
_LUMA = np.array([0.299, 0.587, 0.114])
_COLOURED = 0.4
"""Saturation (HSV) down to which a palette entry counts as coloured."""


def colourise(fused: SliceStack, moving: SliceStack, palette: Palette) -> RgbStack:
    """Give the fused luminance the colour of the uptake.

    The luminance of the result is ``fused`` to within rounding (0.5/255); where the uptake is 0 the result is grey.

    Args:
        fused: float32 [slice, row, column] in [0, 1].
        moving: the uptake, same shape and range.
        palette: gives every uptake its hue and the strength of its colour.

    Returns:
        uint8 [slice, row, column, 3].

    Raises:
        ValueError: the shapes differ.
    """
    if fused.shape != moving.shape:
        raise ValueError(f"one fused value per uptake is needed, not {fused.shape} for {moving.shape}")
    chroma = _chroma_table(palette)
    coloured = np.empty((*fused.shape, 3), np.uint8)
    for picture, luminances, uptakes in zip(coloured, fused, moving, strict=True):
        picture[...] = _colourise_slice(luminances, _to_bytes(uptakes), chroma)
    return coloured


def show_uptake(moving: SliceStack, palette: Palette) -> RgbStack:
    """The uptake alone through the palette: float32 [slice, row, column] in [0, 1] → uint8 [slice, row, column, 3]."""
    return _to_bytes(palette_table(palette))[_to_bytes(moving)]


def luminance(rgb: RgbStack) -> SliceStack:
    """The luminance of uint8 [..., 3], float32 [...] in [0, 1]."""
    luminances: SliceStack = (rgb @ _LUMA / 255).astype(np.float32)
    return luminances


@cache
def palette_table(palette: Palette) -> NDArray[np.float64]:
    """The 256 colours of a palette (PS3.6, well-known colour palettes), float64 [256, 3] in [0, 1], read-only."""
    ramp = np.arange(256, dtype=np.uint8)
    uid = _WELL_KNOWN_UIDS.get(palette)
    colours = np.stack([ramp] * 3, axis=1) if uid is None else apply_color_lut(ramp, palette=uid)
    table: NDArray[np.float64] = colours / 255.0
    table.setflags(write=False)
    return table


@cache
def _chroma_table(palette: Palette) -> NDArray[np.float32]:
    """What each entry adds to grey of its own luminance, float32 [256, 3]."""
    table = palette_table(palette)
    peak = table.max(axis=1)
    coloured = np.flatnonzero(peak - table.min(axis=1) > _COLOURED * peak)
    chroma = table - (table @ _LUMA)[:, None]
    if coloured.size:
        # The palettes end in white. In a dark fold of the cortex that is plain grey, and the hottest spot would look
        # as if it had no uptake at all; so the last real colour is kept to the end, and luminance tells the rest.
        chroma[coloured[-1] :] = chroma[coloured[-1]]
    narrowed: NDArray[np.float32] = chroma.astype(np.float32)
    return narrowed


def _colourise_slice(
    luminances: NDArray[np.float32], entries: NDArray[np.uint8], chroma: NDArray[np.float32]
) -> NDArray[np.uint8]:
    # Per entry: the luminance above which, and below which, its colour begins not to exist.
    over, under = chroma.max(axis=1)[entries], -chroma.min(axis=1)[entries]
    tiny = np.finfo(np.float32).tiny
    strength = np.minimum((1 - luminances) / np.maximum(over, tiny), luminances / np.maximum(under, tiny))
    paled = np.minimum(strength, 1)[..., None] * chroma[entries]
    return _to_bytes(luminances[..., None] + paled)


def _to_bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return rounded
