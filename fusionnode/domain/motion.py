"""Rigid motion between two scans, and how much it can be trusted."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Affine


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Maps a point of the fixed series to where the same anatomy lies in the moving series.

    Attributes:
        moving_from_fixed: 4x4, LPS mm, float64; a proper rotation and a translation.

    Raises:
        ValueError: the matrix is not rigid: a defect of the caller.
    """

    moving_from_fixed: Affine

    def __post_init__(self) -> None:
        matrix = np.asarray(self.moving_from_fixed, dtype=np.float64)
        rotation = matrix[:3, :3]
        rigid = (
            matrix.shape == (4, 4)
            and np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
            and np.linalg.det(rotation) > 0
            and np.array_equal(matrix[3], [0, 0, 0, 1])
        )
        if not rigid:
            raise ValueError("moving_from_fixed must be a 4x4 rigid transform")
        matrix.setflags(write=False)
        object.__setattr__(self, "moving_from_fixed", matrix)

    @classmethod
    def identity(cls) -> "RigidMotion":
        """No motion: both series already share one space."""
        return cls(np.eye(4))

    @property
    def fixed_from_moving(self) -> Affine:
        """The inverse mapping, LPS mm."""
        inverse: Affine = np.linalg.inv(self.moving_from_fixed).astype(np.float64)
        return inverse

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation about its own axis, 0 to 180 degrees."""
        cosine = (float(np.trace(self.moving_from_fixed[:3, :3])) - 1) / 2
        return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))

    def displacement_mm(self, point_mm: NDArray[np.float64]) -> float:
        """How far the motion carries ``point_mm`` (LPS mm), in mm."""
        moved = self.moving_from_fixed[:3, :3] @ point_mm + self.moving_from_fixed[:3, 3]
        return float(np.linalg.norm(moved - point_mm))


class MotionMethod(StrEnum):
    """How the motion was come by."""

    SHARED_FRAME = "shared frame of reference"
    REGISTERED = "rigid registration"


@dataclass(frozen=True)
class MotionEstimate:
    """A motion with the figures that were used to judge it.

    Attributes:
        centre_distance_mm: between the two heads' centres once the motion is applied; NaN when nothing was registered.
        overlap: share of the fixed series' foreground that lies inside the moving series' grid, 0 to 1.
        information: mutual information (nats, Mattes) at the estimate; NaN when nothing was registered.
        information_at_start: the same before optimisation; NaN when nothing was registered.
        warnings: sentences for the report and the output.
    """

    motion: RigidMotion
    method: MotionMethod
    preset: str
    centre_distance_mm: float
    overlap: float
    information: float = math.nan
    information_at_start: float = math.nan
    iterations: int = 0
    warnings: tuple[str, ...] = ()
