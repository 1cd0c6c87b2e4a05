"""Laws of the grid: what is put in comes out, and the orientation follows the Standard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fusionnode.domain.grid import Grid

angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(*[st.floats(0.2, 10)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3).map(np.array)
shapes = st.tuples(*[st.integers(1, 300)] * 3)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    axes = Rotation.from_euler("xyz", draw(angles), degrees=True).as_matrix()
    return Grid.from_axes(draw(shapes), draw(origins), axes, draw(spacings))


@given(grid=grids(), data=st.data())
def test_indices_survive_the_way_to_the_patient_and_back(grid: Grid, data: st.DataObject) -> None:
    indices = np.array(data.draw(st.lists(st.tuples(*[st.floats(-10, 300)] * 3), min_size=1, max_size=5)))
    index_from_patient = np.linalg.inv(grid.patient_from_index)
    back = grid.points_mm(indices) @ index_from_patient[:3, :3].T + index_from_patient[:3, 3]
    np.testing.assert_allclose(back, indices, atol=1e-6)


@given(shape=shapes, origin=origins, turn=angles, spacing=spacings)
def test_a_grid_gives_back_what_it_was_made_from(
    shape: tuple[int, int, int],
    origin: NDArray[np.float64],
    turn: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> None:
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix()
    grid = Grid.from_axes(shape, origin, axes, spacing)
    np.testing.assert_allclose(grid.spacing_mm, spacing, rtol=1e-9)
    np.testing.assert_allclose(grid.directions, axes, atol=1e-9)
    np.testing.assert_allclose(grid.origin_mm, origin, atol=1e-9)
    again = Grid.from_axes(grid.shape, grid.origin_mm, grid.directions, grid.spacing_mm)
    np.testing.assert_allclose(again.patient_from_index, grid.patient_from_index, atol=1e-9)


@given(grid=grids())
def test_orientation_and_position_satisfy_the_image_plane_equation(grid: Grid) -> None:
    """PS3.3 C.7.6.2.1.1: a voxel lies at IPP + row direction x column index + column direction x row index."""
    slice_index, row, column = 0, 3, 5
    orientation = np.array(grid.orientation())
    _, row_spacing, column_spacing = grid.spacing_mm
    expected = (
        np.array(grid.slice_position_mm(slice_index))
        + orientation[:3] * column_spacing * column
        + orientation[3:] * row_spacing * row
    )
    np.testing.assert_allclose(grid.points_mm(np.array([[slice_index, row, column]], float))[0], expected, atol=1e-6)


@given(grid=grids())
def test_the_centre_is_as_far_from_the_first_voxel_as_from_the_last(grid: Grid) -> None:
    last = grid.points_mm(np.array([grid.shape], float) - 1)[0]
    first_distance = np.linalg.norm(grid.centre_mm - grid.origin_mm)
    assert first_distance == pytest.approx(np.linalg.norm(grid.centre_mm - last), abs=1e-6)


@given(grid=grids(), index=st.integers(0, 50))
def test_neighbouring_slices_lie_one_spacing_apart(grid: Grid, index: int) -> None:
    step = np.subtract(grid.slice_position_mm(index + 1), grid.slice_position_mm(index))
    assert np.linalg.norm(step) == pytest.approx(grid.spacing_mm[0], rel=1e-6)


def test_the_axes_are_slice_row_column() -> None:
    axial = Grid.from_axes((2, 3, 4), np.zeros(3), np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float), (5, 2, 1))
    np.testing.assert_allclose(axial.points_mm(np.array([[1, 0, 0]], float)), [[0, 0, 5]])
    np.testing.assert_allclose(axial.points_mm(np.array([[0, 1, 0]], float)), [[0, 2, 0]])
    np.testing.assert_allclose(axial.points_mm(np.array([[0, 0, 1]], float)), [[1, 0, 0]])
    assert axial.orientation() == (1, 0, 0, 0, 1, 0)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, -1, 1), (1, 1)])
def test_impossible_extents_are_a_defect(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="extents"):
        Grid(shape, np.eye(4))


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3), np.diag([1, 1, 0, 1])])
def test_impossible_matrices_are_a_defect(matrix: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="invertible"):
        Grid((1, 1, 1), matrix)


@given(grid=grids())
def test_a_grid_cannot_be_changed(grid: Grid) -> None:
    with pytest.raises(ValueError, match="read-only"):
        grid.patient_from_index[0, 0] = 1.0


def test_cut_part_keeps_its_voxels_in_place() -> None:
    grid = Grid.from_axes((6, 5, 4), np.array([1.0, -2, 3]), np.eye(3), (3.0, 2.0, 1.0))
    part = grid.cut((2, 1, 3), (3, 2, 1))
    assert part.shape == (3, 2, 1)
    inside = np.array([[0.0, 0, 0], [2, 1, 0]])
    np.testing.assert_allclose(part.points_mm(inside), grid.points_mm(inside + np.array([2, 1, 3])))
