"""Colour (middle): the fused luminance with the hue of the uptake. numpy only.

Luminance and chrominance are those of BT.601 in full range (Y' = 0.299 R + 0.587 G + 0.114 B). A palette gives every
uptake its chrominance; the fused image alone gives the luminance. Where a colour does not exist at that luminance,
it is paled toward grey at the same luminance, never clipped channel by channel, so the grey picture a radiologist would
see with the colours turned off is the fused image itself.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.images import RgbStack, SliceStack
from fusionnode.pipeline.palettes import palette_table
from fusionnode.pipeline.schema import Palette

_LUMA = np.array([0.299, 0.587, 0.114])
_COLOURED = 0.4
"""Saturation (HSV) down to which a palette entry counts as coloured."""
_STRONG = 0.85
"""Share of a palette's strongest chroma from which on an entry counts as strong."""
_FAINT_ENTRIES = 13
"""The lowest twentieth of the uptake, where noise lies."""


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
    chroma = chroma_table(palette)
    coloured = np.empty((*fused.shape, 3), np.uint8)
    for picture, luminances, uptakes in zip(coloured, fused, moving, strict=True):
        picture[...] = _colourise_slice(luminances, _to_bytes(uptakes), chroma)
    return coloured


def recombine(fused: SliceStack, coloured: RgbStack) -> RgbStack:
    """Give the fused luminance the colour of a picture that is pseudo-coloured already.

    The luminance of the result is ``fused`` to within rounding (0.5/255); where ``fused`` is the luminance of
    ``coloured`` the result is ``coloured`` itself. Putting Cb and Cr back unchanged would leave the gamut wherever the
    fused luminance is far from the picture's own, and clipping would then show another luminance than the fused one.

    Args:
        fused: float32 [slice, row, column] in [0, 1].
        coloured: uint8 [slice, row, column, 3].

    Returns:
        uint8 [slice, row, column, 3].

    Raises:
        ValueError: the shapes differ.
    """
    _require_colours(fused, coloured)
    pictures = np.empty_like(coloured)
    for picture, luminances, colours in zip(pictures, fused, coloured, strict=True):
        picture[...] = _to_bytes(luminances[..., None] + pale(luminances, chroma_of(colours / 255)))
    return pictures


def find_paled(fused: SliceStack, coloured: RgbStack) -> NDArray[np.bool_]:
    """Where the colour of ``coloured`` does not exist at the fused luminance, so that `recombine` pales it.

    Arguments and errors are those of `recombine`; bool [slice, row, column]. Less than half a grey level is rounding.
    """
    _require_colours(fused, coloured)
    paled = np.empty(fused.shape, np.bool_)
    for mask, luminances, colours in zip(paled, fused, coloured, strict=True):
        over, under = _gamut_limits(chroma_of(colours / 255))
        mask[...] = (luminances + over > 1 + 0.5 / 255) | (luminances - under < -0.5 / 255)
    return paled


def show_uptake(moving: SliceStack, palette: Palette) -> RgbStack:
    """The uptake alone through the palette: float32 [slice, row, column] in [0, 1] → uint8 [slice, row, column, 3]."""
    return _to_bytes(palette_table(palette))[_to_bytes(moving)]


def shade_uptake(moving: SliceStack, palette: Palette) -> SliceStack:
    """The brightness in which the uptake is fused: that of its own colour, where the palette grows brighter throughout.

    Then a place where nothing but uptake is shown comes out in the very colour of the palette; the uptake itself is
    brighter than hot metal's orange, and would pale it. A rainbow, in which yellow outshines red, says nothing by its
    brightness: there the uptake itself is fused.

    Args:
        moving: the uptake, float32 [slice, row, column] in [0, 1].
        palette: that it will be shown in.

    Returns:
        Same shape and range; rises with the uptake.
    """
    shades = palette_table(palette) @ _LUMA
    if (np.diff(shades) < 0).any():
        return moving
    ramp = np.linspace(0, 1, len(shades))
    shaded: SliceStack = np.interp(moving, ramp, shades).astype(np.float32)
    return shaded


def luminance(rgb: RgbStack) -> SliceStack:
    """The luminance of uint8 [..., 3], float32 [...] in [0, 1]."""
    luminances: SliceStack = (rgb @ _LUMA / 255).astype(np.float32)
    return luminances


@cache
def chroma_table(palette: Palette) -> NDArray[np.float32]:
    """What each entry adds to grey of the fused luminance, float32 [256, 3]; read-only.

    Not quite the palette's own chrominance: faint uptake fades to grey, and from the last strong colour on the strength
    stays, so that the hottest uptake is not paler than the warm rim around it.
    """
    table = palette_table(palette)
    peak = table.max(axis=1)
    coloured = np.flatnonzero(peak - table.min(axis=1) > _COLOURED * peak)
    chroma = chroma_of(table)
    if coloured.size:
        # The palettes end in white. In a dark fold of the cortex that is plain grey, and the hottest spot would look
        # as if it had no uptake at all; so the last real colour is kept to the end, and luminance tells the rest.
        chroma[coloured[-1] :] = chroma[coloured[-1]]
        chroma = _keep_strong(chroma)
    # Else the noise of air and marrow would be coloured as well as the faintest uptake.
    chroma[:_FAINT_ENTRIES] *= (np.arange(_FAINT_ENTRIES, dtype=np.float32) / _FAINT_ENTRIES)[:, None]
    chroma.setflags(write=False)
    return chroma


def chroma_of(colours: NDArray[np.float64]) -> NDArray[np.float32]:
    """What colours add to grey of their own luminance: float64 [..., 3] in [0, 1] → float32 [..., 3]."""
    chroma: NDArray[np.float32] = (colours - (colours @ _LUMA)[..., None]).astype(np.float32)
    return chroma


def pale(luminances: NDArray[np.float32], chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """As much of each colour as exists at the luminance: float32 [...] in [0, 1] and [..., 3] → [..., 3]."""
    return _pale(luminances, chroma, *_gamut_limits(chroma))


def _keep_strong(chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give every entry after the last strong one the strength of that one, in its own hue."""
    strengths = np.linalg.norm(chroma, axis=1)
    last = np.flatnonzero(strengths >= _STRONG * strengths.max())[-1]
    kept = chroma.copy()
    kept[last:] *= (strengths[last] / strengths[last:])[:, None]
    return kept


def _colourise_slice(
    luminances: NDArray[np.float32], entries: NDArray[np.uint8], chroma: NDArray[np.float32]
) -> NDArray[np.uint8]:
    # Limits are taken of the few entries, not of the many pixels.
    over, under = _gamut_limits(chroma)
    paled = _pale(luminances, chroma[entries], over[entries], under[entries])
    return _to_bytes(luminances[..., None] + paled)


def _gamut_limits(chroma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How far each colour reaches above, and below, its luminance in the channel that reaches farthest."""
    return chroma.max(axis=-1), -chroma.min(axis=-1)


def _pale(
    luminances: NDArray[np.float32],
    chroma: NDArray[np.float32],
    over: NDArray[np.float32],
    under: NDArray[np.float32],
) -> NDArray[np.float32]:
    tiny = np.finfo(np.float32).tiny
    strength = np.minimum((1 - luminances) / np.maximum(over, tiny), luminances / np.maximum(under, tiny))
    paled: NDArray[np.float32] = np.minimum(strength, 1)[..., None] * chroma
    return paled


def _require_colours(fused: SliceStack, coloured: RgbStack) -> None:
    if coloured.shape != (*fused.shape, 3):
        raise ValueError(f"one colour per fused value is needed, not {coloured.shape} for {fused.shape}")


def _to_bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return rounded
