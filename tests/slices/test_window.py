import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydicom import dcmread

from fusionnode.domain.images import Window
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Voxels
from fusionnode.errors import ContrastMissing
from fusionnode.slices.window import apply_window, choose_window, find_threshold
from fusionnode.volumes.assemble import assemble_volume
from tests.support.datasets import make_phantom

VOXELS = arrays(np.float32, (3, 4, 5), elements=st.floats(-1e6, 1e6, width=32))


def _make_head(air_share: float, seed: int = 0) -> Voxels:
    """Tissue from 200 to 1500 within noisy air (Rayleigh, mode 5); the first slices are the head."""
    chance = np.random.default_rng(seed)
    voxels = chance.rayleigh(5, (50, 40, 40))
    inside = voxels[: max(1, round(50 * (1 - air_share)))]
    inside[:] = chance.uniform(200, 1500, inside.shape)
    return voxels.astype(np.float32)


@given(VOXELS, st.sampled_from(list(Unit)), st.floats(0, 50), st.floats(51, 100))
def test_window_rises_and_pictures_stay_within_range(voxels: Voxels, unit: Unit, low: float, high: float) -> None:
    try:
        window = choose_window(voxels, unit, low, high)
    except ContrastMissing:
        assert np.ptp(voxels) == 0 or (unit is not Unit.ARBITRARY and voxels.max() <= 0)
        return
    assert window.low < window.high
    stack = apply_window(voxels, window)
    assert stack.dtype == np.float32
    assert stack.shape == voxels.shape
    assert stack.min() >= 0
    assert stack.max() <= 1


@given(st.integers(-10, 10), st.sampled_from([Unit.ARBITRARY, Unit.SUVBW]))
def test_window_scales_with_the_voxels(power: int, unit: Unit) -> None:
    voxels = make_phantom((6, 20, 20))
    plain, scaled = (choose_window(voxels * np.float32(scale), unit, 1, 99) for scale in (1, 2.0**power))
    assert scaled.low == pytest.approx(plain.low * 2.0**power)
    assert scaled.high == pytest.approx(plain.high * 2.0**power)


@pytest.mark.parametrize("air_share", [0.1, 0.5, 0.9, 0.98])
def test_threshold_parts_air_from_tissue_however_much_air_there_is(air_share: float) -> None:
    assert 20 < find_threshold(_make_head(air_share).ravel(), 0.0) <= 250


@pytest.mark.parametrize("air_share", [0.3, 0.6, 0.9, 0.98])
def test_window_does_not_depend_on_how_much_air_there_is(air_share: float) -> None:
    window = choose_window(_make_head(air_share), Unit.ARBITRARY, 1.0, 99.5)
    assert window.low == pytest.approx(213, abs=15)
    assert window.high == pytest.approx(1493, abs=10)


@given(VOXELS, arrays(np.bool_, (3, 4, 5)))
def test_what_lies_outside_the_mask_or_is_not_finite_does_not_count(voxels: Voxels, within: NDArray[np.bool_]) -> None:
    outside = np.where(within, voxels, np.float32(np.inf))
    try:
        expected = choose_window(voxels[within], Unit.ARBITRARY, 1, 99)
    except ContrastMissing:
        with pytest.raises(ContrastMissing):
            choose_window(outside, Unit.ARBITRARY, 1, 99, within=within)
        return
    assert choose_window(outside, Unit.ARBITRARY, 1, 99, within=within) == expected
    assert choose_window(outside, Unit.ARBITRARY, 1, 99) == expected


def test_windowing_takes_no_second_copy_of_a_volume_in_double_precision() -> None:
    voxels = np.random.default_rng(0).rayleigh(50, (8, 512, 512)).astype(np.float32)
    tracemalloc.start()
    try:
        apply_window(voxels, choose_window(voxels, Unit.ARBITRARY, 1, 99))
        assert tracemalloc.get_traced_memory()[1] < 8 * voxels.nbytes
        tracemalloc.reset_peak()
        apply_window(voxels, Window(0, 1, Unit.ARBITRARY))
        assert tracemalloc.get_traced_memory()[1] < 3 * voxels.nbytes
    finally:
        tracemalloc.stop()


def test_volume_without_air_keeps_its_dark_tissue() -> None:
    voxels = np.random.default_rng(0).uniform(300, 1000, (10, 20, 20)).astype(np.float32)
    assert choose_window(voxels, Unit.ARBITRARY, 1.0, 99.5).low < 320


def test_single_hot_voxel_does_not_darken_the_rest() -> None:
    voxels = _make_head(0.6)
    plain = choose_window(voxels, Unit.ARBITRARY, 1.0, 99.5)
    voxels[0, 0, 0] = 100_000
    hot = choose_window(voxels, Unit.ARBITRARY, 1.0, 99.5)
    assert hot.high == pytest.approx(plain.high, rel=0.01)
    assert hot.low == pytest.approx(plain.low, rel=0.1)


def test_no_uptake_is_black() -> None:
    window = choose_window(make_phantom((6, 20, 20)) + 3, Unit.SUVBW, 0.0, 99.8)
    assert (window.low, window.unit) == (0.0, Unit.SUVBW)


@given(VOXELS, st.floats(0, 1e7))
def test_the_high_end_of_uptake_never_falls_below_the_least(voxels: Voxels, least: float) -> None:
    if voxels.max() <= 0 or np.ptp(voxels) == 0:
        return
    plain, held = (choose_window(voxels, Unit.SUVBW, 0, 99, least_high=value) for value in (0.0, least))
    assert held == Window(plain.low, max(plain.high, least), Unit.SUVBW)
    assert choose_window(voxels, Unit.ARBITRARY, 1, 99, least) == choose_window(voxels, Unit.ARBITRARY, 1, 99)


def test_uptake_of_one_value_runs_from_zero() -> None:
    voxels = np.zeros((3, 4, 5), np.float32)
    voxels[1] = 7
    assert choose_window(voxels, Unit.CNTS, 5, 95) == Window(0.0, 7.0, Unit.CNTS)


def test_negative_mri_values_are_kept_apart() -> None:
    voxels = make_phantom((6, 20, 20))
    shifted = choose_window(voxels - 500, Unit.ARBITRARY, 1, 99)
    plain = choose_window(voxels, Unit.ARBITRARY, 1, 99)
    assert (shifted.low + 500, shifted.high + 500) == pytest.approx((plain.low, plain.high))


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, np.nan])
@pytest.mark.parametrize("unit", [Unit.ARBITRARY, Unit.SUVBW])
def test_constant_volume_is_refused(value: float, unit: Unit) -> None:
    with pytest.raises(ContrastMissing):
        choose_window(np.full((3, 4, 5), value, np.float32), unit, 1, 99)


def test_negative_uptake_alone_is_refused() -> None:
    with pytest.raises(ContrastMissing):
        choose_window(-make_phantom((6, 20, 20)), Unit.SUVBW, 0, 99)


@pytest.mark.parametrize(("low", "high"), [(50, 50), (-1, 99), (1, 101), (99, 1)])
def test_percentiles_must_rise(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="percentiles"):
        choose_window(make_phantom((6, 20, 20)), Unit.ARBITRARY, low, high)


def test_not_a_number_is_black_and_infinity_is_clipped() -> None:
    voxels = np.asarray([[[np.nan, np.inf, -np.inf, 1, 2, 3]]], np.float32)
    stack = apply_window(voxels, Window(1.0, 3.0, Unit.SUVBW))
    assert stack.tolist() == [[[0, 1, 0, 0, 0.5, 1]]]


def test_not_a_number_does_not_move_the_window() -> None:
    voxels = make_phantom((6, 20, 20))
    holed = np.concatenate([voxels, np.full((1, 20, 20), np.nan, np.float32)])
    assert choose_window(holed, Unit.SUVBW, 1, 99) == choose_window(voxels, Unit.SUVBW, 1, 99)


@pytest.mark.real_data
@pytest.mark.parametrize("series", ["aanlib/pet_axial/mr", "aanlib/pet_axial/pt", "aanlib/spect_a/nm"])
def test_real_heads_fill_the_range(real_data: Path, series: str) -> None:
    volume = assemble_volume([dcmread(path) for path in (real_data / series).glob("*.dcm")])
    stack = apply_window(volume.voxels, choose_window(volume.voxels, volume.unit, 0.0, 99.8))
    assert (stack[:, :8, :8] < 0.05).all()
    assert 0.2 < stack[stack > 0.05].mean() < 0.7
