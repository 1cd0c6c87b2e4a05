"""Laws of rigid motion: the angle is the angle, the inverse undoes, distances survive."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion

points = st.tuples(*[st.floats(-300, 300)] * 3).map(np.array)


def make_motion(axis: NDArray[np.float64], angle_deg: float, shift_mm: NDArray[np.float64]) -> RigidMotion:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(axis / np.linalg.norm(axis) * math.radians(angle_deg)).as_matrix()
    matrix[:3, 3] = shift_mm
    return RigidMotion(matrix)


axes = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda axis: np.linalg.norm(axis) > 0.1).map(np.array)
motions = st.builds(make_motion, axes, st.floats(0, 180), points)


@given(axis=axes, angle=st.floats(0, 180), shift=points)
def test_the_rotation_angle_is_the_one_put_in(
    axis: NDArray[np.float64], angle: float, shift: NDArray[np.float64]
) -> None:
    # Near 0 and 180 degrees the arc cosine is as good as the square root of the rounding error.
    assert make_motion(axis, angle, shift).rotation_deg == pytest.approx(angle, abs=2e-5)


@given(motion=motions, point=points)
def test_the_inverse_undoes_the_motion(motion: RigidMotion, point: NDArray[np.float64]) -> None:
    back = motion.fixed_from_moving @ motion.moving_from_fixed @ np.append(point, 1.0)
    np.testing.assert_allclose(back[:3], point, atol=1e-6)
    assert RigidMotion(motion.fixed_from_moving).rotation_deg == pytest.approx(motion.rotation_deg, abs=2e-5)


@given(motion=motions, one=points, other=points)
def test_distances_survive(motion: RigidMotion, one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    moved = [motion.moving_from_fixed @ np.append(point, 1.0) for point in (one, other)]
    assert np.linalg.norm(moved[0] - moved[1]) == pytest.approx(np.linalg.norm(one - other), abs=1e-6)


@given(shift=points, point=points)
def test_a_translation_displaces_every_point_alike(shift: NDArray[np.float64], point: NDArray[np.float64]) -> None:
    motion = make_motion(np.array([0.0, 0.0, 1.0]), 0.0, shift)
    assert motion.displacement_mm(point) == pytest.approx(np.linalg.norm(shift), abs=1e-6)


@given(point=points)
def test_identity_moves_nothing(point: NDArray[np.float64]) -> None:
    assert RigidMotion.identity().displacement_mm(point) == 0
    assert RigidMotion.identity().rotation_deg == 0


def test_a_quarter_turn_carries_a_point_along_its_chord() -> None:
    quarter = make_motion(np.array([0.0, 0.0, 1.0]), 90.0, np.zeros(3))
    assert quarter.displacement_mm(np.array([10.0, 0.0, 5.0])) == pytest.approx(10 * math.sqrt(2))


MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])
SCALED = np.diag([1.01, 1.0, 1.0, 1.0])
SHEARED = np.eye(4) + np.eye(4, k=1) * 0.1
PROJECTIVE = np.eye(4) + np.outer([0, 0, 0, 1], [0.1, 0, 0, 0])


@pytest.mark.parametrize("matrix", [MIRROR, SCALED, SHEARED, PROJECTIVE, np.full((4, 4), np.nan), np.eye(3)])
def test_what_is_not_rigid_is_a_defect(matrix: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="rigid"):
        RigidMotion(matrix)


def test_an_estimate_without_registration_has_no_information_figures() -> None:
    estimate = MotionEstimate(RigidMotion.identity(), MotionMethod.SHARED_FRAME, "brain-rigid", 0.0, 1.0)
    assert math.isnan(estimate.information)
    assert math.isnan(estimate.information_at_start)
    assert replace(estimate, warnings=("low overlap",)).warnings == ("low overlap",)
