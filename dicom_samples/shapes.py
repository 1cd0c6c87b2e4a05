"""Implicit shapes and smooth random fields on a broadcastable lattice of patient coordinates (pure).

Every shape is a function to signed distance in millimetres: negative inside, positive outside. Coordinates are LPS:
``left`` grows to the patient's left, ``back`` to the back, ``up`` to the head's top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
"""float32 wherever it is large, broadcastable to (up, back, left)."""


@dataclass(frozen=True, eq=False)
class Place:
    """Patient coordinates (LPS mm) of lattice points, as three arrays that broadcast together."""

    left: Field
    back: Field
    up: Field

    @property
    def aside(self) -> Field:
        """Distance from the midsagittal plane, mm: the head is built symmetric and made asymmetric later."""
        return np.abs(self.left)


def measure_ellipsoid(
    place: Place, centre: tuple[float, float, float], semi: tuple[float, float, float], turn_deg: float = 0.0
) -> Field:
    """Signed distance (first order) to an ellipsoid mirrored in the midsagittal plane.

    ``centre`` and ``semi`` axes are (aside, back, up) mm; ``turn_deg`` turns it about the vertical axis so that
    its front comes nearer to the midline.
    """
    aside, back, up = place.aside - centre[0], place.back - centre[1], place.up - centre[2]
    cosine, sine = np.float32(np.cos(np.radians(turn_deg))), np.float32(np.sin(np.radians(turn_deg)))
    across, along = (cosine * aside - sine * back) / semi[0], (sine * aside + cosine * back) / semi[1]
    upward = up / semi[2]
    reach = np.sqrt(across**2 + along**2 + upward**2)
    steepness = np.sqrt((across / semi[0]) ** 2 + (along / semi[1]) ** 2 + (upward / semi[2]) ** 2)
    return np.asarray(reach * (reach - 1) / np.maximum(steepness, 1e-4), dtype=np.float32)


def measure_tube(place: Place, knots: Sequence[tuple[float, float, float, float]]) -> Field:
    """Signed distance to a tube through ``knots`` of (aside, back, up, radius) mm, mirrored left to right."""
    distance = np.full((1, 1, 1), 1e4, dtype=np.float32)
    for start, end in pairwise(knots):
        distance = np.minimum(distance, _measure_cone(place, start, end))
    return distance


def join_smoothly(first: Field, second: Field, width_mm: float) -> Field:
    """Union of two shapes with a fillet of ``width_mm``."""
    share = np.clip(0.5 + 0.5 * (second - first) / width_mm, 0, 1)
    blended = second + (first - second) * share - width_mm * share * (1 - share)
    return np.asarray(blended, dtype=np.float32)


def cut_smoothly(first: Field, second: Field, width_mm: float) -> Field:
    """Intersection of two shapes with a rounded edge of ``width_mm``."""
    return -join_smoothly(-first, -second, width_mm)


def cover(distance: Field, softness_mm: float = 1.0) -> Field:
    """Share of each lattice cell that lies inside, 0 to 1."""
    return np.asarray(np.clip(0.5 - distance / softness_mm, 0, 1), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field: plane waves of one wavelength in random directions (mean 0, variance 1)."""

    vectors: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def draw(cls, seed: int, wavelength_mm: float, count: int = 36) -> "Waves":
        """Draw directions and phases. RandomState, because numpy froze its stream for good."""
        random = np.random.RandomState(seed)
        directions = random.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return cls(directions * (2 * np.pi / wavelength_mm), random.uniform(0, 2 * np.pi, count))

    def evaluate(self, points_mm: Field) -> tuple[Field, Field]:
        """Return (value, length of its gradient per mm) at ``points_mm`` of shape (n, 3)."""
        value = np.zeros(len(points_mm), dtype=np.float32)
        slope = np.zeros((len(points_mm), 3), dtype=np.float32)
        scale = np.float32(np.sqrt(2 / len(self.phases)))
        for vector, phase in zip(self.vectors.astype(np.float32), self.phases.astype(np.float32), strict=True):
            angle = points_mm[:, 0] * vector[0] + points_mm[:, 1] * vector[1] + points_mm[:, 2] * vector[2] + phase
            value += scale * np.cos(angle)
            slope -= (scale * np.sin(angle))[:, None] * vector
        return value, np.asarray(np.linalg.norm(slope, axis=1), dtype=np.float32)


def _measure_cone(
    place: Place, start: tuple[float, float, float, float], end: tuple[float, float, float, float]
) -> Field:
    axis = [after - before for before, after in zip(start[:3], end[:3], strict=True)]
    offset = (place.aside - start[0], place.back - start[1], place.up - start[2])
    along = sum(part * step for part, step in zip(offset, axis, strict=True)) / sum(step**2 for step in axis)
    share = np.clip(along, 0, 1)
    square = sum((part - share * step) ** 2 for part, step in zip(offset, axis, strict=True))
    radius = start[3] + share * (end[3] - start[3])
    return np.asarray(np.sqrt(square) - radius, dtype=np.float32)
