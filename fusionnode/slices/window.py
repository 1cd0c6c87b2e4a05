"""Chooses one display window per volume and applies it (middle)."""

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.images import SliceStack, Window
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Voxels
from fusionnode.errors import ContrastMissing

_BINS = 256
_LOG_SPAN = 1000.0
_DARK_SHARE = 0.25
"""Tissue darker than this share of the median foreground is taken for background at most."""


def choose_window(
    voxels: NDArray[np.float32], unit: Unit, low_percentile: float, high_percentile: float, least_high: float = 0.0
) -> Window:
    """Return the window between two percentiles (0 to 100) of the foreground of all ``voxels``, in any shape.

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
    finite = voxels[np.isfinite(voxels)]
    floor = _find_floor(finite, uptake)
    foreground = finite[finite > find_threshold(finite, floor)]
    low, high = (
        float(value) for value in np.percentile(foreground.astype(np.float64), (low_percentile, high_percentile))
    )
    if uptake:
        low, high = 0.0 if low_percentile == 0 else low, max(high, least_high)
    if not low < high:
        low = floor
    return Window(low, high, unit)


def apply_window(voxels: Voxels, window: Window) -> SliceStack:
    """Map ``window.low`` to 0 and ``window.high`` to 1, clipped; NaN becomes 0. Same shape, float32."""
    shown = (voxels.astype(np.float64) - window.low) / (window.high - window.low)
    stack: SliceStack = np.clip(np.nan_to_num(shown, nan=0.0), 0, 1).astype(np.float32)
    return stack


def find_threshold(finite: NDArray[np.float32], floor: float) -> float:
    """Return the value above which a voxel is taken for foreground, at least ``floor``.

    Otsu's threshold (IEEE Trans. SMC 9, 1979) on the logarithm, because on the values themselves it parts bright
    from dark tissue once the volume is mostly air; then held below a quarter of the median foreground, because a
    volume without air would lose its dark tissue.
    """
    span = float(finite.max()) - floor
    shares = np.clip((finite.astype(np.float64) - floor) / span, 0, 1)
    counts, edges = np.histogram(np.log1p(shares * _LOG_SPAN), bins=_BINS, range=(0, np.log1p(_LOG_SPAN)))
    split = np.expm1(_split_histogram(counts, edges)) / _LOG_SPAN
    typical = float(np.median(shares[shares > split]))
    return floor + span * min(float(split), _DARK_SHARE * typical)


def _find_floor(finite: NDArray[np.float32], uptake: bool) -> float:
    """Return the value of nothing: 0, or the smallest value where an MRI has negative ones."""
    if finite.size == 0 or finite.min() == finite.max() or (uptake and finite.max() <= 0):
        raise ContrastMissing(
            "The volume holds nothing to show: no finite values, one value only, or no uptake.",
            remedy="Look at the source series.",
        )
    lowest = float(finite.min())
    return 0.0 if uptake or lowest >= 0 else lowest


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
