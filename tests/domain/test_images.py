"""What is on its way to the screen cannot be swapped out under the report that describes it."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from fusionnode.domain.grid import Grid
from fusionnode.domain.images import FusedStack, PreparedPair, Window
from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame


def make_prepared() -> PreparedPair:
    shape = (1, 2, 2)
    return PreparedPair(
        fixed=np.zeros(shape, np.float32),
        moving=np.ones(shape, np.float32),
        covered=np.ones(shape, np.bool_),
        grid=Grid(shape, np.eye(4)),
        frame_of_reference_uid="1.2",
        moving_frame_of_reference_uid="1.3",
        fixed_window=Window(0, 100, Unit.ARBITRARY),
        moving_window=Window(0, 8, Unit.SUVBW),
        estimate=MotionEstimate(RigidMotion.identity(), MotionMethod.SHARED_FRAME, "brain-rigid", 0.0, 1.0),
        fixed_sources=(SourceFrame("1.2.840", "1.4"),),
        moving_sources=(SourceFrame("1.2.840", "1.5", 1),),
    )


def test_a_prepared_pair_cannot_be_changed() -> None:
    prepared = make_prepared()
    with pytest.raises(FrozenInstanceError):
        prepared.fixed = prepared.moving  # type: ignore[misc]
    assert prepared.notes == ()


def test_windows_are_equal_only_in_the_same_unit() -> None:
    assert Window(0, 8, Unit.SUVBW) == Window(0, 8, Unit.SUVBW)
    assert Window(0, 8, Unit.SUVBW) != Window(0, 8, Unit.BQML)


def test_a_fused_stack_cannot_change_the_model_it_came_from() -> None:
    fused = FusedStack(np.zeros((1, 2, 2, 3), np.uint8), "laplacian@1")
    with pytest.raises(FrozenInstanceError):
        fused.model = "other@1"  # type: ignore[misc]


def test_stacks_are_dropped_and_everything_else_is_kept() -> None:
    prepared = make_prepared()
    light = prepared.without_pictures()
    assert light.fixed.shape == light.moving.shape == prepared.fixed.shape
    assert light.fixed.strides == (0, 0, 0), "zeros that take no memory"
    kept = [name for name in vars(prepared) if name not in ("fixed", "moving")]
    assert all(getattr(light, name) is getattr(prepared, name) for name in kept)
