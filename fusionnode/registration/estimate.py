"""Finds the rigid motion between two scans of one head by mutual information (middle).

Mattes' mutual information (IEEE Trans. Med. Imaging 22, 2003) is climbed from several starts, coarse to fine.
One thread is used on purpose: sums of floats depend on how they are split, and the same input must give the same bits
on every host.
"""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.errors import RegistrationImplausible
from fusionnode.registration.bridge import grid_from_image, motion_from_transform, transform_from_motion
from fusionnode.registration.foreground import Head, find_foreground_points_mm, find_head, reduce_image
from fusionnode.registration.presets import Level, Preset

_LEAST_START_OVERLAP = 0.1
_EVERY = 8


@dataclass(frozen=True, eq=False)
class _Stage:
    """Both heads at the resolution of one level, ready to be compared."""

    level: Level
    fixed: sitk.Image
    moving: sitk.Image
    mask: sitk.Image


@dataclass(frozen=True, eq=False)
class _Climb:
    """Where the optimiser came to rest."""

    motion: RigidMotion
    information: float
    iterations: int


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
    start, climb = _choose_start(_list_starts(fixed_head, moving_head, preset), stages[0], fixed_head, preset)
    iterations = climb.iterations
    for stage in stages[1:]:
        climb = _climb(climb.motion, stage, fixed_head, preset)
        iterations += climb.iterations
    judge = stages[min(1, len(stages) - 1)]
    return MotionEstimate(
        motion=climb.motion,
        method=MotionMethod.REGISTERED,
        preset=preset.name,
        centre_distance_mm=float(np.linalg.norm(_map(climb.motion, fixed_head.centre_mm) - moving_head.centre_mm)),
        overlap=_share_inside(fixed_head.points_mm, climb.motion, moving.grid),
        information=_measure(climb.motion, judge, fixed_head, preset),
        information_at_start=_measure(start, judge, fixed_head, preset),
        iterations=iterations,
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
        stages.insert(0, _Stage(level, fixed, moving, _widen(fixed_head.mask, level.mask_margin_mm)))
    return stages


def _missing_blur_mm(wanted_mm: float, present_mm: float) -> float:
    return math.sqrt(max(0.0, wanted_mm**2 - present_mm**2))


def _widen(mask: sitk.Image, margin_mm: float) -> sitk.Image:
    margin = [round(margin_mm / spacing_mm) for spacing_mm in mask.GetSpacing()]
    return sitk.BinaryDilate(mask, margin) if any(margin) else mask


def _list_starts(fixed_head: Head, moving_head: Head, preset: Preset) -> list[RigidMotion]:
    """Every alignment of centres, vertices, images and scanners, upright and turned; the likeliest first."""
    shifts_mm = [moving_head.centre_mm - fixed_head.centre_mm]
    shifts_mm += [shifts_mm[0] + np.array([0.0, 0.0, up_mm]) for up_mm in preset.start_shifts_mm]
    shifts_mm.append(moving_head.vertex_mm - fixed_head.vertex_mm)
    shifts_mm.append(grid_from_image(moving_head.image).centre_mm - grid_from_image(fixed_head.image).centre_mm)
    shifts_mm.append(np.zeros(3))
    turns_deg = [np.zeros(3)] + [deg * axis for axis in np.eye(3) for deg in preset.start_turns_deg]
    return [
        _motion_about(fixed_head.centre_mm, turn_deg, shift_mm)
        for shift_mm, turn_deg in itertools.product(shifts_mm, turns_deg)
    ]


def _motion_about(
    centre_mm: NDArray[np.float64], turn_deg: NDArray[np.float64], shift_mm: NDArray[np.float64]
) -> RigidMotion:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre_mm.tolist())
    transform.SetRotation(*np.deg2rad(turn_deg).tolist())
    transform.SetTranslation(shift_mm.tolist())
    return motion_from_transform(transform)


def _choose_start(starts: list[RigidMotion], stage: _Stage, head: Head, preset: Preset) -> tuple[RigidMotion, _Climb]:
    """Compare all starts where they are, climb from the best few, and keep the one that got highest."""
    scores = [_score(start, stage, head, preset) for start in starts]
    order = sorted(range(len(starts)), key=lambda index: -scores[index])
    finalists = [starts[index] for index in order[: preset.finalists] if scores[index] > 0]
    if not finalists:
        raise RegistrationImplausible(
            "The two heads cannot be brought together from any start.",
            remedy="Check that both series show the head and that the functional series is not cut off.",
            starts=len(starts),
        )
    climbs = [(start, _climb(start, stage, head, preset)) for start in finalists]
    return max(climbs, key=lambda pair: _score(pair[1].motion, stage, head, preset))


def _score(motion: RigidMotion, stage: _Stage, head: Head, preset: Preset) -> float:
    """Mutual information, weighted by overlap: a few points seen through a corner can agree by chance."""
    overlap = _share_inside(head.points_mm[::_EVERY], motion, grid_from_image(stage.moving))
    if overlap < _LEAST_START_OVERLAP:
        return 0.0
    return overlap * _measure(motion, stage, head, preset)


def _measure(motion: RigidMotion, stage: _Stage, head: Head, preset: Preset) -> float:
    """Mutual information in nats over every point of the region."""
    method = _build_method(stage, preset)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInitialTransform(transform_from_motion(motion, head.centre_mm), True)
    return -float(method.MetricEvaluate(stage.fixed, stage.moving))


def _climb(motion: RigidMotion, stage: _Stage, head: Head, preset: Preset) -> _Climb:
    transform = transform_from_motion(motion, head.centre_mm)
    method = _build_method(stage, preset)
    level = stage.level
    method.SetOptimizerAsRegularStepGradientDescent(
        level.first_step_mm,
        level.last_step_mm,
        preset.max_iterations,
        relaxationFactor=0.7,
        gradientMagnitudeTolerance=1e-8,
    )
    method.SetOptimizerScales([preset.radius_mm**2] * 3 + [1.0] * 3)
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(stage.fixed, stage.moving)
    except (
        RuntimeError
    ) as error:  # ITK's only word for "no point of the fixed head falls into the moving volume any more"
        raise RegistrationImplausible(
            "The optimiser lost the moving series out of sight.",
            remedy="Check that both series show the head and that the functional series is not cut off.",
            level_mm=level.spacing_mm,
        ) from error
    return _Climb(
        motion_from_transform(transform), -float(method.GetMetricValue()), int(method.GetOptimizerIteration())
    )


def _build_method(stage: _Stage, preset: Preset) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(preset.bins)
    method.SetMetricFixedMask(stage.mask)
    method.SetInterpolator(sitk.sitkLinear)
    if stage.level.samples < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(stage.level.samples, preset.seed)
    return method


def _map(motion: RigidMotion, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = motion.moving_from_fixed
    mapped: NDArray[np.float64] = points_mm @ matrix[:3, :3].T + matrix[:3, 3]
    return mapped


def _share_inside(points_mm: NDArray[np.float64], motion: RigidMotion, grid: Grid) -> float:
    """Share of the points (n, 3) of fixed space that fall within the moving grid, its voxels' outer halves included."""
    if not len(points_mm):
        return 0.0
    index_from_patient = np.linalg.inv(grid.patient_from_index)
    indices = _map(motion, points_mm) @ index_from_patient[:3, :3].T + index_from_patient[:3, 3]
    inside = (indices >= -0.5) & (indices <= np.asarray(grid.shape) - 0.5)
    return float(inside.all(axis=1).mean())
