from itertools import permutations, product

import numpy as np
import pytest

from fusionnode.domain.grid import Grid
from fusionnode.slices.cut import cut_planes
from tests.support.datasets import AXIAL, CORONAL, OBLIQUE, SAGITTAL, Layout, Orientation


def _paint(grid: Grid) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A stack whose three channels say where in the patient a voxel lies: LPS mm from the centre of the grid."""
    indices = np.indices(grid.shape).reshape(3, -1).T.astype(np.float64)
    offsets = grid.points_mm(indices) - grid.centre_mm
    return offsets.reshape(*grid.shape, 3).astype(np.float32)


def _list_axis_grids() -> list[Grid]:
    grids = []
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        directions = np.zeros((3, 3))
        for array_axis, (patient_axis, sign) in enumerate(zip(order, signs, strict=True)):
            directions[patient_axis, array_axis] = sign
        grids.append(Grid.from_axes((7, 9, 11), np.zeros(3), directions, (2.0, 2.0, 2.0)))
    return grids


@pytest.mark.parametrize("grid", _list_axis_grids())
def test_pictures_face_the_radiologist_whatever_the_grid(grid: Grid) -> None:
    axial, coronal, sagittal = cut_planes(_paint(grid), grid)
    left, back, head = 0, 1, 2
    assert (np.diff(axial[..., left], axis=1) > 0).all()
    assert (np.diff(axial[..., back], axis=0) > 0).all()
    assert (np.diff(coronal[..., left], axis=1) > 0).all()
    assert (np.diff(coronal[..., head], axis=0) < 0).all()
    assert (np.diff(sagittal[..., back], axis=1) > 0).all()
    assert (np.diff(sagittal[..., head], axis=0) < 0).all()
    assert np.abs(axial[..., head]).max() == np.abs(coronal[..., back]).max() == np.abs(sagittal[..., left]).max() == 0


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL])
def test_pixels_are_square_and_of_one_size(orientation: Orientation) -> None:
    grid = Layout(10, 20, 30, (4.0, 2.0, 1.0), orientation=orientation).grid
    axial, coronal, sagittal = cut_planes(np.zeros(grid.shape, np.float32), grid)
    extents = np.abs(grid.directions) @ (np.asarray(grid.shape) * grid.spacing_mm)
    left, back, head = (round(value) for value in extents)
    assert (axial.shape, coronal.shape, sagittal.shape) == ((back, left), (head, left), (head, back))


def test_acquisition_plane_is_shown_pixel_for_pixel() -> None:
    grid = Layout(5, 8, 6, (3.0, 1.0, 1.0)).grid
    stack = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    np.testing.assert_array_equal(cut_planes(stack, grid)[0], stack[2])


def test_slices_stay_in_place_when_stretched() -> None:
    grid = Layout(5, 8, 6, (3.0, 1.0, 1.0)).grid
    stack = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    coronal = cut_planes(stack, grid)[1]
    np.testing.assert_allclose(coronal[1::3], stack[::-1, 4], atol=1e-6)


def test_colour_stays_colour() -> None:
    grid = Layout(5, 8, 6, (3.0, 1.0, 1.0)).grid
    stack = np.zeros((*grid.shape, 3), np.uint8)
    stack[..., 0], stack[..., 2] = 255, 7
    for picture in cut_planes(stack, grid):
        assert picture.dtype == np.uint8
        assert (picture == (255, 0, 7)).all()


def test_oblique_grid_is_named_after_the_nearest_axes() -> None:
    grid = Layout(5, 8, 6, (1.0, 1.0, 1.0), orientation=OBLIQUE).grid
    axial, coronal, sagittal = cut_planes(_paint(grid), grid)
    assert (np.diff(axial[..., 0], axis=1) > 0).all()
    assert (np.diff(coronal[..., 2], axis=0) < 0).all()
    assert (np.diff(sagittal[..., 1], axis=1) > 0).all()


def test_single_slice_is_still_a_picture() -> None:
    grid = Layout(1, 8, 6, (3.0, 1.0, 1.0)).grid
    shapes = [picture.shape for picture in cut_planes(np.ones(grid.shape, np.float32), grid)]
    assert shapes == [(8, 6), (3, 6), (3, 8)]


def test_wrong_shape_is_a_defect() -> None:
    with pytest.raises(ValueError, match="does not lie on"):
        cut_planes(np.zeros((2, 3, 4), np.float32), Layout().grid)


def test_planes_run_through_the_voxel_that_is_asked_for_however_the_grid_is_turned() -> None:
    for orientation in (AXIAL, CORONAL, SAGITTAL):
        layout = Layout(slices=9, rows=8, columns=7, spacing_mm=(1.0, 1.0, 1.0), orientation=orientation)
        for at in ((0, 0, 0), (8, 7, 6), (2, 5, 1)):
            stack = np.zeros(layout.shape, np.float32)
            stack[at] = 1
            assert [int(picture.sum()) for picture in cut_planes(stack, layout.grid, at)] == [1, 1, 1]
            other = (8 - at[0], 7 - at[1], 6 - at[2]) if at != (2, 5, 1) else (3, 4, 0)
            assert [int(picture.sum()) for picture in cut_planes(stack, layout.grid, other)] == [0, 0, 0]
