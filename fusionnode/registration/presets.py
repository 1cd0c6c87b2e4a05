"""What the estimator may be told: one frozen record per kind of anatomy (middle)."""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Level:
    """One pass over the pyramid, coarse to fine.

    Attributes:
        spacing_mm: both volumes are reduced to this spacing; an axis that is coarser already is left alone.
        fixed_blur_mm: standard deviation of the Gaussian applied to the fixed volume before reduction.
        moving_blur_mm: the same for the moving volume; smaller, because a functional volume is blurred by nature.
        mask_margin_mm: how far the region that is compared reaches beyond the fixed head. Wide while searching, so that
            the head's outline pulls; a rim at the end, without which the answer hung on where the mask was cut.
        step_mm: about how far apart the points are that are compared.
        bins: of each axis of the joint histogram.
        first_step_mm: length of the optimiser's first step.
        last_step_mm: it stops when its steps have become shorter than this.
    """

    spacing_mm: float
    fixed_blur_mm: float
    moving_blur_mm: float
    mask_margin_mm: float
    step_mm: float
    bins: int
    first_step_mm: float
    last_step_mm: float


@dataclass(frozen=True)
class Preset:
    """How a motion is searched for.

    Attributes:
        levels: coarse to fine, at least one. The first also compares the starts.
        radius_mm: a turn weighs in the optimiser's steps like a shift of the arc at this distance from the centre. Less
            than a head's radius: heads are nearly round, so information falls slower with a turn than with a shift.
            With 70 mm, turns about two axes stopped up to 1 mm short; from 25 to 35 mm none did.
        start_turns_deg: turns tried about each patient axis, in addition to none.
        start_shifts_mm: shifts along the patient's long axis tried in addition to none, for slabs and truncated heads.
        finalists: from how many places each level is climbed: the best starts, then the best summits of the level
            before. Blurred by 6 mm, half a head may agree better with the wrong half; unblurred it no longer does.
        max_iterations: per level.
        head_height_mm: what lies further below the vertex is neck and body, which does not move with the head.
        seed: of the sampling; part of the preset so that the same input gives the same bits.
    """

    name: str
    levels: tuple[Level, ...]
    radius_mm: float = 35.0
    start_turns_deg: tuple[float, ...] = (-20.0, 20.0)
    start_shifts_mm: tuple[float, ...] = (-30.0, 30.0)
    finalists: tuple[int, ...] = (28, 4, 2)
    max_iterations: int = 100
    head_height_mm: float = 190.0
    seed: int = 20_011


_BRAIN_LEVELS = (
    Level(8.0, 6.0, 6.0, mask_margin_mm=12.0, step_mm=8.0, bins=32, first_step_mm=4.0, last_step_mm=1.0),
    Level(4.0, 3.0, 3.0, mask_margin_mm=4.0, step_mm=4.0, bins=32, first_step_mm=2.0, last_step_mm=0.05),
    Level(1.0, 0.0, 0.0, mask_margin_mm=8.0, step_mm=3.2, bins=48, first_step_mm=0.5, last_step_mm=0.005),
)

PRESETS = MappingProxyType({"brain-rigid": Preset("brain-rigid", _BRAIN_LEVELS)})
"""Every preset a pipeline may name, by name."""
