from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.domain.motion import RigidMotion
from fusionnode.registration.ascent import Stride, climb
from fusionnode.registration.information import Comparison, look_up, turn_and_shift
from tests.support.phantoms import make_grid, make_motion, make_mr, make_uptake, measure_error_mm

TRUTH = make_motion((4, -6, 8), (7, -5, 9))
STRIDE = Stride(first_mm=2.0, last_mm=0.02, radius_mm=35.0, most_steps=60)


@cache
def _compare() -> Comparison:
    fixed, moving = (
        make_mr(make_grid((45, 48, 48), (4.0, 4.7, 4.7))),
        make_uptake(make_grid((45, 48, 48), (4, 5, 5)), TRUTH),
    )
    points_mm = fixed.grid.points_mm(np.random.default_rng(0).uniform(0, np.array(fixed.grid.shape) - 1, (20_000, 3)))
    return Comparison.build(points_mm, look_up(fixed.voxels, fixed.grid, points_mm), moving.voxels, moving.grid, 32)


def _start_off(degrees: float, mm: float) -> RigidMotion:
    step = np.array([*np.deg2rad([degrees, -degrees, degrees]), mm, -mm, mm])
    return turn_and_shift(TRUTH, step, np.zeros(3))


@pytest.mark.parametrize(("degrees", "mm"), [(0.0, 0.0), (3.0, 4.0), (-6.0, 8.0)])
def test_the_top_is_where_the_truth_is(degrees: float, mm: float) -> None:
    summit = climb(_compare(), _start_off(degrees, mm), STRIDE)
    assert measure_error_mm(summit.motion, TRUTH, np.zeros(3)) < 0.8
    assert summit.share_inside > 0.9


@settings(max_examples=15, deadline=None)
@given(st.floats(-40, 40), st.floats(-60, 60))
def test_a_climb_never_ends_below_its_start(degrees: float, mm: float) -> None:
    start = _start_off(degrees, mm)
    summit = climb(_compare(), start, STRIDE)
    assert summit.information >= _compare().measure(start).information
    assert summit.information == _compare().measure(summit.motion).information


def test_a_climb_ends_after_so_many_steps() -> None:
    hasty = climb(_compare(), _start_off(6.0, 8.0), Stride(0.1, 0.0, 35.0, most_steps=3))
    assert hasty.steps == 3


def test_out_of_sight_there_is_nothing_to_climb() -> None:
    start = make_motion((0, 0, 0), (900, 0, 0))
    summit = climb(_compare(), start, STRIDE)
    np.testing.assert_allclose(summit.motion.moving_from_fixed, start.moving_from_fixed, atol=1e-9)
    assert summit.information == 0
