"""The simulator's own laws: a registration is only as good as the truth it is held against."""

from dataclasses import replace

import numpy as np
import pytest

from fusionnode.domain.motion import RigidMotion
from tests.support.phantoms import make_motion
from tests.support.simulated_heads import Head, vary_head
from tests.support.simulated_pairs import (
    ORIENTATIONS,
    MrSpec,
    PairSpec,
    UptakeSpec,
    draw_specs,
    flip_left_right,
    make_mr,
    make_pair,
    misplace,
    target_registration_error_mm,
)

CENTRE_MM = np.array([5.3, -8.1, 3.7])
SPEC = PairSpec(
    turns_deg=(4, -16, 8), shift_mm=(7, -5, 9), uptake=UptakeSpec(counts=1e9, regions=0.0), mr=MrSpec(bias=0.0)
)


def _make_ball() -> Head:
    """A ball of grey matter 20 mm in radius, off the lattice's points."""
    z, y, x = np.ogrid[-60:61, -60:61, -60:61]
    distance_mm = np.sqrt((x - CENTRE_MM[0]) ** 2 + (y - CENTRE_MM[1]) ** 2 + (z - CENTRE_MM[2]) ** 2)
    ball = np.clip(20.5 - distance_mm, 0, 1).astype(np.float32)
    none = np.zeros_like(ball)
    return Head("ball", ball, ball, none, none, none, np.array([-60.0, -60.0, -60.0]))


def _find_centre_mm(voxels: np.ndarray, grid) -> np.ndarray:
    voxels = np.where(voxels > 0.1 * voxels.max(), voxels, 0)
    indices = np.argwhere(voxels > 0)
    return grid.points_mm(np.average(indices, axis=0, weights=voxels[voxels > 0])[None])[0]


@pytest.mark.parametrize("fwhm_mm", [4.0, 12.0])
@pytest.mark.parametrize("spacing_mm", [(3.27, 2.0, 2.0), (4.4, 4.4, 4.4)])
def test_the_uptake_lies_where_the_true_motion_carries_it(fwhm_mm: float, spacing_mm: tuple[float, ...]) -> None:
    uptake = replace(SPEC.uptake, fwhm_mm=fwhm_mm, spacing_mm=spacing_mm)
    pair = make_pair(replace(SPEC, uptake=uptake), _make_ball())
    matrix = pair.truth.moving_from_fixed
    moved_mm = matrix[:3, :3] @ CENTRE_MM + matrix[:3, 3]
    np.testing.assert_allclose(_find_centre_mm(pair.moving.voxels, pair.moving.grid), moved_mm, atol=0.05)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_mr_lies_where_the_head_is_however_it_is_sliced(orientation: str) -> None:
    mr = make_mr(
        PairSpec(mr=MrSpec(orientation=orientation, spacing_mm=(3.0, 1.2, 1.2), bias=0, noise=0)), _make_ball()
    )
    np.testing.assert_allclose(_find_centre_mm(mr.voxels, mr.grid), CENTRE_MM, atol=0.1)


def test_the_same_specification_gives_the_same_bits_and_another_seed_other_noise() -> None:
    head = _make_ball()
    first, second, other = (make_pair(spec, head) for spec in (SPEC, SPEC, replace(SPEC, seed=1)))
    assert first.moving.voxels.tobytes() == second.moving.voxels.tobytes()
    assert first.fixed.voxels.tobytes() == second.fixed.voxels.tobytes()
    assert first.fixed.voxels.tobytes() != other.fixed.voxels.tobytes()


def test_fewer_counts_are_noisier() -> None:
    few, many = (
        make_pair(replace(SPEC, uptake=replace(SPEC.uptake, counts=counts)), _make_ball()).moving.voxels
        for counts in (1e4, 1e8)
    )
    hot = many > 0.95 * many.max()
    assert few[hot].std() / few[hot].mean() > 2 * many[hot].std() / many[hot].mean()


def test_a_field_of_view_is_cut_along_and_across() -> None:
    whole = make_pair(SPEC, _make_ball()).moving
    cut = make_pair(
        replace(SPEC, uptake=replace(SPEC.uptake, axial_keep=(0.5, 1.0), radius_mm=25.0)), _make_ball()
    ).moving
    assert cut.grid.shape[0] == pytest.approx(whole.grid.shape[0] / 2, abs=1)
    assert not cut.voxels[:, 0].any()
    assert cut.voxels.any()


def test_the_error_is_the_distance_between_both_places() -> None:
    points_mm = np.array([[0.0, 0, 0], [100, 0, 0]])
    still, turned = RigidMotion.identity(), make_motion((0, 0, 90), (0, 0, 0))
    np.testing.assert_allclose(target_registration_error_mm(still, turned, points_mm), [0, 100 * np.sqrt(2)])


def test_wrong_motions_are_wrong_by_as_much_as_was_asked() -> None:
    truth = make_motion()
    shifted, turned = misplace(truth, CENTRE_MM, 30.0, 0.0, 1), misplace(truth, CENTRE_MM, 0.0, 20.0, 1)
    np.testing.assert_allclose(target_registration_error_mm(truth, shifted, np.eye(3)), 30)
    assert target_registration_error_mm(truth, turned, CENTRE_MM[None])[0] == pytest.approx(0, abs=1e-9)
    assert RigidMotion(turned.moving_from_fixed @ truth.fixed_from_moving).rotation_deg == pytest.approx(20)


def test_a_flip_mirrors_the_patient_not_the_grid() -> None:
    mr = make_mr(PairSpec(mr=MrSpec(orientation="coronal", bias=0, noise=0)), _make_ball())
    flipped = flip_left_right(mr)
    mirrored_mm = [2 * mr.grid.centre_mm[0] - CENTRE_MM[0], *CENTRE_MM[1:]]
    np.testing.assert_allclose(_find_centre_mm(flipped.voxels, flipped.grid), mirrored_mm, atol=0.1)


def test_another_patient_is_deformed_with_all_tissues_alike() -> None:
    head = _make_ball()
    assert vary_head(head, 0) is head
    other = vary_head(head, 3)
    np.testing.assert_allclose(other.mr, other.grey, atol=1e-6)
    assert np.abs(other.mr - head.mr).max() > 0.5
    assert other.mr.sum() == pytest.approx(head.mr.sum(), rel=0.35)


def test_drawn_motions_keep_their_limits_and_are_drawn_alike_again() -> None:
    specs = draw_specs(40, 3, ("synthetic", "philips"))
    assert specs == draw_specs(40, 3, ("synthetic", "philips"))
    assert all(np.linalg.norm(spec.turns_deg) <= 20 and np.linalg.norm(spec.shift_mm) <= 25 for spec in specs)
    assert {spec.patient for spec in specs} == {0, 1, 2, 3}
