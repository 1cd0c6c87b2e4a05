from collections.abc import Callable

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.uid import EnhancedPETImageStorage

from fusionnode.volumes.suv import SuvFactor, measure_suv
from tests.support.datasets import Layout, Uptake, make_pt_series

LAYOUT = Layout(slices=2, rows=4, columns=4)
HALF_LIFE_SECONDS = 6586.2


def _make(uptake: Uptake) -> list[Dataset]:
    return make_pt_series(LAYOUT, uptake=uptake)


def _expect(waited_seconds: float) -> float:
    return 70_000 / (185e6 * 0.5 ** (waited_seconds / HALF_LIFE_SECONDS))


def test_dose_decays_from_injection_to_the_start_of_the_series() -> None:
    found = measure_suv(_make(Uptake(injection_time="091700.00", series_time="100200.00")))
    assert found.factor == pytest.approx(_expect(45 * 60), rel=1e-12)
    assert found.note == ""


@pytest.mark.parametrize("keyword", ["SeriesDate", "SeriesTime", "AcquisitionDate"])
def test_a_moment_of_an_impossible_representation_makes_no_suv(keyword: str) -> None:
    datasets = _make(Uptake())
    for ds in datasets:
        raw = ds[keyword].value.encode()
        tag = ds[keyword].tag
        ds[tag] = RawDataElement(tag, "U4", len(raw), raw, 0, False, True)
    assert measure_suv(datasets) == SuvFactor(None, f"{keyword} is malformed")


def test_one_half_life_doubles_the_factor() -> None:
    early = measure_suv(_make(Uptake(injection_time="100000", series_time="100000", half_life_seconds=3600)))
    late = measure_suv(_make(Uptake(injection_time="090000", series_time="100000", half_life_seconds=3600)))
    assert early.factor == pytest.approx(70_000 / 185e6)
    assert late.factor == pytest.approx(2 * 70_000 / 185e6)


def test_values_corrected_to_administration_need_no_times() -> None:
    found = measure_suv(_make(Uptake(decay_correction="ADMIN", injection_time="")))
    assert found.factor == pytest.approx(70_000 / 185e6)


def test_injection_before_midnight() -> None:
    found = measure_suv(_make(Uptake(injection_time="235000", series_time="002000", acquisition_time="002000")))
    assert found.factor == pytest.approx(_expect(30 * 60))


def test_injection_datetime_outranks_the_time_of_day() -> None:
    uptake = Uptake(injection_time="010000", injection_datetime="20240305093200.00")
    assert measure_suv(_make(uptake)).factor == pytest.approx(_expect(30 * 60))


def _set_offset(datasets: list[Dataset], offset: str) -> list[Dataset]:
    for ds in datasets:
        ds.TimezoneOffsetFromUTC = offset
    return datasets


@pytest.mark.parametrize(
    ("injected", "offset"),
    [
        ("20240305093200.00", ""),
        ("20240305093200.00", "+0100"),
        ("20240305093200.00", "unknown"),
        ("20240305093200.00+0100", "+0100"),
        ("20240305083200.00+0000", "+0100"),
        ("20240305143200.00+0000", "-0500"),
        ("20240304223200.00-1000", "+0100"),
    ],
)
def test_one_instant_of_injection_is_one_factor_whatever_its_offset(injected: str, offset: str) -> None:
    datasets = _set_offset(_make(Uptake(injection_datetime=injected)), offset)
    assert measure_suv(datasets).factor == pytest.approx(_expect(30 * 60))


@pytest.mark.parametrize("offset", ["", "unknown", "+2500"])
def test_offset_on_the_injection_alone_leaves_the_unit(offset: str) -> None:
    found = measure_suv(_set_offset(_make(Uptake(injection_datetime="20240305093200.00+0100")), offset))
    assert found.factor is None
    assert "offset from UTC" in found.note


def test_dates_at_the_edge_of_the_calendar_leave_the_unit() -> None:
    ds = _make_enhanced(DecayCorrectionDateTime="00010101000000+0100", TimezoneOffsetFromUTC="+0000")
    ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = ""
    assert measure_suv([ds]) == SuvFactor(None, "a date lies outside the calendar")


def test_slices_of_two_time_zones_leave_the_unit() -> None:
    datasets = _set_offset(_make(Uptake()), "+0100")
    datasets[1].TimezoneOffsetFromUTC = "+0200"
    found = measure_suv(datasets)
    assert (found.factor, found.note) == (None, "the slices differ in TimezoneOffsetFromUTC")


def test_series_stamped_after_the_scan_uses_the_earliest_acquisition_and_says_so() -> None:
    datasets = _make(Uptake(series_time="180000", acquisition_time="101700"))
    datasets[1].AcquisitionTime = "100200"
    found = measure_suv(datasets)
    assert found.factor == pytest.approx(_expect(45 * 60))
    assert "acquisition time" in found.note


@pytest.mark.parametrize(
    ("uptake", "reason"),
    [
        (Uptake(weight_kg=None), "PatientWeight is missing"),
        (Uptake(weight_kg=0), "PatientWeight lies outside 0.3 to 500"),
        (Uptake(weight_kg=70000), "PatientWeight lies outside 0.3 to 500"),
        (Uptake(dose_bq=None), "RadionuclideTotalDose is missing"),
        (Uptake(dose_bq=185), "RadionuclideTotalDose 185"),
        (Uptake(half_life_seconds=None), "RadionuclideHalfLife is missing"),
        (Uptake(half_life_seconds=0), "RadionuclideHalfLife 0"),
        (Uptake(injection_time=""), "RadiopharmaceuticalStartTime is missing"),
        (Uptake(injection_datetime="20240305120000"), "after the scan"),
        (Uptake(injection_datetime="20240301120000"), "half-lives after"),
        (Uptake(decay_correction="NONE"), "DecayCorrection is NONE"),
    ],
)
def test_doubt_leaves_the_unit_and_says_why(uptake: Uptake, reason: str) -> None:
    found = measure_suv(_make(uptake))
    assert found.factor is None
    assert reason in found.note


def _drop_decay(ds: Dataset) -> None:
    ds.CorrectedImage = ["ATTN"]


def _drop_attenuation(ds: Dataset) -> None:
    ds.CorrectedImage = "DECY"


def _drop_drug(ds: Dataset) -> None:
    del ds.RadiopharmaceuticalInformationSequence


def _drop_times(ds: Dataset) -> None:
    ds.SeriesTime = ds.AcquisitionTime = ""


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_drop_decay, "decay was corrected"),
        (_drop_attenuation, "attenuation was corrected"),
        (_drop_drug, "0 radiopharmaceuticals"),
        (_drop_times, "neither series nor acquisition time"),
    ],
)
def test_damaged_header_leaves_the_unit_and_says_why(damage: Callable[[Dataset], None], reason: str) -> None:
    datasets = _make(Uptake())
    for ds in datasets:
        damage(ds)
    found = measure_suv(datasets)
    assert found.factor is None
    assert reason in found.note


def test_whole_body_frames_whose_decay_factors_follow_their_times_are_trusted() -> None:
    datasets = _make(Uptake())
    for minutes, ds in zip((2, 20), datasets, strict=True):
        ds.FrameReferenceTime, ds.ActualFrameDuration = str(minutes * 60_000), "120000"
        ds.DecayFactor = f"{2 ** (minutes * 60 / HALF_LIFE_SECONDS):.6f}"
    assert measure_suv(datasets).factor == pytest.approx(_expect(45 * 60))


def test_frames_corrected_to_their_own_start_leave_the_unit() -> None:
    datasets = _make(Uptake())
    for minutes, ds in zip((2, 20), datasets, strict=True):
        ds.FrameReferenceTime, ds.ActualFrameDuration = str(minutes * 60_000), "120000"
        ds.DecayFactor = "1.006"
    found = measure_suv(datasets)
    assert found.factor is None
    assert "DecayFactor 1.006 does not fit a frame 1200 s into the series" in found.note


@pytest.mark.parametrize(
    "keyword", ["PatientWeight", "RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"]
)
def test_slices_that_disagree_about_the_injection_leave_the_unit(keyword: str) -> None:
    datasets = _make(Uptake())
    place = datasets[1] if keyword == "PatientWeight" else datasets[1].RadiopharmaceuticalInformationSequence[0]
    setattr(place, keyword, "091800" if keyword.endswith("Time") else "71")
    found = measure_suv(datasets)
    assert (found.factor, found.note) == (None, f"the slices differ in {keyword}")


def _make_enhanced(**changes: str) -> Dataset:
    (ds, *_) = _make(Uptake(decay_correction="", injection_datetime="20240305091700.00"))
    ds.SOPClassUID = EnhancedPETImageStorage
    del ds.CorrectedImage
    ds.AttenuationCorrected, ds.DecayCorrected = "YES", "YES"
    ds.DecayCorrectionDateTime = "20240305100200.00"
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def test_enhanced_object_names_the_moment_it_was_corrected_to() -> None:
    assert measure_suv([_make_enhanced()]).factor == pytest.approx(_expect(45 * 60))
    injected = _make_enhanced(DecayCorrectionDateTime="20240305091700.00")
    assert measure_suv([injected]).factor == pytest.approx(_expect(0))


@pytest.mark.parametrize(
    ("corrected", "injected", "offset"),
    [
        ("20240305100200+0100", "20240305081700+0000", ""),
        ("20240305090200+0000", "20240305091700", "+0100"),
        ("20240305100200", "20240305081700+0000", "+0100"),
        ("20240305090200+0000", "", "+0100"),
    ],
)
def test_enhanced_moments_are_compared_in_one_time_zone(corrected: str, injected: str, offset: str) -> None:
    ds = _make_enhanced(DecayCorrectionDateTime=corrected, TimezoneOffsetFromUTC=offset)
    ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = injected
    assert measure_suv([ds]).factor == pytest.approx(_expect(45 * 60))


@pytest.mark.parametrize("injected", ["20240305091700", ""])
def test_enhanced_object_with_one_offset_alone_leaves_the_unit(injected: str) -> None:
    ds = _make_enhanced(DecayCorrectionDateTime="20240305100200+0100")
    ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = injected
    found = measure_suv([ds])
    assert found.factor is None
    assert "offset from UTC" in found.note


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"DecayCorrected": "NO"}, "DecayCorrected is not YES"),
        ({"AttenuationCorrected": "NO"}, "AttenuationCorrected is not YES"),
        ({"DecayCorrectionDateTime": ""}, "DecayCorrectionDateTime is missing"),
    ],
)
def test_enhanced_object_with_doubt_leaves_the_unit(changes: dict[str, str], reason: str) -> None:
    found = measure_suv([_make_enhanced(**changes)])
    assert (found.factor, found.note) == (None, reason)
