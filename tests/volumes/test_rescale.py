import numpy as np
import pytest
from pydicom import Dataset

from fusionnode.domain.terms import Unit
from fusionnode.errors import DatasetUnreadable, UnitUnusable
from fusionnode.volumes.nm import read_nm_planes
from fusionnode.volumes.planes import Plane, read_plane
from fusionnode.volumes.rescale import Scale, choose_scale, rescale_planes
from tests.support.datasets import Layout, Uptake, make_mr_series, make_nm_recon, make_phantom, make_pt_series

PLAIN = Scale(Unit.ARBITRARY)


def _read(datasets: list[Dataset]) -> list[Plane]:
    return [read_plane(ds) for ds in datasets]


def test_every_slice_is_rescaled_by_its_own_slope() -> None:
    wanted = make_phantom((12, 32, 24), seed=3, peak=20000)
    datasets = make_pt_series(voxels=wanted)
    slopes = np.asarray([float(ds.RescaleSlope) for ds in datasets])
    assert len(set(slopes)) > 6
    voxels = rescale_planes(_read(datasets), Scale(Unit.BQML))
    assert voxels.dtype == np.float32
    assert (np.abs(voxels - wanted) <= slopes[:, None, None] * 0.501 + 1e-3).all()


def test_factor_multiplies_after_slope_and_intercept() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.RescaleSlope, ds.RescaleIntercept = "0.5", "-3"
    voxels = rescale_planes(_read(datasets), Scale(Unit.ARBITRARY, 4.0))
    np.testing.assert_array_equal(voxels, (make_phantom((12, 32, 24)) * 0.5 - 3) * 4)


def test_float32_is_rounded_once_from_float64() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.RescaleSlope, ds.RescaleIntercept = "0.1", "1000000"
    expected = (make_phantom((12, 32, 24)).astype(np.float64) * 0.1 + 1e6).astype(np.float32)
    np.testing.assert_array_equal(rescale_planes(_read(datasets), PLAIN), expected)


def test_padding_becomes_zero() -> None:
    datasets = make_pt_series(Layout(slices=2))
    for ds in datasets:
        ds.PixelData = np.where(np.eye(32, 24), -32768, 5).astype("<i2").tobytes()
        ds.RescaleSlope, ds.PixelPaddingValue = "2", -32768
    voxels = rescale_planes(_read(datasets), PLAIN)
    np.testing.assert_array_equal(voxels[0], np.where(np.eye(32, 24), 0, 10))


@pytest.mark.parametrize(
    ("units", "suv_type", "expected"),
    [
        ("BQML", "", Unit.SUVBW),
        ("GML", "", Unit.SUVBW),
        ("GML", "BW", Unit.SUVBW),
        ("GML", "LBM", Unit.ARBITRARY),
        ("CNTS", "", Unit.CNTS),
        ("PROPCPS", "", Unit.PROPCPS),
        ("1CM", "", Unit.ARBITRARY),
    ],
)
def test_pet_units(units: str, suv_type: str, expected: Unit) -> None:
    scale = choose_scale(_read(make_pt_series(uptake=Uptake(units=units, suv_type=suv_type))))
    assert scale.unit is expected
    assert (scale.factor == 1.0) == (units != "BQML")
    assert bool(scale.notes) == (expected is not Unit.SUVBW)


@pytest.mark.parametrize("units", ["CNTS", "PROPCPS"])
def test_counts_say_that_they_are_counts_and_why_there_is_no_suv(units: str) -> None:
    scale = choose_scale(_read(make_pt_series(uptake=Uptake(units=units))))
    assert scale.notes == (f"SUV not computed: Units are {units}.",)


def test_bqml_without_weight_stays_bqml_and_says_why() -> None:
    scale = choose_scale(_read(make_pt_series(uptake=Uptake(weight_kg=None))))
    assert (scale.unit, scale.factor) == (Unit.BQML, 1.0)
    assert scale.notes == ("SUV not computed: PatientWeight is missing.",)


def test_mr_is_arbitrary_and_spect_is_counts() -> None:
    assert choose_scale(_read(make_mr_series())) == Scale(Unit.ARBITRARY)
    assert choose_scale(read_nm_planes(make_nm_recon())) == Scale(Unit.CNTS)


def test_pet_slice_without_slope_is_refused_by_name() -> None:
    datasets = make_pt_series()
    del datasets[4].RescaleSlope
    with pytest.raises(UnitUnusable) as refusal:
        choose_scale(_read(datasets))
    assert refusal.value.facts["instances"] == (datasets[4].SOPInstanceUID,)


def test_mr_whose_slices_are_scaled_only_in_part_is_refused_by_name() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.RescaleSlope, ds.RescaleIntercept = "2", "0"
    del datasets[4].RescaleSlope
    with pytest.raises(UnitUnusable, match="1 of 12 slices") as refusal:
        choose_scale(_read(datasets))
    assert refusal.value.facts["instances"] == (datasets[4].SOPInstanceUID,)


def test_mr_slices_without_a_slope_agree_with_those_whose_slope_changes_nothing() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
    del datasets[4].RescaleSlope
    assert choose_scale(_read(datasets)) == Scale(Unit.ARBITRARY)


def test_pet_without_units_is_refused() -> None:
    with pytest.raises(UnitUnusable, match="Units"):
        choose_scale(_read(make_pt_series(uptake=Uptake(units=""))))


@pytest.mark.parametrize("slope", ["0", "1e38"])
def test_impossible_slope_is_refused(slope: str) -> None:
    datasets = make_mr_series()
    datasets[5].RescaleSlope = slope
    with pytest.raises(UnitUnusable):
        rescale_planes(_read(datasets), PLAIN)


def test_volume_beyond_all_need_is_refused_before_anything_is_decoded() -> None:
    datasets = make_mr_series(Layout(slices=2))
    for ds in datasets:
        ds.Rows = ds.Columns = 30000
    with pytest.raises(DatasetUnreadable, match="larger than is ever needed"):
        rescale_planes(_read(datasets), PLAIN)
