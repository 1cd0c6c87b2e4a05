"""A regular grid of voxels in patient space: geometry without pixels."""

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Affine: TypeAlias = NDArray[np.float64]
"""4x4 homogeneous matrix, float64, named ``target_from_source``; millimetres where a side is patient space."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxel [slice, row, column] lies in patient space.

    Attributes:
        shape: (slices, rows, columns).
        patient_from_index: maps (slice, row, column, 1) to LPS millimetres (PS3.3 C.7.6.2.1.1, with the
            slice axis added). Float64, invertible, axes mutually perpendicular.

    Raises:
        ValueError: on a wrong shape, a non-finite or a singular matrix: a defect of the caller, not of the data.
    """

    shape: tuple[int, int, int]
    patient_from_index: Affine

    def __post_init__(self) -> None:
        matrix = np.asarray(self.patient_from_index, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
            raise ValueError("patient_from_index must be a finite, invertible 4x4 matrix")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"a grid needs three positive extents, not {self.shape}")
        matrix.setflags(write=False)
        object.__setattr__(self, "patient_from_index", matrix)

    @classmethod
    def from_axes(
        cls,
        shape: tuple[int, int, int],
        origin_mm: NDArray[np.float64],
        directions: NDArray[np.float64],
        spacing_mm: tuple[float, float, float],
    ) -> Self:
        """Build a grid from its origin (LPS mm), unit directions (as columns: slice, row, column) and spacing."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(directions, dtype=np.float64) * np.asarray(spacing_mm, dtype=np.float64)
        matrix[:3, 3] = origin_mm
        return cls(shape, matrix)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (slice, row, column) in mm."""
        slices, rows, columns = np.linalg.norm(self.patient_from_index[:3, :3], axis=0)
        return float(slices), float(rows), float(columns)

    @property
    def directions(self) -> NDArray[np.float64]:
        """3x3, float64: unit vectors (LPS) of the slice, row and column axes as columns."""
        axes: NDArray[np.float64] = self.patient_from_index[:3, :3] / np.asarray(self.spacing_mm)
        return axes

    @property
    def origin_mm(self) -> NDArray[np.float64]:
        """Centre of voxel [0, 0, 0], LPS mm."""
        origin: NDArray[np.float64] = self.patient_from_index[:3, 3]
        return origin

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """Centre of the whole grid, LPS mm."""
        middle = (np.asarray([self.shape], dtype=np.float64) - 1) / 2
        centre: NDArray[np.float64] = self.points_mm(middle)[0]
        return centre

    def points_mm(self, indices: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (n, 3) voxel indices (slice, row, column; fractions allowed) to (n, 3) LPS mm."""
        matrix = self.patient_from_index
        points: NDArray[np.float64] = indices @ matrix[:3, :3].T + matrix[:3, 3]
        return points

    def cut(self, first: tuple[int, int, int], shape: tuple[int, int, int]) -> "Grid":
        """The part of the grid of extent ``shape`` that begins at voxel ``first``."""
        matrix = self.patient_from_index.copy()
        matrix[:3, 3] = self.points_mm(np.asarray([first], dtype=np.float64))[0]
        return Grid(shape, matrix)

    def slice_position_mm(self, index: int) -> tuple[float, float, float]:
        """Image Position (Patient) of slice ``index``: the centre of its first voxel, LPS mm."""
        first, second, third = self.points_mm(np.asarray([[index, 0, 0]], dtype=np.float64))[0]
        return float(first), float(second), float(third)

    def orientation(self) -> tuple[float, float, float, float, float, float]:
        """Image Orientation (Patient): direction of increasing column index, then of increasing row index."""
        axes = self.directions
        row_x, row_y, row_z = (float(v) for v in axes[:, 2])
        column_x, column_y, column_z = (float(v) for v in axes[:, 1])
        return row_x, row_y, row_z, column_x, column_y, column_z
