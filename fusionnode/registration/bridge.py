"""The only place where our volumes, grids and motions become SimpleITK's, and volumes and grids ours again (middle).

Arrays are [slice, row, column] on both sides, but SimpleITK orders indices, spacings and direction columns as (column,
row, slice), `Grid` the other way round. Points are LPS millimetres on both sides. ITK accepts improper (mirroring)
direction matrices, so left-handed grids pass unchanged.
"""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.volume import Volume, Voxels


def image_from_volume(volume: Volume) -> sitk.Image:
    """Return the volume as a float32 SimpleITK image; unit, sources and frame of reference are not carried."""
    return image_from_array(volume.voxels, volume.grid)


def image_from_array(array: NDArray[np.generic], grid: Grid) -> sitk.Image:
    """Return ``array`` [slice, row, column] of shape ``grid.shape`` as an image of the same pixel type.

    Raises:
        ValueError: the shapes differ: a defect of the caller.
    """
    if array.shape != grid.shape:
        raise ValueError(f"an array of shape {array.shape} does not fit a grid of shape {grid.shape}")
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetOrigin([float(v) for v in grid.origin_mm])
    image.SetSpacing(list(grid.spacing_mm[::-1]))
    image.SetDirection([float(v) for v in grid.directions[:, ::-1].ravel()])
    return image


def array_from_image(image: sitk.Image) -> Voxels:
    """Return the pixels as a float32 array [slice, row, column] that owns its memory."""
    return sitk.GetArrayFromImage(image).astype(np.float32, copy=False)


def grid_from_image(image: sitk.Image) -> Grid:
    """Return where the image's voxels lie in patient space."""
    columns, rows, slices = image.GetSize()
    spacing_columns, spacing_rows, spacing_slices = image.GetSpacing()
    directions = np.asarray(image.GetDirection(), dtype=np.float64).reshape(3, 3)[:, ::-1]
    origin_mm = np.asarray(image.GetOrigin(), dtype=np.float64)
    return Grid.from_axes(
        (slices, rows, columns), origin_mm, directions, (spacing_slices, spacing_rows, spacing_columns)
    )


def transform_from_motion(motion: RigidMotion, centre_mm: NDArray[np.float64]) -> sitk.Euler3DTransform:
    """Return the motion as a transform that turns about ``centre_mm`` (fixed space, LPS mm).

    SimpleITK's resampling and registration read a transform as moving-from-fixed, which is `RigidMotion`'s direction.
    """
    matrix = motion.moving_from_fixed
    rotation = _nearest_rotation(matrix[:3, :3])
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(v) for v in centre_mm])
    transform.SetMatrix([float(v) for v in rotation.ravel()])
    shift = matrix[:3, 3] + rotation @ centre_mm - centre_mm
    transform.SetTranslation([float(v) for v in shift])
    return transform


def _nearest_rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    # ITK refuses a matrix that is not orthogonal to 1e-10; RigidMotion allows the 1e-6 of DICOM's decimal strings.
    left, _, right = np.linalg.svd(matrix)
    rotation: NDArray[np.float64] = left @ right
    return rotation
