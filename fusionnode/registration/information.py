"""Mutual information of two volumes over a set of points, and how it changes with a rigid motion (middle).

The estimator is Mattes' (IEEE Trans. Med. Imaging 22, 2003): the fixed value falls into one bin, the moving value is
spread over four by a cubic B-spline, so that the derivative is exact. Every sum is taken in the order of the points, on
one thread: the same input gives the same bits.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.volume import Voxels

_PADDING = 2
_TINY = 1e-30

Components = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Three coordinates of n points, each (n,): numpy is several times faster on these than on (n, 3)."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """How well two volumes agree under one motion.

    Attributes:
        information: mutual information, nats; 0 where too few points are seen.
        share_inside: of the points that fall into the moving grid, 0 to 1.
        slope: (6,): change of the information per radian of a further turn about the patient's axes through the moved
            centre, then per mm of a further shift.
    """

    information: float
    share_inside: float
    slope: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Points of the fixed volume with their values, and the moving volume they are compared with.

    Attributes:
        points_mm: coordinates in fixed space, LPS.
        centre_mm: (3,), fixed space: further turns are about where a motion carries it.
        fixed_bins: int32 (n,), row of the joint histogram.
        moving: float32 [slice, row, column], in fractions of bins.
        grid: of ``moving``.
        bins: of either axis of the joint histogram.
    """

    points_mm: Components
    centre_mm: NDArray[np.float64]
    fixed_bins: NDArray[np.int32]
    moving: Voxels
    grid: Grid
    bins: int

    @classmethod
    def build(
        cls,
        points_mm: NDArray[np.float64],
        fixed_values: NDArray[np.float32],
        moving: Voxels,
        grid: Grid,
        bins: int,
    ) -> Self:
        """Prepare the comparison of ``fixed_values`` (n,) at ``points_mm`` (n, 3) with ``moving`` on ``grid``."""
        x, y, z = np.ascontiguousarray(points_mm.T)
        rows = _place(fixed_values, bins).astype(np.int32)
        return cls((x, y, z), points_mm.mean(axis=0), rows, _place(moving, bins), grid, bins)

    def measure(self, motion: RigidMotion) -> Agreement:
        """Compare the volumes under ``motion``."""
        matrix = np.linalg.inv(self.grid.patient_from_index) @ motion.moving_from_fixed
        indices = [_apply_row(matrix[axis], self.points_mm) for axis in range(3)]
        inside = np.flatnonzero(_find_inside(indices, self.moving.shape))
        share = len(inside) / len(self.fixed_bins)
        if share == 0:
            return Agreement(0.0, 0.0, np.zeros(6))
        values, slopes = _interpolate(self.moving, [index[inside] for index in indices])
        information, per_value = _inform(self.fixed_bins[inside], values, self.bins)
        return Agreement(information, share, self._chain(motion, inside, [per_value * slope for slope in slopes]))

    def _chain(
        self, motion: RigidMotion, inside: NDArray[np.intp], per_index: list[NDArray[np.float32]]
    ) -> NDArray[np.float64]:
        """From the change per moving index to the change per turn and shift in moving space."""
        matrix, index_from_patient = motion.moving_from_fixed, np.linalg.inv(self.grid.patient_from_index)
        pull = [sum(per_index[row] * index_from_patient[row, axis] for row in range(3)) for axis in range(3)]
        x, y, z = (
            _apply_row(np.array([*matrix[axis, :3], -matrix[axis, :3] @ self.centre_mm]), self.points_mm)[inside]
            for axis in range(3)
        )
        turns = (y * pull[2] - z * pull[1], z * pull[0] - x * pull[2], x * pull[1] - y * pull[0])
        return np.array([float(np.sum(one, dtype=np.float64)) for one in (*turns, *pull)])


def look_up(volume: Voxels, grid: Grid, points_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Trilinear values (n,) of ``volume`` on ``grid`` at ``points_mm`` (n, 3), LPS; outside, those of the border."""
    index_from_patient = np.linalg.inv(grid.patient_from_index)
    x, y, z = np.ascontiguousarray(points_mm.T)
    return _interpolate(volume, [_apply_row(index_from_patient[axis], (x, y, z)) for axis in range(3)])[0]


def look_up_slopes(
    volume: Voxels, grid: Grid, points_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The same values (n,), and how they change per mm towards left, back and head, (n, 3)."""
    index_from_patient = np.linalg.inv(grid.patient_from_index)
    x, y, z = np.ascontiguousarray(points_mm.T)
    values, slopes = _interpolate(volume, [_apply_row(index_from_patient[axis], (x, y, z)) for axis in range(3)])
    return values, np.stack(slopes, axis=1) @ index_from_patient[:3, :3]


def _place(values: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Intensities as fractions of bins; two bins at either end are left for the spline."""
    low, high = float(values.min()), float(values.max())
    placed = (values - np.float32(low)) * np.float32((bins - 2 * _PADDING) / max(high - low, _TINY))
    ends = np.float32(_PADDING), np.float32(bins - _PADDING - 1e-3)
    return np.asarray(np.clip(placed + ends[0], *ends), dtype=np.float32)


def _apply_row(row: NDArray[np.float64], points: Components) -> NDArray[np.float64]:
    result: NDArray[np.float64] = points[0] * row[0] + points[1] * row[1] + points[2] * row[2] + row[3]
    return result


def _find_inside(indices: list[NDArray[np.float64]], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.ones(len(indices[0]), dtype=np.bool_)
    for index, count in zip(indices, shape, strict=True):
        inside &= (index >= -0.5) & (index <= count - 0.5)
    return inside


def _interpolate(
    volume: Voxels, indices: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Trilinear values at the indices, and their slopes along (slice, row, column) per index."""
    lower, parts = [], []
    for index, count in zip(indices, volume.shape, strict=True):
        at = np.clip(index, 0, count - 1)
        below = np.minimum(at.astype(np.int64), max(count - 2, 0))
        lower.append(below)
        parts.append((at - below).astype(np.float32))
    strides = [volume.shape[1] * volume.shape[2], volume.shape[2], 1]
    steps = [stride if count > 1 else 0 for stride, count in zip(strides, volume.shape, strict=True)]
    first = lower[0] * strides[0] + lower[1] * strides[1] + lower[2]
    return _blend(volume.ravel(), first, steps, parts)


def _blend(
    flat: NDArray[np.float32], first: NDArray[np.int64], steps: list[int], parts: list[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Blend eight corners, column by column, then row by row, then slice by slice."""
    upper, right, far = steps
    edges, edge_slopes = [], []
    for corner in (0, right, upper, upper + right):
        near = flat.take(first + corner)
        slope = flat.take(first + (corner + far)) - near
        edges.append(near + parts[2] * slope)
        edge_slopes.append(slope)
    rises = (edges[1] - edges[0], edges[3] - edges[2])
    faces = (edges[0] + parts[1] * rises[0], edges[2] + parts[1] * rises[1])
    columns = [edge_slopes[n] + parts[1] * (edge_slopes[n + 1] - edge_slopes[n]) for n in (0, 2)]
    climb = faces[1] - faces[0]
    rows = rises[0] + parts[0] * (rises[1] - rises[0])
    return faces[0] + parts[0] * climb, [climb, rows, columns[0] + parts[0] * (columns[1] - columns[0])]


def _inform(rows: NDArray[np.int32], values: NDArray[np.float32], bins: int) -> tuple[float, NDArray[np.float32]]:
    """Information in nats of the pairs (row, value), and its change with each value."""
    column = values.astype(np.int32)
    weights, slopes = _spread(values - column)
    first = rows * bins + column - 1
    joint = sum(np.bincount(first + k, weights[k], bins * bins) for k in range(4)) / len(rows)
    joint = np.asarray(joint).reshape(bins, bins)
    expected = joint.sum(axis=1)[:, None] * joint.sum(axis=0)[None, :]
    information = float((joint * np.log(np.maximum(joint, _TINY) / np.maximum(expected, _TINY))).sum())
    surprise = np.log(np.maximum(joint, _TINY) / np.maximum(joint.sum(axis=0), _TINY)).astype(np.float32).ravel()
    per_value = sum(slopes[k] * surprise.take(first + k) for k in range(4)) / np.float32(len(rows))
    return information, np.asarray(per_value)


def _spread(part: NDArray[np.float32]) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Weights of the bins before, at, after and two after a value ``part`` of the way to the next, and their slopes."""
    rest, sixth = 1 - part, np.float32(1 / 6)
    square, rest_square = part * part, rest * rest
    weights = [
        rest_square * rest * sixth,
        (4 - 6 * square + 3 * square * part) * sixth,
        (4 - 6 * rest_square + 3 * rest_square * rest) * sixth,
        square * part * sixth,
    ]
    half = np.float32(0.5)
    slopes = [-rest_square * half, (3 * square - 4 * part) * half, (4 * rest - 3 * rest_square) * half, square * half]
    return weights, slopes


def turn_and_shift(motion: RigidMotion, step: NDArray[np.float64], centre_mm: NDArray[np.float64]) -> RigidMotion:
    """Return ``motion``, followed by a turn (rotation vector, rad) about the moved ``centre_mm`` and a shift (mm).

    ``step`` is (6,), in the order of `Agreement.slope`.
    """
    before = motion.moving_from_fixed
    angle = float(np.linalg.norm(step[:3]))
    axis = step[:3] / max(angle, _TINY)
    cross = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    rotation = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    moved_mm = before[:3, :3] @ centre_mm + before[:3, 3]
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ before[:3, :3]
    matrix[:3, 3] = moved_mm + step[3:] - matrix[:3, :3] @ centre_mm
    return RigidMotion(matrix)
