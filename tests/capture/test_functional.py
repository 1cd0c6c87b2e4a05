from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.pixels.processing import apply_windowing

from fusionnode.capture.functional import (
    choose_slope,
    describe_series_of,
    fill_window,
    find_functional,
    put_on_clock,
    store_values,
)
from tests.support.captures import Scene, make_request, make_scene, make_scene_with, with_uptake

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


def describe(scene: Scene, offset: str = "") -> Dataset:
    request = with_uptake(make_request(scene), scale=1e-4)
    said = Dataset()
    for keyword in ("Modality", "PatientWeight", "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime"):
        said[keyword] = scene.moving[0][keyword]
    put_on_clock(request, offset, said)
    return describe_series_of(request, said, offset, "PET")


def test_weight_and_size_are_those_of_the_functional_scan_and_never_the_mris() -> None:
    scene = make_scene_with("fixed", PatientWeight="81.5", PatientSize="1.9", PatientAge="050Y")
    ds = describe(scene)
    assert ds.PatientWeight == 70
    assert not {"PatientSize", "PatientAge"} & {element.keyword for element in ds}


@pytest.mark.parametrize(
    ("fixed", "moving", "shown", "series_time"),
    [
        ("+0100", "+0100", "+0100", "100200.00"),
        ("+0200", "+0100", "+0200", "110200.00"),
        ("", "+0100", "", "100200.00"),
        ("+0200", "", "", "100200.00"),
        ("", "", "", "100200.00"),
    ],
)
def test_study_and_scan_are_told_by_one_clock_the_mris_where_both_are_known(
    fixed: str, moving: str, shown: str, series_time: str
) -> None:
    scene = make_scene()
    for ds in scene.fixed:
        ds.TimezoneOffsetFromUTC = fixed
    ds = describe(scene, moving)
    assert ds.get("TimezoneOffsetFromUTC", "") == shown
    assert (ds.StudyDate, ds.StudyTime) == (scene.fixed[0].StudyDate, scene.fixed[0].StudyTime)
    assert (ds.SeriesDate, ds.SeriesTime) == ("20240305", series_time)
    # The job's moment, 23:30 in UTC, by the clock of the object; where it states none, by that of its times.
    hours = int((shown or moving or "+0000")[1:3])
    assert ds.ContentTime.startswith(f"{(23 + hours) % 24:02d}30")


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
