import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.motion import RigidMotion
from fusionnode.registration.bridge import image_from_volume, transform_from_motion
from fusionnode.registration.information import Comparison, look_up, turn_and_shift
from tests.support.phantoms import CORONAL, make_grid, make_motion, make_mr, make_uptake

BINS = 32
MOTION = make_motion((4, -6, 8), (7, -5, 9))
FIXED = make_mr(make_grid((30, 32, 32), (6.0, 7.0, 7.0)))
MOVING = make_uptake(make_grid((25, 32, 32), (7.2, 7.6, 7.6)), MOTION)
small = st.floats(-0.5, 0.5)


def _list_points_mm() -> np.ndarray:
    indices = np.argwhere(np.ones(FIXED.grid.shape, dtype=bool)).astype(np.float64)
    return FIXED.grid.points_mm(indices)


def _compare(points_mm: np.ndarray | None = None) -> Comparison:
    points_mm = _list_points_mm() if points_mm is None else points_mm
    values = look_up(FIXED.voxels, FIXED.grid, points_mm)
    return Comparison.build(points_mm, values, MOVING.voxels, MOVING.grid, BINS)


@pytest.mark.parametrize("motion", [RigidMotion.identity(), MOTION, make_motion((0, 0, 40), (30, 0, 0))])
def test_the_information_is_that_of_simpleitk(motion: RigidMotion) -> None:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform_from_motion(motion, np.zeros(3)), True)
    theirs = -method.MetricEvaluate(image_from_volume(FIXED), image_from_volume(MOVING))
    assert _compare().measure(motion).information == pytest.approx(theirs, abs=1e-4)


def test_the_slope_is_that_of_the_information() -> None:
    moving = make_uptake(make_grid((60, 64, 64), (3.6, 3.8, 3.8)), MOTION, noise=0.0)
    points_mm = np.random.default_rng(0).uniform(-55, 55, (40_000, 3))
    values = look_up(FIXED.voxels, FIXED.grid, points_mm)
    comparison = Comparison.build(points_mm, values, moving.voxels, moving.grid, BINS)
    motion = make_motion((2, -3, 9), (5, -4, 6))
    agreement = comparison.measure(motion)
    for index, size in enumerate([0.004] * 3 + [0.2] * 3):
        step = np.eye(6)[index] * size
        ahead, behind = (comparison.measure(turn_and_shift(motion, s, comparison.centre_mm)) for s in (step, -step))
        slope = (ahead.information - behind.information) / (2 * size)
        assert agreement.slope[index] == pytest.approx(slope, rel=0.1), index


def test_the_right_motion_informs_most() -> None:
    comparison = _compare()
    best = comparison.measure(MOTION).information
    assert best > comparison.measure(RigidMotion.identity()).information + 0.1
    assert best > comparison.measure(make_motion((4, -6, 8), (7, -5, 14))).information


def test_what_is_out_of_sight_informs_of_nothing() -> None:
    agreement = _compare().measure(make_motion((0, 0, 0), (900, 0, 0)))
    assert (agreement.information, agreement.share_inside) == (0.0, 0.0)
    np.testing.assert_array_equal(agreement.slope, 0)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_uniform_volume_informs_of_nothing(value: float) -> None:
    points_mm = _list_points_mm()
    flat = np.full(MOVING.grid.shape, value, dtype=np.float32)
    values = look_up(FIXED.voxels, FIXED.grid, points_mm)
    agreement = Comparison.build(points_mm, values, flat, MOVING.grid, BINS).measure(MOTION)
    assert agreement.information == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(agreement.slope, 0, atol=1e-9)


def test_the_same_points_give_the_same_bits() -> None:
    first, second = _compare().measure(MOTION), _compare().measure(MOTION)
    assert first.information == second.information
    assert first.slope.tobytes() == second.slope.tobytes()


def test_one_slice_can_be_compared() -> None:
    grid = make_grid((1, 32, 32), (7.0, 7.0, 7.0))
    thin = make_uptake(grid)
    values = look_up(thin.voxels, grid, grid.points_mm(np.argwhere(thin.voxels > -1).astype(np.float64)))
    np.testing.assert_allclose(values, thin.voxels.ravel(), atol=1e-6)


def test_values_between_voxels_are_linear_and_end_at_the_border() -> None:
    grid = make_grid((5, 6, 7), (2.0, 3.0, 4.0), (9.0, -8.0, 7.0), CORONAL)
    everywhere = grid.points_mm(np.argwhere(np.ones(grid.shape, dtype=bool)).astype(np.float64))
    ramp = (everywhere @ [1.0, -2.0, 0.5]).reshape(grid.shape).astype(np.float32)
    within = grid.points_mm(np.random.default_rng(0).uniform(0, np.array(grid.shape) - 1, (50, 3)))
    np.testing.assert_allclose(look_up(ramp, grid, within), within @ [1.0, -2.0, 0.5], atol=1e-4)
    beyond = grid.points_mm(np.array([[-3.0, -3.0, -3.0]]))
    assert look_up(ramp, grid, beyond)[0] == ramp[0, 0, 0]


@given(st.tuples(*[small] * 3), st.tuples(*[st.floats(-50, 50)] * 6))
def test_a_step_turns_about_the_moved_centre_and_shifts_it(turn: tuple[float, ...], places: tuple[float, ...]) -> None:
    centre_mm, shift_mm = np.array(places[:3]), np.array(places[3:])
    reached = turn_and_shift(MOTION, np.array([*turn, *shift_mm]), centre_mm).moving_from_fixed
    before = MOTION.moving_from_fixed
    np.testing.assert_allclose(
        reached[:3, :3] @ centre_mm + reached[:3, 3], before[:3, :3] @ centre_mm + before[:3, 3] + shift_mm, atol=1e-9
    )
    onward = RigidMotion(reached @ np.linalg.inv(before))
    assert np.deg2rad(onward.rotation_deg) == pytest.approx(float(np.linalg.norm(turn)), abs=1e-6)


@given(st.tuples(*[small] * 3))
def test_the_opposite_turn_leads_back(turn: tuple[float, ...]) -> None:
    step = np.array([*turn, 0.0, 0.0, 0.0])
    there = turn_and_shift(MOTION, step, np.ones(3))
    back = turn_and_shift(there, -step, np.ones(3))
    np.testing.assert_allclose(back.moving_from_fixed, MOTION.moving_from_fixed, atol=1e-9)
