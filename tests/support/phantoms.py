"""A synthetic head as MRI and as uptake, written as a function of the point, so that any motion of it is exact."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume

MR_BLUR_MM = 1.0
UPTAKE_BLUR_MM = 2.5

AXIAL = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
"""Directions (columns: slice, row, column): slices upwards, rows to the back, columns to the left."""
CORONAL = np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]])
"""Slices to the back, rows downwards, columns to the left."""


@dataclass(frozen=True)
class _Part:
    """An ellipsoid, painted over those before it."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    mr: float
    uptake: float
    folds: float = 0.0


_HEAD = (
    _Part((0, 0, 0), (75, 95, 82), 1000, 0.05),
    _Part((0, 0, 0), (70, 90, 77), 80, 0.04),
    _Part((0, 2, 1), (66, 85, 72), 250, 0.08),
    _Part((0, 2, 1), (63, 82, 69), 600, 1.0, folds=0.03),
    _Part((0, 0, 2), (51, 68, 55), 900, 0.4, folds=0.09),
    _Part((16, -12, 2), (9, 15, 9), 680, 1.1),
    _Part((-16, -12, 2), (9, 15, 9), 680, 1.1),
    _Part((9, 8, 14), (5, 24, 8), 200, 0.08),
    _Part((-9, 8, 14), (5, 24, 8), 200, 0.08),
    _Part((0, 48, -44), (36, 22, 16), 640, 0.9),
    _Part((34, -32, 24), (10, 12, 9), 450, 1.4),
)
_BODY = (
    _Part((0, 25, -110), (45, 50, 60), 500, 0.25),
    _Part((0, 25, -290), (190, 110, 150), 600, 0.3),
    _Part((0, 0, -380), (30, 30, 30), 300, 6.0),
)


def make_grid(
    shape: tuple[int, int, int] = (60, 64, 64),
    spacing_mm: tuple[float, float, float] = (3.0, 3.5, 3.5),
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    directions: NDArray[np.float64] = AXIAL,
) -> Grid:
    """A grid whose centre lies at ``centre_mm`` (LPS)."""
    half_mm = (np.asarray(shape) - 1) / 2 * np.asarray(spacing_mm)
    return Grid.from_axes(shape, np.asarray(centre_mm) - directions @ half_mm, directions, spacing_mm)


def make_motion(
    turns_deg: tuple[float, float, float] = (4.0, -6.0, 8.0),
    shift_mm: tuple[float, float, float] = (7.0, -5.0, 9.0),
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> RigidMotion:
    """Turn about the patient's axes through ``centre_mm``, one after the other, then shift."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(turns_deg)):
        turn = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn[[first, second], [first, second]] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        rotation = turn @ rotation
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.asarray(centre_mm) - rotation @ np.asarray(centre_mm) + np.asarray(shift_mm)
    return RigidMotion(matrix)


def make_mr(grid: Grid, noise: float = 10.0) -> Volume:
    """T1-like: white matter brighter than grey, dark fluid, bright scalp."""
    return _make_volume(grid, RigidMotion.identity(), _HEAD, uptake=False, noise=noise)


def make_uptake(grid: Grid, motion: RigidMotion | None = None, noise: float = 0.03, body: bool = False) -> Volume:
    """FDG-like: grey matter brighter than white, blurred by 6 mm; the head lies where ``motion`` carried it."""
    parts = _BODY + _HEAD if body else _HEAD
    return _make_volume(grid, motion or RigidMotion.identity(), parts, uptake=True, noise=noise)


def measure_error_mm(estimate: RigidMotion, truth: RigidMotion, centre_mm: NDArray[np.float64]) -> float:
    """Mean distance between where both motions carry the points of a head-sized block, in mm."""
    steps = np.linspace(-70, 70, 5)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) + centre_mm
    both = [points @ m.moving_from_fixed[:3, :3].T + m.moving_from_fixed[:3, 3] for m in (estimate, truth)]
    return float(np.linalg.norm(both[0] - both[1], axis=1).mean())


def _make_volume(grid: Grid, motion: RigidMotion, parts: tuple[_Part, ...], *, uptake: bool, noise: float) -> Volume:
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    still = motion.fixed_from_moving
    points = grid.points_mm(indices.astype(np.float64)) @ still[:3, :3].T + still[:3, 3]
    values = np.zeros(len(points))
    for part in parts:
        share = _fill(part, points, UPTAKE_BLUR_MM if uptake else MR_BLUR_MM)
        values += share * ((part.uptake if uptake else part.mr) - values)
    values += np.random.default_rng(int(uptake)).normal(0, noise, values.shape)
    voxels = np.maximum(values, 0).reshape(grid.shape).astype(np.float32)
    frame, series = ("1.2.3.2", "1.2.3.20") if uptake else ("1.2.3.1", "1.2.3.10")
    return Volume(voxels, grid, Unit.BQML if uptake else Unit.ARBITRARY, frame, series)


def _fill(part: _Part, points_mm: NDArray[np.float64], blur_mm: float) -> NDArray[np.float64]:
    """Share of each point that belongs to the part, 0 to 1, with an edge as soft as the blur."""
    offset = points_mm - np.asarray(part.centre_mm)
    radius = np.linalg.norm(offset / np.asarray(part.radii_mm), axis=1)
    folds = part.folds * np.prod(np.sin(points_mm / 9.0 + np.array([0.3, 1.1, 2.0])), axis=1)
    depth_mm = (1 + folds - radius) * min(part.radii_mm)
    filled: NDArray[np.float64] = 1 / (1 + np.exp(np.clip(-1.7 * depth_mm / blur_mm, -60, 60)))
    return filled
