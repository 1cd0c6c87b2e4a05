"""The measures tell a right motion from wrong ones and from a mirror image, wherever the scanners' origins lie."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality, RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.errors import RegistrationImplausible
from fusionnode.registration.plausible import require_quality
from fusionnode.registration.quality import (
    Anatomy,
    compare,
    crop_to_head,
    describe_anatomy,
    describe_uptake,
    measure_quality,
)
from tests.support.phantoms import make_grid, make_motion, make_mr, make_uptake
from tests.support.simulated_pairs import flip_left_right, misplace

USUAL = make_motion((4, -6, 8), (7, -5, 9))
CENTRE_MM = np.zeros(3)
HEIGHT_MM = 190.0


@cache
def _make_fixed() -> Volume:
    return make_mr(make_grid())


@cache
def _make_moving() -> Volume:
    return make_uptake(make_grid((50, 64, 64), (3.6, 3.8, 3.8), (5.0, -6.0, 7.0)), USUAL)


@cache
def _describe_fixed() -> Anatomy:
    return describe_anatomy(_make_fixed(), HEIGHT_MM)


@cache
def _measure_usual() -> MotionQuality:
    return measure_quality(_make_fixed(), _make_moving(), USUAL, HEIGHT_MM)


def _measure(motion: RigidMotion, moving: Volume | None = None) -> MotionQuality:
    part = crop_to_head(_make_moving() if moving is None else moving, _describe_fixed(), motion)
    return compare(_describe_fixed(), describe_uptake(part), motion)


def _turn_grid(grid: Grid, motion: RigidMotion) -> Grid:
    pose = motion.moving_from_fixed
    origin_mm = pose[:3, :3] @ grid.origin_mm + pose[:3, 3]
    return Grid.from_axes(grid.shape, origin_mm, pose[:3, :3] @ grid.directions, grid.spacing_mm)


def _follow_flip() -> RigidMotion:
    """The motion that fits the flipped uptake best."""
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    there = mirror.copy()
    there[0, 3] = 2 * _make_moving().grid.centre_mm[0]
    return RigidMotion(there @ USUAL.moving_from_fixed @ mirror)


def _keep_columns(volume: Volume, first: int, count: int) -> Volume:
    shape = (*volume.grid.shape[:2], count)
    voxels = volume.voxels[..., first : first + count].copy()
    return replace(volume, voxels=voxels, grid=volume.grid.cut((0, 0, first), shape))


def _judge(motion: RigidMotion, quality: MotionQuality) -> MotionEstimate:
    estimate = MotionEstimate(
        motion=motion,
        method=MotionMethod.REGISTERED,
        preset="brain-rigid",
        centre_distance_mm=12.0,
        overlap=0.8,
        information=0.4,
        information_at_start=0.2,
        iterations=50,
    )
    return require_quality(estimate, quality)


def test_a_right_motion_has_good_figures_and_the_same_ones_every_time() -> None:
    quality = _measure_usual()
    assert quality.explained > 0.9
    assert quality.sharpness > 0.5
    assert quality.mirror_margin > 0.5
    assert quality.second_opinion_mm < 1.5
    assert quality.starts_apart_mm < 0.5
    assert quality.stretch < 0.03
    assert _measure(USUAL) == quality


@pytest.mark.parametrize(("shift_mm", "turn_deg"), [(30.0, 0.0), (0.0, 20.0), (12.0, 0.0)])
def test_a_wrong_motion_fits_worse_than_its_surroundings(shift_mm: float, turn_deg: float) -> None:
    quality = _measure(misplace(USUAL, CENTRE_MM, shift_mm, turn_deg, seed=1))
    assert quality.sharpness < 0
    assert quality.explained < _measure_usual().explained - 0.2


def test_a_mirror_image_changes_the_sign_of_the_margin() -> None:
    quality = _measure(_follow_flip(), flip_left_right(_make_moving()))
    assert quality.mirror_margin == pytest.approx(-_measure_usual().mirror_margin, rel=0.25)


def test_a_smaller_head_has_to_be_stretched() -> None:
    grid = _make_moving().grid
    spacing_mm = tuple(0.9 * step_mm for step_mm in grid.spacing_mm)
    centre_mm = grid.centre_mm
    small = make_grid(grid.shape, spacing_mm, tuple(centre_mm.tolist()), grid.directions)  # type: ignore[arg-type]
    # The head shrinks towards the grid's centre, so its own centre moves by a tenth of the way there.
    moved = USUAL.moving_from_fixed.copy()
    moved[:3, 3] += 0.1 * (centre_mm - moved[:3, 3])
    quality = _measure(RigidMotion(moved), replace(_make_moving(), grid=small))
    assert quality.stretch == pytest.approx(0.1, abs=0.04)


def test_where_the_scanners_origins_lie_and_the_unit_of_the_uptake_do_not_matter() -> None:
    far = make_motion((10, 20, 170), (400.0, -300.0, 900.0))
    moving = replace(_make_moving(), grid=_turn_grid(_make_moving().grid, far), voxels=_make_moving().voxels * 1000)
    quality = _measure(RigidMotion(far.moving_from_fixed @ USUAL.moving_from_fixed), moving)
    for name, value in vars(_measure_usual()).items():
        assert getattr(quality, name) == pytest.approx(value, rel=0.02, abs=0.02), name


def test_noise_explains_nothing_and_does_not_tell_a_side() -> None:
    noise = np.random.default_rng(1).random(_make_moving().voxels.shape, dtype=np.float32)
    quality = _measure(USUAL, replace(_make_moving(), voxels=noise))
    assert quality.explained < 0.05
    assert abs(quality.mirror_margin) < 0.03
    assert quality.sharpness < 0.03


@pytest.mark.parametrize("value", [0.0, 7.0, math.nan])
def test_a_uniform_uptake_is_explained_by_nothing(value: float) -> None:
    quality = _measure(USUAL, replace(_make_moving(), voxels=np.full_like(_make_moving().voxels, value)))
    assert (quality.explained, quality.mirror_margin, quality.second_opinion_mm) == (0.0, 0.0, 0.0)


def test_where_too_little_is_seen_nothing_is_said() -> None:
    away = make_motion((0, 0, 0), (0, 0, 150))
    assert all(math.isnan(value) for value in vars(_measure(away)).values())


def test_where_only_one_side_is_seen_the_mirror_says_nothing() -> None:
    moving = _make_moving()
    half = slice(0, moving.grid.shape[2] // 2 + 3)
    grid = Grid((*moving.grid.shape[:2], half.stop), moving.grid.patient_from_index)
    quality = _measure(USUAL, replace(moving, voxels=moving.voxels[..., half].copy(), grid=grid))
    assert quality.explained > 0.8
    assert math.isnan(quality.mirror_margin)


@pytest.mark.parametrize("first", [0, 26])
def test_left_and_right_are_told_where_a_side_is_cut_off(first: int) -> None:
    right = _measure(USUAL, _keep_columns(_make_moving(), first, 38))
    assert _judge(USUAL, right).quality is right
    flipped = _measure(_follow_flip(), _keep_columns(flip_left_right(_make_moving()), first, 38))
    with pytest.raises(RegistrationImplausible, match="left and right seem to be exchanged"):
        _judge(_follow_flip(), flipped)


def test_no_head_is_refused() -> None:
    empty = replace(_make_fixed(), voxels=np.zeros_like(_make_fixed().voxels))
    with pytest.raises(RegistrationImplausible, match="foreground"):
        measure_quality(empty, _make_moving(), USUAL, HEIGHT_MM)


def test_a_whole_body_is_cut_down_to_the_head() -> None:
    grid = make_grid((160, 64, 64), (3.6, 3.8, 3.8), (5.0, -6.0, -190.0))
    part = crop_to_head(make_uptake(grid, USUAL, body=True), _describe_fixed(), USUAL)
    assert part.grid.shape[0] < 80
    assert _measure(USUAL, part).explained > 0.9
    away = make_motion((0, 0, 0), (0, 0, 5000))
    assert crop_to_head(part, _describe_fixed(), away) is part
