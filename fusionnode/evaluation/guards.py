"""Guards (middle): what the classic metrics reward by mistake, made visible. numpy only.

Several metrics have no reference, so noise raises EN, sharpening raises AG and SF, and a clipped sum raises SD and SCD.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fusionnode.evaluation.metrics import Picture, correlate, measure_average_gradient, require_pictures

DARK = 4
"""Up to this grey level a source is background."""


@dataclass(frozen=True)
class Brightness:
    """Mean grey levels of one slice and of what was made of it, 0 to 255."""

    fixed: float
    moving: float
    fused: float


def measure_guards(fixed: Picture, moving: Picture, fused: Picture) -> dict[str, float]:
    """The guards of one fused picture, by name.

    CCf: correlation with the functional picture alone, which falls where anatomy overwrites uptake.
    haze: mean grey level where both sources are background; 0 where no pixel is.
    saturation: share of pixels at 0 or 255 where neither source is at that end.
    gain: AG over AG of the sharper source; above 1 there is detail that no source has.
    ag_ratio: AG over AG of the MRI.

    Args:
        fixed: luminance of the MRI, uint8 [row, column].
        moving: luminance of the functional picture.
        fused: luminance of the displayed result.

    Raises:
        ValueError: the pictures cannot be compared, or the MRI is all one grey.
    """
    require_pictures(fixed, moving, fused)
    sharpness = measure_average_gradient(fixed)
    if sharpness == 0:
        raise ValueError("an MRI that is all one grey has no detail to compare with")
    gradient = measure_average_gradient(fused)
    return {
        "CCf": correlate(moving, fused),
        "haze": _measure_haze(fixed, moving, fused),
        "saturation": _measure_saturation(fixed, moving, fused),
        "gain": gradient / max(sharpness, measure_average_gradient(moving)),
        "ag_ratio": gradient / sharpness,
    }


def measure_readback(recovered: NDArray[np.float32], uptake: NDArray[np.float32]) -> float:
    """Correlation of the uptake told from the displayed colours with the true one; two arrays of one shape."""
    return correlate(recovered, uptake)


def measure_brightness(fixed: Picture, moving: Picture, fused: Picture) -> Brightness:
    """Mean grey levels, of which `measure_flicker` needs those of a whole run of slices."""
    return Brightness(float(fixed.mean()), float(moving.mean()), float(fused.mean()))


def measure_flicker(runs: Sequence[Sequence[Brightness]]) -> float | None:
    """Change of mean brightness from slice to slice, relative to the sources'.

    The sum of the result's changes over the sum of both sources' mean changes: 1 or less for the plain average; twice
    that for a result that follows both sources in full. More than that means brightness jumps that no source has.

    Args:
        runs: of slices that follow each other without a gap, each run in slice order.

    Returns:
        None where no run has two slices, or the sources never change.
    """
    steps = [pair for run in runs for pair in pairwise(run)]
    fused = math.fsum(abs(after.fused - before.fused) for before, after in steps)
    sources = math.fsum(
        (abs(after.fixed - before.fixed) + abs(after.moving - before.moving)) / 2 for before, after in steps
    )
    return fused / sources if sources > 0 else None


def _measure_haze(fixed: Picture, moving: Picture, fused: Picture) -> float:
    background = fused[(fixed <= DARK) & (moving <= DARK)]
    return float(background.mean()) if background.size else 0.0


def _measure_saturation(fixed: Picture, moving: Picture, fused: Picture) -> float:
    clipped = [(fused == end) & (fixed != end) & (moving != end) for end in (0, 255)]
    return float((clipped[0] | clipped[1]).mean())
