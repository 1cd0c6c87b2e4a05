"""An enhanced PET object says the same as the classic images it could have been, or it is told what it cannot."""

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pytest
from pydicom import Dataset

from fusionnode.capture.enhanced_pet import read_enhanced
from fusionnode.capture.pet_facts import PetFacts, PetUndescribed, complete_facts, read_classic
from fusionnode.capture.resampled import explain_absence
from fusionnode.capture.resampled_pet import gather_pet
from fusionnode.domain.volume import SourceFrame
from fusionnode.volumes.assemble import assemble_volume
from tests.support.captures import make_sources
from tests.support.datasets import Layout, Uptake, make_pt_series
from tests.support.enhanced import make_enhanced_pet, wrap

LAYOUT = Layout(slices=3, rows=4, columns=4)
Change = Callable[[Dataset], None]


def make_classic(**uptake: object) -> list[Dataset]:
    datasets = make_pt_series(LAYOUT, uptake=Uptake(**uptake))  # type: ignore[arg-type]
    for index, ds in enumerate(datasets):
        ds.AcquisitionTime, ds.FrameReferenceTime = f"10{2 + index:02d}00.00", str(60_000 * index + 250)
        ds.DecayFactor, ds.ActualFrameDuration = f"1.0{index}", str(60_000 + index)
    return datasets


def read(ds: Dataset) -> PetFacts:
    facts = read_enhanced(lambda _: ds, make_sources([ds]))
    complete_facts(facts)
    return facts


def test_it_says_what_the_classic_images_say() -> None:
    datasets = make_classic()
    headers = {str(ds.SOPInstanceUID): ds for ds in datasets}
    classic = read_classic(lambda source: headers[source.sop_instance_uid], make_sources(datasets))
    enhanced = read(make_enhanced_pet(datasets))
    for keyword in ("Units", "CountsSource", "DecayCorrection", "SeriesDate", "SeriesTime", "PatientWeight"):
        assert enhanced.series[keyword].value == classic.series[keyword].value, keyword
    assert sorted(enhanced.series.CorrectedImage) == sorted(classic.series.CorrectedImage)
    [drug], [same] = (facts.series.RadiopharmaceuticalInformationSequence for facts in (classic, enhanced))
    for keyword in ("RadionuclideTotalDose", "RadionuclideHalfLife", "RadiopharmaceuticalStartTime"):
        assert drug[keyword].value == same[keyword].value, keyword
    for one, other in zip(classic.slices.values(), enhanced.slices.values(), strict=True):
        for keyword in ("FrameReferenceTime", "DecayFactor", "ActualFrameDuration"):
            assert float(one[keyword].value) == pytest.approx(float(other[keyword].value)), keyword
        for keyword in ("AcquisitionDate", "AcquisitionTime", "ImagePositionPatient", "PixelSpacing", "Rows"):
            assert one[keyword].value == other[keyword].value, keyword


def test_the_unit_is_the_one_in_which_its_values_are_read() -> None:
    for units in ("BQML", "GML", "CNTS"):
        assert read(make_enhanced_pet(make_classic(units=units))).series.Units == units
    ds = make_enhanced_pet(make_classic())
    for frame in ds.PerFrameFunctionalGroupsSequence:
        code = wrap(CodeValue="g/ml{SUVlbm}", CodingSchemeDesignator="UCUM", CodeMeaning="SUV")
        frame.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence = code
    series = read(ds).series
    assert (series.Units, series.SUVType) == ("GML", "LBM")
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.PixelValueTransformationSequence[0].RescaleType = "PROPCPS"
    assert read(ds).series.Units == "PROPCPS"
    assert assemble_volume([ds]).unit == "PROPCPS"


def set_correction(text: str) -> Change:
    return lambda ds: setattr(ds, "DecayCorrectionDateTime", text)


def set_unit(ds: Dataset) -> None:
    for frame in ds.PerFrameFunctionalGroupsSequence:
        code = wrap(CodeValue="{furlongs}", CodingSchemeDesignator="UCUM", CodeMeaning="furlongs")
        frame.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence = code


def leave_out_moments(ds: Dataset) -> None:
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.FrameContentSequence[0].FrameAcquisitionDateTime, frame.FrameContentSequence[0].FrameReferenceDateTime


def mix_offsets(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[1].FrameContentSequence[0].FrameAcquisitionDateTime += "+0100"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_unit, "unit"),
        (set_correction("20240305100300"), "after its first frame"),
        (set_correction(""), "Decay Correction"),
        (leave_out_moments, "Frame Reference Time"),
        (mix_offsets, "offsets from UTC"),
    ],
)
def test_what_classic_images_have_no_words_for_is_named(change: Change, told: str) -> None:
    ds = make_enhanced_pet(make_classic())
    change(ds)
    with pytest.raises(PetUndescribed, match=told):
        read(ds)
    sentence = explain_absence(lambda _: ds, make_sources([ds]))
    assert sentence.startswith("No resampled series was written: ")
    assert sentence.endswith(".")


def test_corrected_to_the_injection_is_corrected_to_the_administration() -> None:
    ds = make_enhanced_pet(make_classic())
    ds.DecayCorrectionDateTime = ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime
    facts = read(ds)
    assert (facts.series.DecayCorrection, facts.series.SeriesTime) == ("ADMIN", "100200.00")
    ds.DecayCorrected = "NO"
    assert read(ds).series.DecayCorrection == "NONE"


def add_offset(ds: Dataset, hours: int) -> None:
    """Tell every moment by another clock, and say by which."""

    def move(text: str) -> str:
        moved = datetime.strptime(f"{text[:14]}+0000", "%Y%m%d%H%M%S%z") + timedelta(hours=hours)
        return f"{moved:%Y%m%d%H%M%S}{text[14:]}+{hours:02d}00"

    [drug] = ds.RadiopharmaceuticalInformationSequence
    drug.RadiopharmaceuticalStartDateTime = move(drug.RadiopharmaceuticalStartDateTime)
    ds.DecayCorrectionDateTime = move(ds.DecayCorrectionDateTime)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
            setattr(frame.FrameContentSequence[0], keyword, move(frame.FrameContentSequence[0][keyword].value))


@pytest.mark.parametrize("stated", [True, False])
def test_moments_that_state_their_offset_are_told_by_the_clock_of_the_object_or_their_own(stated: bool) -> None:
    plain, moved = (make_enhanced_pet(make_classic()) for _ in range(2))
    add_offset(moved, 3)
    if stated:
        moved.TimezoneOffsetFromUTC = "+0000"
    one, other = read(plain), read(moved)
    assert other.offset == ("+0000" if stated else "+0300")
    assert other.series.SeriesTime == ("100200.00" if stated else "130200.00")
    drugs = [facts.series.RadiopharmaceuticalInformationSequence[0] for facts in (one, other)]
    waits = [
        int(facts.series.SeriesTime[:2]) - int(drug.RadiopharmaceuticalStartTime[:2])
        for facts, drug in zip((one, other), drugs, strict=True)
    ]
    assert waits[0] == waits[1]
    times = [[float(slice_.FrameReferenceTime) for slice_ in facts.slices.values()] for facts in (one, other)]
    np.testing.assert_allclose(*times)


def test_which_words_are_read_is_told_by_the_class() -> None:
    datasets = make_classic()
    ds = make_enhanced_pet(datasets)
    assert len(gather_pet(lambda _: ds, make_sources([ds])).slices) == 3
    source = SourceFrame(str(datasets[0].SOPClassUID), str(datasets[0].SOPInstanceUID))
    assert len(gather_pet(lambda _: datasets[0], [source]).slices) == 1
