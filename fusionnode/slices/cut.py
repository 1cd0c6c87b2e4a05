"""Cuts three orthogonal pictures through the middle of a stack, turned as radiologists look at them (middle)."""

from itertools import permutations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid

Picture = TypeVar("Picture", np.float32, np.float64, np.uint8)


def cut_planes(
    stack: NDArray[Picture], grid: Grid, at: tuple[int, int, int] | None = None
) -> tuple[NDArray[Picture], NDArray[Picture], NDArray[Picture]]:
    """Return the axial, coronal and sagittal picture of a stack through its middle, with square pixels of one size.

    Axial: anterior up, patient's left on the right. Coronal: head up, patient's left on the right. Sagittal:
    head up, anterior on the left. An oblique grid is shown along its own axes, each named after the nearest
    patient axis; nothing is rotated.

    Args:
        stack: [slice, row, column] or [slice, row, column, 3], shape as ``grid.shape``.
        grid: where the stack lies, LPS mm.
        at: the voxel [slice, row, column] that the three planes run through, instead of the middle.

    Returns:
        Three pictures, [row, column] or [row, column, 3], dtype of ``stack``; the pixel size is the smallest
        spacing of the grid.

    Raises:
        ValueError: the stack does not have the shape of the grid: a defect of the caller.
    """
    if stack.shape[:3] != grid.shape:
        raise ValueError(f"a stack of shape {stack.shape} does not lie on a grid of shape {grid.shape}")
    order, backwards = _find_turn(grid)
    upright = np.flip(stack.transpose(*order, *range(3, stack.ndim)), backwards)
    spacing_mm = [grid.spacing_mm[axis] for axis in order]
    middle = [extent // 2 for extent in upright.shape[:3]]
    if at is not None:
        places = [at[axis] for axis in order]
        middle = [upright.shape[i] - 1 - place if i in backwards else place for i, place in enumerate(places)]
    pixel_mm = min(spacing_mm)
    head, back, left = (spacing / pixel_mm for spacing in spacing_mm)
    axial = _stretch(upright[middle[0]], (back, left))
    coronal = _stretch(upright[::-1, middle[1]], (head, left))
    sagittal = _stretch(upright[::-1, :, middle[2]], (head, back))
    return axial, coronal, sagittal


def _find_turn(grid: Grid) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes in order of (towards head, towards back, towards left), and which of those to flip then."""
    directions = grid.directions[::-1]
    order = max(permutations(range(3)), key=lambda axes: sum(abs(directions[i, axis]) for i, axis in enumerate(axes)))
    return order, tuple(i for i, axis in enumerate(order) if directions[i, axis] < 0)


def _stretch(picture: NDArray[Picture], factors: tuple[float, float]) -> NDArray[Picture]:
    """Resample rows and columns linearly by ``factors`` >= 1, pixel centres on pixel centres."""
    stretched = picture.astype(np.float64)
    for axis, factor in enumerate(factors):
        stretched = _stretch_axis(stretched, axis, factor)
    if np.issubdtype(picture.dtype, np.integer):
        stretched = np.rint(stretched)
    return stretched.astype(picture.dtype)


def _stretch_axis(picture: NDArray[np.float64], axis: int, factor: float) -> NDArray[np.float64]:
    extent = picture.shape[axis]
    wanted = max(1, round(extent * factor))
    places = np.clip((np.arange(wanted) + 0.5) / (wanted / extent) - 0.5, 0, extent - 1)
    lower = np.floor(places).astype(np.intp)
    upper = np.minimum(lower + 1, extent - 1)
    share = (places - lower).reshape([-1 if i == axis else 1 for i in range(picture.ndim)])
    blended: NDArray[np.float64] = np.take(picture, lower, axis) * (1 - share) + np.take(picture, upper, axis) * share
    return blended
