"""The guards must see what the metrics reward by mistake."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fusionnode.evaluation.guards import (
    Brightness,
    measure_brightness,
    measure_flicker,
    measure_guards,
    measure_readback,
)
from fusionnode.evaluation.metrics import measure_metrics
from fusionnode.fusion.colour import luminance
from tests.support.pictures import colour, make_grey, make_uptake

Picture = NDArray[np.uint8]
_FIXED = make_grey()
_MOVING = np.rint(luminance(colour(make_uptake())) * 255).astype(np.uint8)
_MAXIMUM = np.maximum(_FIXED, _MOVING)
_SUM = np.minimum(_FIXED.astype(int) + _MOVING, 255).astype(np.uint8)


def test_a_clipped_sum_games_the_deviation_and_saturation_sees_it() -> None:
    honest, clipped = (measure_metrics(_FIXED, _MOVING, fused) for fused in (_MAXIMUM, _SUM))
    assert clipped["SD"] > honest["SD"]
    assert clipped["SCD"] > honest["SCD"]
    expected = ((_FIXED.astype(int) + _MOVING >= 255) & (_FIXED < 255) & (_MOVING < 255)).mean()
    assert expected > 0.02
    assert measure_guards(_FIXED, _MOVING, _SUM)["saturation"] == expected
    assert measure_guards(_FIXED, _MOVING, _MAXIMUM)["saturation"] == 0


def test_what_is_clipped_in_a_source_already_is_not_the_fuser_s_doing() -> None:
    fixed = np.where(_FIXED > 150, 255, _FIXED).astype(np.uint8)
    assert measure_guards(fixed, _MOVING, np.maximum(fixed, _MOVING))["saturation"] == 0
    # Tissue made black is clipped as well.
    crushed = np.where((fixed > 0) & (_MOVING > 0), 0, 90).astype(np.uint8)
    assert measure_guards(fixed, _MOVING, crushed)["saturation"] == ((fixed > 0) & (_MOVING > 0)).mean()


def test_sharpening_games_the_gradient_and_gain_sees_it() -> None:
    blurred = (_FIXED // 2 + np.roll(_FIXED, 1, axis=1) // 2).astype(np.uint8)
    sharpened = np.clip(_FIXED + 2.0 * (_FIXED.astype(float) - blurred), 0, 255).astype(np.uint8)
    guards = measure_guards(_FIXED, _MOVING, sharpened)
    assert guards["gain"] > 1.1
    assert measure_guards(_FIXED, _MOVING, _FIXED)["ag_ratio"] == 1


def test_gain_is_relative_to_the_sharper_source_and_ag_ratio_to_the_mri() -> None:
    guards = measure_guards(_MOVING, _FIXED, _FIXED)
    assert guards["gain"] == 1
    assert guards["ag_ratio"] > 1


def test_noise_in_the_dark_games_the_entropy_and_haze_sees_it() -> None:
    dark = (_FIXED <= 4) & (_MOVING <= 4)
    noise = np.random.default_rng(0).integers(0, 30, dark.shape)
    hazy = np.where(dark, noise, _MAXIMUM).astype(np.uint8)
    assert measure_metrics(_FIXED, _MOVING, hazy)["EN"] > measure_metrics(_FIXED, _MOVING, _MAXIMUM)["EN"]
    assert measure_guards(_FIXED, _MOVING, hazy)["haze"] == pytest.approx(noise[dark].mean())
    assert measure_guards(_FIXED, _MOVING, _MAXIMUM)["haze"] < 1


def test_without_background_there_is_no_haze() -> None:
    assert measure_guards(_FIXED | 8, _MOVING, _FIXED | 8)["haze"] == 0


def test_anatomy_written_over_uptake_lowers_ccf() -> None:
    ccf = [measure_guards(_FIXED, _MOVING, fused)["CCf"] for fused in (_FIXED, _MAXIMUM, _MOVING)]
    assert ccf[0] < ccf[1] < ccf[2] == pytest.approx(1)


def test_an_mri_of_one_grey_cannot_be_compared_with() -> None:
    with pytest.raises(ValueError, match="all one grey"):
        measure_guards(np.full_like(_FIXED, 9), _MOVING, _MOVING)


def test_readback_is_the_correlation_with_the_truth() -> None:
    truth = make_uptake().astype(np.float32)
    assert measure_readback(truth * 0.5, truth) == pytest.approx(1)
    assert measure_readback(np.zeros_like(truth), truth) == 0
    assert 0.5 < measure_readback(np.minimum(truth, 0.3), truth) < 0.97


def test_brightness_is_the_mean_grey_of_each() -> None:
    assert measure_brightness(_FIXED, _MOVING, _SUM) == Brightness(_FIXED.mean(), _MOVING.mean(), _SUM.mean())


def test_the_average_never_flickers_more_than_its_sources() -> None:
    levels = np.random.default_rng(1).uniform(0, 200, (20, 2))
    run = [Brightness(fixed, moving, (fixed + moving) / 2) for fixed, moving in levels]
    flicker = measure_flicker([run])
    assert flicker is not None
    assert 0 < flicker <= 1
    added = [Brightness(one.fixed, one.moving, one.fixed + one.moving) for one in run]
    assert measure_flicker([added]) == pytest.approx(2 * flicker)


def test_brightness_that_jumps_between_steady_slices_is_seen() -> None:
    run = [Brightness(50 + step, 80 + step, 60 + step + 5 * (step % 2)) for step in range(10)]
    flicker = measure_flicker([run])
    assert flicker is not None
    assert flicker > 4


def test_flicker_is_not_measured_across_gaps() -> None:
    steady = [[Brightness(level + step, level, level + step) for step in (0, 1)] for level in (10.0, 200.0)]
    assert measure_flicker(steady) == pytest.approx(2)
    assert measure_flicker([run[:1] for run in steady]) is None
    assert measure_flicker([]) is None
    assert measure_flicker([[Brightness(1, 1, 1), Brightness(1, 1, 9)]]) is None
