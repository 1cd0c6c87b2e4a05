"""Voxels with their grid, their unit and the instances they came from."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.terms import Unit

Voxels: TypeAlias = NDArray[np.float32]
"""float32 [slice, row, column]."""


@dataclass(frozen=True)
class SourceFrame:
    """The stored image one slice was read from. ``frame_number`` counts from 1, None for single-frame objects."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar volume on a regular grid.

    Attributes:
        voxels: float32, shape ``grid.shape``, in ``unit``. Always float32, whatever the file held.
        frame_of_reference_uid: the space ``grid`` lives in; empty where the source names none.
        sources: one per slice, in slice order; empty for a volume made by resampling.
        notes: remarks for the report (for example why SUV could not be computed).
        scale: what values in the unit of the source were multiplied by to be in ``unit``.
    """

    voxels: Voxels
    grid: Grid
    unit: Unit
    frame_of_reference_uid: str
    series_instance_uid: str
    sources: tuple[SourceFrame, ...] = ()
    notes: tuple[str, ...] = ()
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.voxels.dtype != np.float32 or self.voxels.shape != self.grid.shape:
            raise ValueError(f"voxels must be float32 of shape {self.grid.shape}, not {self.voxels.dtype}")
