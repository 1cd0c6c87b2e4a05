"""Finds the rigid motion between two scans of one head by mutual information (middle).

Mutual information is climbed from several starts, coarse to fine. The points that are compared, and the order in which
they are summed, are fixed by the preset: the same input gives the same bits.
"""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.errors import RegistrationImplausible
from fusionnode.registration.ascent import Stride, climb
from fusionnode.registration.bridge import array_from_image, grid_from_image
from fusionnode.registration.foreground import Head, find_foreground_points_mm, find_head, reduce_image
from fusionnode.registration.information import Comparison, look_up, turn_and_shift
from fusionnode.registration.presets import Level, Preset

_LEAST_START_OVERLAP = 0.1
_EVERY = 16


@dataclass(frozen=True, eq=False)
class _Stage:
    """Both heads at the resolution of one level, ready to be compared."""

    level: Level
    comparison: Comparison


@dataclass(frozen=True, eq=False)
class _Route:
    """From which start a motion was reached, how good it is, and in how many steps."""

    start: RigidMotion
    motion: RigidMotion
    score: float
    steps: int


def estimate_motion(fixed: Volume, moving: Volume, preset: Preset) -> MotionEstimate:
    """Estimate the rigid motion that carries the fixed head onto the moving one.

    ``centre_distance_mm`` of the result is the distance between the two heads' centres once the motion is applied, not
    a shift in scanner coordinates: the origins of two frames of reference are arbitrary, so half a metre between them
    may be no motion at all.

    Returns:
        The motion and its figures, unjudged; the same bits for the same input.

    Raises:
        RegistrationImplausible: one of the volumes shows no head, or no start brings the two heads together.
    """
    fixed_head = find_head(fixed, preset.head_height_mm)
    moving_head = find_head(moving, preset.head_height_mm)
    stages = _build_stages(fixed_head, moving_head, preset)
    routes = _rank_starts(_list_starts(fixed_head, moving_head, preset), stages[0])
    for stage, width in zip(stages, preset.finalists, strict=True):
        routes = _climb_all(routes[:width], stage, preset)
    best = routes[0]
    judge = stages[min(1, len(stages) - 1)].comparison
    return MotionEstimate(
        motion=best.motion,
        method=MotionMethod.REGISTERED,
        preset=preset.name,
        centre_distance_mm=float(np.linalg.norm(_map(best.motion, fixed_head.centre_mm) - moving_head.centre_mm)),
        overlap=_share_inside(fixed_head.points_mm, best.motion, moving.grid),
        information=judge.measure(best.motion).information,
        information_at_start=judge.measure(best.start).information,
        iterations=best.steps,
    )


def trust_shared_frame(fixed: Volume, moving: Volume) -> MotionEstimate:
    """Take two volumes of one frame of reference as aligned; nothing is registered, only the overlap is measured."""
    still = RigidMotion.identity()
    overlap = _share_inside(find_foreground_points_mm(fixed), still, moving.grid)
    return MotionEstimate(still, MotionMethod.SHARED_FRAME, preset="", centre_distance_mm=math.nan, overlap=overlap)


def _build_stages(fixed_head: Head, moving_head: Head, preset: Preset) -> list[_Stage]:
    """One stage per level, coarse to fine; each is made from the next finer one, because wide blurs are cheap there."""
    stages: list[_Stage] = []
    fixed, moving, fixed_blur_mm, moving_blur_mm = fixed_head.image, moving_head.image, 0.0, 0.0
    for level in reversed(preset.levels):
        fixed = reduce_image(fixed, level.spacing_mm, _missing_blur_mm(level.fixed_blur_mm, fixed_blur_mm))
        moving = reduce_image(moving, level.spacing_mm, _missing_blur_mm(level.moving_blur_mm, moving_blur_mm))
        fixed_blur_mm, moving_blur_mm = level.fixed_blur_mm, level.moving_blur_mm
        points_mm = _scatter_points_mm(_widen(fixed_head.mask, level.mask_margin_mm), fixed, level, preset.seed)
        values = look_up(array_from_image(fixed), grid_from_image(fixed), points_mm)
        comparison = Comparison.build(points_mm, values, array_from_image(moving), grid_from_image(moving), level.bins)
        stages.insert(0, _Stage(level, comparison))
    return stages


def _missing_blur_mm(wanted_mm: float, present_mm: float) -> float:
    return math.sqrt(max(0.0, wanted_mm**2 - present_mm**2))


def _widen(mask: sitk.Image, margin_mm: float) -> sitk.Image:
    margin = [round(margin_mm / spacing_mm) for spacing_mm in mask.GetSpacing()]
    return sitk.BinaryDilate(sitk.ConstantPad(mask, margin, margin, 0), margin) if any(margin) else mask


def _scatter_points_mm(mask: sitk.Image, image: sitk.Image, level: Level, seed: int) -> NDArray[np.float64]:
    """One point somewhere in each cell of a lattice over the mask, where the image has data; (n, 3), LPS mm.

    Points on the voxels themselves would draw the answer towards motions that bring two grids to coincide (Pluim,
    Comput. Vis. Image Underst. 77, 2000).
    """
    grid, array = grid_from_image(mask), sitk.GetArrayViewFromImage(mask) > 0
    inside_mm = grid.points_mm(np.argwhere(array).astype(np.float64))
    low_mm, high_mm = inside_mm.min(axis=0) - level.step_mm, inside_mm.max(axis=0) + level.step_mm
    counts = np.ceil((high_mm - low_mm) / level.step_mm).astype(int)
    cells = np.stack(np.unravel_index(np.arange(counts.prod()), counts), axis=1)
    points_mm: NDArray[np.float64] = low_mm + (cells + np.random.default_rng(seed).random(cells.shape)) * level.step_mm
    nearest, known = _find_voxels(points_mm, grid)
    points_mm = points_mm[known][array[tuple(nearest[known].T)]]
    return np.asarray(points_mm[_find_voxels(points_mm, grid_from_image(image))[1]])


def _find_voxels(points_mm: NDArray[np.float64], grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The voxel (slice, row, column) each point (n, 3) falls into, and whether there is one."""
    index_from_patient = np.linalg.inv(grid.patient_from_index)
    nearest = np.rint(points_mm @ index_from_patient[:3, :3].T + index_from_patient[:3, 3]).astype(np.int64)
    return nearest, np.asarray(((nearest >= 0) & (nearest < grid.shape)).all(axis=1))


def _list_starts(fixed_head: Head, moving_head: Head, preset: Preset) -> list[RigidMotion]:
    """Every alignment of centres, vertices, images and scanners, upright and turned; the likeliest first."""
    shifts_mm = [moving_head.centre_mm - fixed_head.centre_mm]
    shifts_mm += [shifts_mm[0] + np.array([0.0, 0.0, up_mm]) for up_mm in preset.start_shifts_mm]
    shifts_mm.append(moving_head.vertex_mm - fixed_head.vertex_mm)
    shifts_mm.append(grid_from_image(moving_head.image).centre_mm - grid_from_image(fixed_head.image).centre_mm)
    shifts_mm.append(np.zeros(3))
    turns = [np.zeros(3)] + [math.radians(deg) * axis for axis in np.eye(3) for deg in preset.start_turns_deg]
    return [
        turn_and_shift(RigidMotion.identity(), np.concatenate([turn, shift_mm]), fixed_head.centre_mm)
        for shift_mm, turn in itertools.product(shifts_mm, turns)
    ]


def _rank_starts(starts: list[RigidMotion], stage: _Stage) -> list[_Route]:
    """Compare all starts where they are, the best first; those that show too little of the head are left out."""
    routes = [_Route(start, start, _score(start, stage.comparison), 0) for start in starts]
    routes = sorted((route for route in routes if route.score > 0), key=lambda route: -route.score)
    if not routes:
        raise RegistrationImplausible(
            "The two heads cannot be brought together from any start.",
            remedy="Check that both series show the head and that the functional series is not cut off.",
            starts=len(starts),
        )
    return routes


def _climb_all(routes: list[_Route], stage: _Stage, preset: Preset) -> list[_Route]:
    """Climb on from each; the highest first. Of those that met on one summit only that, with the likeliest start."""
    reached = []
    for route in routes:
        summit = climb(stage.comparison, route.motion, _stride(stage.level, preset))
        score = _score(summit.motion, stage.comparison)
        reached.append(_Route(route.start, summit.motion, score, route.steps + summit.steps))
    distinct: list[_Route] = []
    for route in sorted(reached, key=lambda one: -one.score):
        if all(_are_apart(route.motion, other.motion, stage) for other in distinct):
            first = next(one for one in reached if not _are_apart(one.motion, route.motion, stage))
            distinct.append(replace(route, start=first.start))
    return distinct


def _are_apart(one: RigidMotion, other: RigidMotion, stage: _Stage) -> bool:
    """Whether two motions carry the compared points to places further apart than the level's voxels, on average."""
    points_mm = np.stack(stage.comparison.points_mm, axis=1)[::_EVERY]
    return float(np.linalg.norm(_map(one, points_mm) - _map(other, points_mm), axis=1).mean()) > stage.level.spacing_mm


def _score(motion: RigidMotion, comparison: Comparison) -> float:
    """Mutual information, weighted by overlap: a few points seen through a corner can agree by chance."""
    agreement = comparison.measure(motion)
    return agreement.information * agreement.share_inside if agreement.share_inside >= _LEAST_START_OVERLAP else 0.0


def _stride(level: Level, preset: Preset) -> Stride:
    return Stride(level.first_step_mm, level.last_step_mm, preset.radius_mm, preset.max_iterations)


def _map(motion: RigidMotion, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = motion.moving_from_fixed
    mapped: NDArray[np.float64] = points_mm @ matrix[:3, :3].T + matrix[:3, 3]
    return mapped


def _share_inside(points_mm: NDArray[np.float64], motion: RigidMotion, grid: Grid) -> float:
    """Share of the points (n, 3) of fixed space that fall within the moving grid, its voxels' outer halves included."""
    return float(_find_voxels(_map(motion, points_mm), grid)[1].mean()) if len(points_mm) else 0.0
