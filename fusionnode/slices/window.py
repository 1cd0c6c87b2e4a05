"""Chooses one display window per volume and applies it (middle).

A volume may have a hundred million voxels, so nothing here keeps a second copy of it in double precision.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.images import SliceStack, Window
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Voxels
from fusionnode.errors import ContrastMissing

_BINS = 256
_LOG_SPAN = 1000.0
_VALUES_AT_ONCE = 1 << 20
_DARK_SHARE = 0.25
"""Tissue darker than this share of the median foreground is taken for background at most."""


def choose_window(
    voxels: NDArray[np.float32],
    unit: Unit,
    low_percentile: float,
    high_percentile: float,
    least_high: float = 0.0,
    within: NDArray[np.bool_] | None = None,
) -> Window:
    """Return the window between two percentiles (0 to 100) of the foreground of ``voxels``, in any shape.

    ``within`` has the shape of ``voxels`` and is True where they count; None: everywhere.

    For uptake (every unit but ARBITRARY) a low percentile of 0 means the value 0: no uptake is black. The window
    scales with the voxels, and ``low < high`` always holds. Of uptake the high end is at least ``least_high`` (in
    ``unit``), because percentiles alone would show the faintest uptake as hot where there is no other.

    Raises:
        ContrastMissing: the volume holds one value only, no finite value, or no uptake.
        ValueError: the percentiles are not 0 <= low < high <= 100: a defect of the caller.
    """
    if not 0 <= low_percentile < high_percentile <= 100:
        raise ValueError(f"percentiles must rise within 0 to 100, not {low_percentile}, {high_percentile}")
    uptake = unit is not Unit.ARBITRARY
    floor, highest = _find_ends(voxels, within, uptake)
    foreground = _take_above(voxels, within, _find_threshold(voxels, within, (floor, highest)))
    low, high = _take_percentiles(foreground, (low_percentile, high_percentile))
    if uptake:
        low, high = 0.0 if low_percentile == 0 else low, max(high, least_high)
    if not low < high:
        low = floor
    return Window(low, high, unit)


def apply_window(voxels: Voxels, window: Window) -> SliceStack:
    """Map ``window.low`` to 0 and ``window.high`` to 1, clipped; NaN becomes 0. Same shape, float32."""
    stack: SliceStack = np.empty(voxels.shape, np.float32)
    for picture, values in zip(stack, voxels, strict=True):
        shown = (values.astype(np.float64) - window.low) / (window.high - window.low)
        picture[...] = np.clip(np.nan_to_num(shown, nan=0.0), 0, 1)
    return stack


def find_threshold(voxels: NDArray[np.float32], floor: float) -> float:
    """Return the value above which a voxel is taken for foreground, at least ``floor``; voxels in any shape.

    Otsu's threshold (IEEE Trans. SMC 9, 1979) on the logarithm, because on the values themselves it parts bright
    from dark tissue once the volume is mostly air; then held below a quarter of the median foreground, because a
    volume without air would lose its dark tissue.
    """
    return _find_threshold(voxels, None, (floor, float(voxels.max())))


_Within = NDArray[np.bool_] | None


def _find_threshold(voxels: NDArray[np.float32], within: _Within, ends: tuple[float, float]) -> float:
    floor, span = ends[0], ends[1] - ends[0]
    counts, edges = np.zeros(_BINS, dtype=np.intp), np.zeros(_BINS + 1)
    for part in _list_parts(voxels, within):
        shares = np.clip((part.astype(np.float64) - floor) / span, 0, 1)
        found, edges = np.histogram(np.log1p(shares * _LOG_SPAN), bins=_BINS, range=(0, np.log1p(_LOG_SPAN)))
        counts += found
    split = float(np.expm1(_split_histogram(counts, edges)) / _LOG_SPAN)
    (typical,) = _take_percentiles(_take_above(voxels, within, floor + span * split), (50.0,))
    return floor + min(span * split, _DARK_SHARE * (typical - floor))


def _list_parts(voxels: NDArray[np.float32], within: _Within) -> Iterator[NDArray[np.float32]]:
    """Yield the finite voxels that count, part by part."""
    flat, mask = voxels.ravel(), None if within is None else within.ravel()
    for start in range(0, flat.size, _VALUES_AT_ONCE):
        values = flat[start : start + _VALUES_AT_ONCE]
        counting = np.isfinite(values)
        yield values[counting if mask is None else counting & mask[start : start + _VALUES_AT_ONCE]]


def _take_above(voxels: NDArray[np.float32], within: _Within, threshold: float) -> NDArray[np.float32]:
    """A flat copy of the voxels that count and are larger than ``threshold``."""
    size = sum(int((part > threshold).sum()) for part in _list_parts(voxels, within))
    taken, begin = np.empty(size, np.float32), 0
    for part in _list_parts(voxels, within):
        chosen = part[part > threshold]
        taken[begin : begin + chosen.size] = chosen
        begin += chosen.size
    return taken


def _take_percentiles(values: NDArray[np.float32], percentiles: Sequence[float]) -> list[float]:
    """Linear percentiles in float64; ``values`` are put into another order, so that no copy of them is needed."""
    ranks = [(values.size - 1) * percentile / 100 for percentile in percentiles]
    ends = [(math.floor(rank), math.ceil(rank)) for rank in ranks]
    values.partition(sorted({end for pair in ends for end in pair}))
    return [
        float(values[low]) + (rank - low) * (float(values[high]) - float(values[low]))
        for rank, (low, high) in zip(ranks, ends, strict=True)
    ]


def _find_ends(voxels: NDArray[np.float32], within: _Within, uptake: bool) -> tuple[float, float]:
    """Return the value of nothing, which is 0 or the smallest value where an MRI has negative ones, and the highest."""
    ends = [(float(part.min()), float(part.max())) for part in _list_parts(voxels, within) if part.size]
    lowest, highest = min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)
    if lowest == highest or (uptake and highest <= 0):
        raise ContrastMissing(
            "The volume holds nothing to show: no finite values, one value only, or no uptake.",
            remedy="Look at the source series.",
        )
    return 0.0 if uptake or lowest >= 0 else lowest, highest


def _split_histogram(counts: NDArray[np.intp], edges: NDArray[np.float64]) -> float:
    """Return the edge that separates the two classes with the largest variance between them."""
    weights = counts / counts.sum()
    centres = (edges[:-1] + edges[1:]) / 2
    below, moment = np.cumsum(weights), np.cumsum(weights * centres)
    above = 1 - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below - moment) ** 2 / (below * above)
    best = np.nan_to_num(between[:-1], nan=0.0, posinf=0.0)
    # Empty bins between the classes all give the same variance: the middle one is as far from either as can be.
    ties = np.flatnonzero(best >= best.max() * (1 - 1e-9))
    return float(edges[ties[len(ties) // 2] + 1])
