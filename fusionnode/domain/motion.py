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
class MotionQuality:
    """How far a motion can be trusted, measured at the cortex by another yardstick than the one it was found with.

    ``left`` below is the share of the uptake's local variance that the MRI does not explain. NaN: not to be measured.

    Attributes:
        explained: share of the uptake's local variance that the MRI explains at the motion, 0 to 1.
        sharpness: logarithm of the smallest ``left`` 10 mm or 10 degrees away over that at the motion; negative where
            a wrong pose fits better.
        mirror_margin: logarithm of ``left`` for the uptake's mirror image over that for the uptake itself, each where
            it fits best; about 0 for another head, negative where left and right are exchanged.
        second_opinion_mm: how far the nearest best fit by this yardstick lies from the motion, mean over the head, mm.
        starts_apart_mm: how far that best fit and those reached from three starts 8 to 10 mm and 8 to 9 degrees away
            lie apart at most, mm.
        stretch: by how much the head would have to be stretched along an axis to fit best; 0.05 is a twentieth.
    """

    explained: float
    sharpness: float
    mirror_margin: float
    second_opinion_mm: float
    starts_apart_mm: float
    stretch: float


@dataclass(frozen=True)
class MotionEstimate:
    """A motion with the figures that were used to judge it.

    Attributes:
        centre_distance_mm: between the two heads' centres once the motion is applied; NaN when nothing was registered.
        overlap: share of the fixed series' foreground that lies inside the moving series' grid, 0 to 1.
        information: mutual information (nats, Mattes) at the estimate; NaN when nothing was registered.
        information_at_start: the same before optimisation; NaN when nothing was registered.
        warnings: sentences for the report and the output.
        quality: None when nothing was registered or the motion was not examined yet.
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
    quality: MotionQuality | None = None
