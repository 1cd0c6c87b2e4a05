import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.errors import OverlapInsufficient, RegistrationImplausible
from fusionnode.registration.estimate import estimate_motion, trust_shared_frame
from fusionnode.registration.plausible import require_plausible
from fusionnode.registration.presets import PRESETS
from fusionnode.volumes.assemble import assemble_volume
from tests.support.phantoms import CORONAL, make_grid, make_motion, make_mr, make_uptake, measure_error_mm

PRESET = PRESETS["brain-rigid"]
STILL = RigidMotion.identity()
USUAL = make_motion((4, -6, 8), (7, -5, 9))
LIMITS = {"max_rotation_deg": 45, "max_centre_distance_mm": 75, "min_overlap": 0.3}


@cache
def _make_fixed() -> Volume:
    return make_mr(make_grid())


def _make_moving(motion: RigidMotion, centre_mm: tuple[float, float, float] = (5.0, -6.0, 7.0)) -> Volume:
    return make_uptake(make_grid((50, 64, 64), (3.6, 3.8, 3.8), centre_mm), motion)


def _measure_error_mm(estimate: MotionEstimate, truth: RigidMotion) -> float:
    return measure_error_mm(estimate.motion, truth, _make_fixed().grid.centre_mm)


@cache
def _estimate_usual() -> MotionEstimate:
    return estimate_motion(_make_fixed(), _make_moving(USUAL), PRESET)


@pytest.mark.parametrize(
    "truth",
    [
        STILL,
        make_motion((-10, 12, -9), (-15, 10, 5)),
        make_motion((0, 0, -28), (0, 0, 0)),
    ],
    ids=["none", "large", "turned"],
)
def test_known_motions_are_recovered(truth: RigidMotion) -> None:
    estimate = estimate_motion(_make_fixed(), _make_moving(truth), PRESET)
    assert _measure_error_mm(estimate, truth) < 0.3
    assert require_plausible(estimate, **LIMITS).overlap > 0.98


def test_a_usual_motion_is_recovered_with_its_figures() -> None:
    estimate = _estimate_usual()
    assert _measure_error_mm(estimate, USUAL) < 0.3
    assert (estimate.method, estimate.preset) == (MotionMethod.REGISTERED, "brain-rigid")
    assert estimate.iterations > 0
    assert estimate.information > estimate.information_at_start + 0.1
    assert require_plausible(estimate, **LIMITS).warnings == ()


def test_a_volume_lies_where_it_lies() -> None:
    estimate = estimate_motion(_make_fixed(), _make_fixed(), PRESET)
    assert _measure_error_mm(estimate, STILL) < 0.2
    assert estimate.information == pytest.approx(estimate.information_at_start, abs=0.05)


def test_the_same_input_gives_the_same_bits() -> None:
    first, second = _estimate_usual(), estimate_motion(_make_fixed(), _make_moving(USUAL), PRESET)
    assert first.motion.moving_from_fixed.tobytes() == second.motion.moving_from_fixed.tobytes()
    assert (first.information, first.information_at_start) == (second.information, second.information_at_start)


def test_origins_half_a_metre_apart_are_no_displacement() -> None:
    truth = make_motion((5, 3, -4), (300, -200, 500))
    estimate = estimate_motion(_make_fixed(), _make_moving(truth, (305.0, -206.0, 507.0)), PRESET)
    assert _measure_error_mm(estimate, truth) < 0.3
    assert estimate.centre_distance_mm < 10
    assert require_plausible(estimate, **LIMITS).warnings == ()


@pytest.mark.parametrize("directions", [CORONAL, CORONAL * [-1, 1, 1]], ids=["right-handed", "left-handed"])
def test_a_coronal_mri_meets_an_axial_pet(directions: np.ndarray) -> None:
    truth = USUAL
    fixed = make_mr(make_grid((64, 54, 64), (3.5, 3.3, 3.5), directions=directions))
    estimate = estimate_motion(fixed, _make_moving(truth), PRESET)
    assert measure_error_mm(estimate.motion, truth, fixed.grid.centre_mm) < 0.3


def test_a_truncated_field_of_view_is_registered_and_its_overlap_told() -> None:
    truth = USUAL
    moving = make_uptake(make_grid((22, 64, 64), (3.6, 3.8, 3.8), (5.0, -6.0, 30.0)), truth)
    estimate = estimate_motion(_make_fixed(), moving, PRESET)
    assert _measure_error_mm(estimate, truth) < 0.5
    assert 0.4 < estimate.overlap < 0.7
    with pytest.raises(OverlapInsufficient):
        require_plausible(estimate, max_rotation_deg=45, max_centre_distance_mm=75, min_overlap=0.8)


def test_the_head_is_found_in_a_scan_of_the_whole_body() -> None:
    truth = USUAL
    moving = make_uptake(make_grid((100, 64, 72), (5.5, 5.5, 5.5), (0.0, 0.0, -180.0)), truth, body=True)
    assert _measure_error_mm(estimate_motion(_make_fixed(), moving, PRESET), truth) < 0.6


def test_a_head_upside_down_agrees_far_less() -> None:
    moving = _make_moving(USUAL)
    flipped = Volume(np.ascontiguousarray(moving.voxels[::-1]), moving.grid, moving.unit, "1.2", "1.3")
    estimate = estimate_motion(_make_fixed(), flipped, PRESET)
    assert estimate.information < _estimate_usual().information - 0.2


def test_noise_is_refused() -> None:
    grid = make_grid((50, 64, 64), (3.6, 3.8, 3.8))
    voxels = np.abs(np.random.default_rng(0).normal(1, 1, grid.shape)).astype(np.float32)
    noise = Volume(voxels, grid, _make_moving(STILL).unit, "1.2", "1.3")
    with pytest.raises(RegistrationImplausible):
        require_plausible(estimate_motion(_make_fixed(), noise, PRESET), **LIMITS)


def test_a_volume_without_a_head_is_refused() -> None:
    moving = _make_moving(STILL)
    empty = Volume(np.zeros_like(moving.voxels), moving.grid, moving.unit, "1.2", "1.3")
    with pytest.raises(RegistrationImplausible) as refusal:
        estimate_motion(_make_fixed(), empty, PRESET)
    assert refusal.value.facts["series_instance_uid"] == "1.3"


def test_a_shared_frame_is_trusted_even_where_registration_would_disagree() -> None:
    estimate = trust_shared_frame(_make_fixed(), _make_moving(make_motion()))
    np.testing.assert_array_equal(estimate.motion.moving_from_fixed, np.eye(4))
    assert (estimate.method, estimate.iterations) == (MotionMethod.SHARED_FRAME, 0)
    assert math.isnan(estimate.information)
    assert math.isnan(estimate.centre_distance_mm), "no head was looked for"
    assert estimate.overlap > 0.98


def test_a_shared_frame_without_common_anatomy_has_no_overlap() -> None:
    far = make_uptake(make_grid((20, 32, 32), centre_mm=(0.0, 0.0, 400.0)))
    with pytest.raises(OverlapInsufficient):
        require_plausible(trust_shared_frame(_make_fixed(), far), **LIMITS)


def test_half_the_field_of_view_is_about_half_the_overlap() -> None:
    upper = make_uptake(make_grid((40, 64, 64), (3.0, 4.0, 4.0), (0.0, 0.0, 60.0)))
    assert trust_shared_frame(_make_fixed(), upper).overlap == pytest.approx(0.5, abs=0.05)


def _read(folder: Path) -> Volume:
    return assemble_volume([dcmread(path) for path in sorted(folder.glob("*.dcm"))])


def _read_truth(real_data: Path, name: str) -> RigidMotion:
    truth = json.loads((real_data / "aanlib" / "truth.json").read_text())
    return RigidMotion(np.array(truth[name]["moving_from_fixed_lps_mm"]))


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(("name", "modality"), [("pet_axial", "pt"), ("spect_a", "nm"), ("pet_hybrid", "pt")])
def test_real_brains_agree_with_the_atlas(real_data: Path, name: str, modality: str) -> None:
    fixed, moving = (_read(real_data / "aanlib" / name / part) for part in ("mr", modality))
    estimate = require_plausible(estimate_motion(fixed, moving, PRESET), **LIMITS)
    error_mm = measure_error_mm(estimate.motion, _read_truth(real_data, name), fixed.grid.centre_mm)
    assert error_mm < 5, "the atlas itself is good to about 3 mm"


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_pair_is_registered_alike_from_many_starts(real_data: Path) -> None:
    fixed, moving = (_read(real_data / "aanlib" / "spect_a" / part) for part in ("mr", "nm"))
    reference = estimate_motion(fixed, moving, PRESET).motion.moving_from_fixed
    chance = np.random.default_rng(7)
    for _ in range(10):
        posed = make_motion(tuple(chance.uniform(-12, 12, 3)), tuple(chance.uniform(-150, 150, 3)))
        grid = Grid(moving.grid.shape, posed.moving_from_fixed @ moving.grid.patient_from_index)
        again = Volume(moving.voxels, grid, moving.unit, "1.2", "1.3")
        found = posed.fixed_from_moving @ estimate_motion(fixed, again, PRESET).motion.moving_from_fixed
        assert measure_error_mm(RigidMotion(found), RigidMotion(reference), fixed.grid.centre_mm) < 0.3
