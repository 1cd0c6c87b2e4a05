"""Stacks of slices on their way to the screen, and what was done to them."""

from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import MotionEstimate
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame, Voxels

SliceStack: TypeAlias = NDArray[np.float32]
"""float32 [slice, row, column] in [0, 1]."""

RgbStack: TypeAlias = NDArray[np.uint8]
"""uint8 [slice, row, column, 3], full-range sRGB."""


@dataclass(frozen=True)
class Window:
    """The values shown as black (``low``) and at full scale (``high``), in ``unit``; per volume, never per slice."""

    low: float
    high: float
    unit: Unit


@dataclass(frozen=True, eq=False)
class PreparedPair:
    """Everything the fuse step needs: two stacks on the fixed grid, and how they came to be there.

    Attributes:
        fixed: windowed MRI, float32 [slice, row, column] in [0, 1].
        moving: windowed functional series resampled onto the same grid, same shape and range;
            0 where the moving series has no voxels.
        covered: bool, same shape: True where the moving series has voxels.
        fixed_sources: one per slice, in slice order.
        moving_sources: every frame of the functional volume, in its own slice order.
        moving_scale: what the functional values, in the unit of their source, were multiplied by to be in the unit of
            ``moving_window``.
        uptake: the functional series on the fixed grid as it was measured, float32, same shape, in the unit of
            ``moving_window``; 0 where it has no voxels; None unless it is to be written.
    """

    fixed: SliceStack
    moving: SliceStack
    covered: NDArray[np.bool_]
    grid: Grid
    frame_of_reference_uid: str
    moving_frame_of_reference_uid: str
    fixed_window: Window
    moving_window: Window
    estimate: MotionEstimate
    fixed_sources: tuple[SourceFrame, ...]
    moving_sources: tuple[SourceFrame, ...]
    notes: tuple[str, ...] = ()
    moving_scale: float = 1.0
    uptake: Voxels | None = None

    def without_pictures(self) -> Self:
        """The same with two stacks of zeros that take no memory, for what comes after fusion."""
        nothing = np.broadcast_to(np.float32(0), self.fixed.shape)
        return replace(self, fixed=nothing, moving=nothing)


@dataclass(frozen=True, eq=False)
class FusedStack:
    """The pictures, one per fixed slice, and the name@version of the fuser that made them."""

    rgb: RgbStack
    model: str
