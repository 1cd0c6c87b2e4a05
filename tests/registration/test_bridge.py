import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.registration.bridge import (
    array_from_image,
    grid_from_image,
    image_from_array,
    image_from_volume,
    transform_from_motion,
)
from tests.support.phantoms import make_motion

angles = st.tuples(*[st.floats(-180, 180)] * 3)
shifts = st.tuples(*[st.floats(-600, 600)] * 3)
SHAPE = (3, 4, 5)


def _make_grid(turns_deg: tuple[float, ...], origin_mm: tuple[float, ...], mirrored: bool) -> Grid:
    directions = make_motion(turns_deg).moving_from_fixed[:3, :3].copy()
    if mirrored:
        directions[:, 0] *= -1
    return Grid.from_axes(SHAPE, np.asarray(origin_mm), directions, (3.3, 0.9, 1.7))


@settings(max_examples=30, deadline=None)
@given(angles, shifts, st.booleans())
def test_grids_survive_the_round_trip_also_left_handed_ones(turns_deg, origin_mm, mirrored) -> None:
    grid = _make_grid(turns_deg, origin_mm, mirrored)
    back = grid_from_image(image_from_array(np.zeros(SHAPE, dtype=np.uint8), grid))
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.patient_from_index, grid.patient_from_index, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(angles, shifts, st.booleans(), st.tuples(st.floats(0, 2), st.floats(0, 3), st.floats(0, 4)))
def test_an_index_is_the_same_point_in_both_worlds(turns_deg, origin_mm, mirrored, index) -> None:
    grid = _make_grid(turns_deg, origin_mm, mirrored)
    image = image_from_array(np.zeros(SHAPE, dtype=np.uint8), grid)
    theirs = image.TransformContinuousIndexToPhysicalPoint(index[::-1])
    np.testing.assert_allclose(theirs, grid.points_mm(np.array([index]))[0], atol=1e-9)


def test_voxels_keep_their_place_and_their_bits() -> None:
    voxels = np.random.default_rng(3).normal(size=SHAPE).astype(np.float32)
    volume = Volume(voxels, _make_grid((10, 20, 30), (1, 2, 3), False), Unit.SUVBW, "1.2", "1.3")
    image = image_from_volume(volume)
    assert image.GetPixel(4, 2, 1) == voxels[1, 2, 4]
    back = array_from_image(image)
    np.testing.assert_array_equal(back, voxels)
    back[:] = 0
    assert image.GetPixel(4, 2, 1) == voxels[1, 2, 4]


@settings(max_examples=30, deadline=None)
@given(angles, shifts, shifts, shifts)
def test_a_point_moves_alike_in_both_worlds_about_any_centre(turns_deg, shift_mm, centre_mm, point_mm) -> None:
    motion = make_motion(turns_deg, shift_mm)
    theirs = transform_from_motion(motion, np.asarray(centre_mm)).TransformPoint(point_mm)
    ours = motion.moving_from_fixed @ [*point_mm, 1]
    np.testing.assert_allclose(theirs, ours[:3], atol=1e-6)


def test_simpleitk_resamples_in_the_direction_of_moving_from_fixed() -> None:
    grid = Grid.from_axes(SHAPE, np.zeros(3), np.eye(3)[:, ::-1], (1, 1, 1))
    voxels = np.zeros(SHAPE, dtype=np.float32)
    voxels[1, 2, 3] = 1
    matrix = np.eye(4)
    matrix[0, 3] = 2  # what lies at column 1 in fixed space lies at column 3 in moving space
    image = image_from_array(voxels, grid)
    moved = sitk.Resample(image, image, transform_from_motion(RigidMotion(matrix), np.zeros(3)), sitk.sitkLinear)
    assert np.argwhere(array_from_image(moved)).tolist() == [[1, 2, 1]]


def test_a_rotation_of_rounded_decimals_is_accepted() -> None:
    matrix = make_motion((7, 8, 9)).moving_from_fixed.round(6)
    transform = transform_from_motion(RigidMotion(matrix), np.array([10.0, -20.0, 30.0]))
    np.testing.assert_allclose(transform.TransformPoint((50, 60, 70)), (matrix @ [50, 60, 70, 1])[:3], atol=1e-3)


def test_an_array_that_does_not_fit_its_grid_is_a_defect() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        image_from_array(np.zeros((5, 4, 3)), _make_grid((0, 0, 0), (0, 0, 0), False))
