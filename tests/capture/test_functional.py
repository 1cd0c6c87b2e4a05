from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing

from fusionnode.capture.functional import choose_slope, describe_series_of, fill_window, find_functional, store_values
from tests.support.captures import make_request, make_scene, make_scene_with, with_uptake

FULL = np.dtype(np.int16)
VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20)


@given(VALUES)
def test_a_stored_value_is_off_by_half_a_step_at_most_and_never_beyond_its_field(values: list[float]) -> None:
    array = np.asarray(values, np.float32)
    slope = choose_slope(array, 32767)
    assert len(slope) <= 16
    stored = store_values(array, float(slope), FULL)
    assert np.abs(stored.astype(np.float64) * float(slope) - array).max() <= float(slope) / 2 * (1 + 1e-6)
    assert np.abs(stored.astype(int)).max() <= 32767


@pytest.mark.parametrize("peak", [1e-12, 3e-5, 1.0, 65535.0, 3.4e38])
def test_the_whole_field_is_used(peak: float) -> None:
    array = np.asarray([peak], np.float32)
    assert store_values(array, float(choose_slope(array, 32767)), FULL)[0] == 32767


def test_nothing_at_all_has_a_slope_of_one() -> None:
    assert choose_slope(np.zeros(3, np.float32), 32767) == "1"


def describe(**values: object) -> object:
    request = with_uptake(make_request(make_scene_with("moving", **values)))
    return describe_series_of(request, find_functional(request)[0], "PET")


def test_weight_and_size_are_those_of_the_functional_scan_and_never_the_mris() -> None:
    scene = make_scene_with("fixed", PatientWeight="81.5", PatientSize="1.9")
    for ds in scene.moving:
        del ds.PatientWeight
    request = with_uptake(make_request(scene))
    ds = describe_series_of(request, find_functional(request)[0], "PET")
    assert "PatientWeight" not in ds
    assert "PatientSize" not in ds
    assert describe(PatientWeight="64").PatientWeight == 64  # type: ignore[attr-defined]


def test_a_series_dated_by_its_reconstruction_gets_the_moment_of_its_first_acquisition() -> None:
    scene = make_scene_with("moving", SeriesTime="235500")
    scene.moving[3].AcquisitionTime = "094500"
    request = with_uptake(make_request(scene))
    ds = describe_series_of(request, find_functional(request)[0], "PET")
    assert (ds.SeriesDate, ds.SeriesTime) == ("20240305", "094500")


def test_a_series_dated_before_its_acquisition_keeps_its_own_moment() -> None:
    ds = describe(SeriesTime="093000")
    assert ds.SeriesTime == "093000"  # type: ignore[attr-defined]


def test_moments_are_on_the_clock_of_the_functional_scanner() -> None:
    ds = describe(TimezoneOffsetFromUTC="+0200")
    assert ds.TimezoneOffsetFromUTC == "+0200"  # type: ignore[attr-defined]
    assert ds.ContentTime.startswith("0130")  # type: ignore[attr-defined]


@pytest.mark.parametrize("units", ["GML", "BQML"])
def test_a_viewer_shows_the_window_of_the_fused_pictures(units: str) -> None:
    request = with_uptake(make_request(make_scene_with("moving", Units=units)), scale=1 if units == "GML" else 1e-3)
    window, ds = request.prepared.moving_window, Dataset()
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 16, 1
    fill_window(ds, request)
    shown = np.linspace(window.low, window.high, 5) / request.prepared.moving_scale
    levels = apply_windowing(shown, ds)
    np.testing.assert_allclose((levels - levels[0]) / 65535, np.linspace(0, 1, 5), atol=1e-6)


def test_values_that_were_not_kept_are_a_defect() -> None:
    request = with_uptake(make_request(make_scene("NM")))
    with pytest.raises(ValueError, match="its values"):
        find_functional(replace(request, prepared=replace(request.prepared, uptake=None)))
