"""Brings the functional volume onto the MRI's grid (middle)."""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import math
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.registration.bridge import array_from_image, image_from_array, image_from_volume, transform_from_motion

_FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))
_FINER_BY = 1.25


@dataclass(frozen=True, eq=False)
class Resampled:
    """A moving volume in fixed space.

    Attributes:
        volume: on the fixed grid; 0 where nothing was measured; no sources, since no slice is a stored image any more.
        covered: bool [slice, row, column]: True where the moving grid has data.
    """

    volume: Volume
    covered: NDArray[np.bool_]


MAX_VOXELS = 1 << 26
"""Of a volume of cubes: 512 x 512 x 256. Where the finest spacing would need more, the cubes are larger."""


def reformat_isotropic(volume: Volume) -> Volume:
    """Return the volume on cubes of its finest spacing along its own axes, from its first voxel on.

    Interpolated as `resample_onto` does; the source of a slice is that of the nearest slice of ``volume``.
    """
    grid = find_cubes(volume.grid)
    cubes = resample_onto(volume, grid, RigidMotion.identity(), volume.frame_of_reference_uid).volume
    steps = np.arange(grid.shape[0]) * (grid.spacing_mm[0] / volume.grid.spacing_mm[0])
    sources = tuple(volume.sources[int(step)] for step in np.rint(steps).clip(max=volume.grid.shape[0] - 1))
    return replace(cubes, sources=sources, scale=volume.scale)


def find_cubes(grid: Grid) -> Grid:
    """Return a grid of cubes over the voxel centres of ``grid``, at most `MAX_VOXELS` of them."""
    extents = (np.asarray(grid.shape) - 1) * np.asarray(grid.spacing_mm)
    step = min(grid.spacing_mm)
    shape = _count_cubes(extents, step)
    while math.prod(shape) > MAX_VOXELS:
        step *= 1.01
        shape = _count_cubes(extents, step)
    return Grid.from_axes(shape, grid.origin_mm, grid.directions, (step, step, step))


def _count_cubes(extents_mm: NDArray[np.float64], step_mm: float) -> tuple[int, int, int]:
    slices, rows, columns = (int(count) + 1 for count in np.floor(extents_mm / step_mm + 1e-6))
    return slices, rows, columns


def resample_onto(moving: Volume, grid: Grid, motion: RigidMotion, frame_of_reference_uid: str) -> Resampled:
    """Interpolate ``moving`` linearly at the voxels of ``grid``, which lies in the fixed space.

    Linear, because it can neither undershoot below zero uptake nor overshoot above the highest. Where the moving voxels
    are finer than the fixed ones by more than a quarter, the volume is first blurred along that axis with a Gaussian
    whose full width at half maximum makes up the difference in quadrature, so that no detail between two slices is
    skipped.

    Args:
        moving: the volume to bring over.
        grid: of the fixed series.
        motion: from fixed to moving space.
        frame_of_reference_uid: the fixed series' space, in which the result lies.

    Returns:
        A volume on ``grid`` in the unit and under the series of ``moving``, 0 outside, and where it is covered. The
        moving grid reaches half a voxel beyond its outermost voxel centres.
    """
    still = transform_from_motion(motion, grid.centre_mm)
    frame = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    frame.CopyInformation(image_from_array(np.zeros(grid.shape, dtype=np.uint8), grid))
    image = _blur(image_from_volume(moving), _blurs_mm(moving.grid, grid, motion))
    inside = image_from_array(np.ones(moving.grid.shape, dtype=np.uint8), moving.grid)
    voxels = array_from_image(sitk.Resample(image, frame, still, sitk.sitkLinear, 0.0, sitk.sitkFloat32))
    covered = sitk.Resample(inside, frame, still, sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    volume = Volume(voxels, grid, moving.unit, frame_of_reference_uid, moving.series_instance_uid, notes=moving.notes)
    return Resampled(volume, sitk.GetArrayFromImage(covered).astype(bool))


def _blurs_mm(moving: Grid, fixed: Grid, motion: RigidMotion) -> tuple[float, ...]:
    """Standard deviations along the moving (slice, row, column) axes."""
    moving_from_fixed = moving.directions.T @ motion.moving_from_fixed[:3, :3] @ fixed.directions
    reach_mm = np.linalg.norm(moving_from_fixed * np.asarray(fixed.spacing_mm), axis=1)
    return tuple(
        math.sqrt(reach**2 - own**2) / _FWHM_PER_SIGMA if reach > _FINER_BY * own else 0.0
        for reach, own in zip(reach_mm.tolist(), moving.spacing_mm, strict=True)
    )


def _blur(image: sitk.Image, blurs_mm: tuple[float, ...]) -> sitk.Image:
    if not any(blurs_mm):
        return image
    return sitk.DiscreteGaussian(image, [blur_mm**2 for blur_mm in blurs_mm[::-1]], 64, 0.01, True)
