"""What a scanner left out is worked out where the rest tells it, and is never guessed."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset
from scipy.integrate import quad
from scipy.optimize import brentq

from fusionnode.capture.pet_facts import PetFacts, PetUndescribed, complete_facts, read_classic
from fusionnode.domain.volume import SourceFrame
from tests.support.datasets import Layout, Uptake, make_pt_series

LAYOUT = Layout(slices=3, rows=4, columns=4)
UPTAKE = Uptake()
HALF_LIFE_SECONDS = 6586.2
Change = Callable[[Dataset], None]


def leave_out(*keywords: str) -> Change:
    def change(ds: Dataset) -> None:
        for keyword in keywords:
            ds.pop(keyword, None)

    return change


def gather(*changes: Change, uptake: Uptake = UPTAKE) -> PetFacts:
    datasets = make_pt_series(LAYOUT, uptake=uptake)
    for ds in datasets:
        for change in changes:
            change(ds)
    headers = {str(ds.SOPInstanceUID): ds for ds in datasets}
    sources = [SourceFrame(str(ds.SOPClassUID), uid) for uid, ds in headers.items()]
    facts = read_classic(lambda source: headers[source.sop_instance_uid], sources)
    complete_facts(facts)
    return facts


def first(facts: PetFacts) -> Dataset:
    return next(iter(facts.slices.values()))


def test_what_the_scanner_says_is_not_touched() -> None:
    facts = gather()
    series = facts.series
    assert (series.CountsSource, series.DecayCorrection, series.Units) == ("EMISSION", "START", "BQML")
    assert (first(facts).FrameReferenceTime, first(facts).DecayFactor) == (0, 1)
    assert (facts.series.SeriesDate, facts.series.SeriesTime, facts.offset) == ("20240305", "100200.00", "")


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (("Units",), "unit"),
        (("DecayCorrection", "CorrectedImage"), "Decay Correction is missing"),
        (("DecayCorrection",), "Decay Correction is missing"),
        (("SeriesDate", "AcquisitionDate"), "when it was acquired"),
        (("FrameReferenceTime", "AcquisitionTime"), "Frame Reference Time"),
        (("DecayFactor", "RadiopharmaceuticalInformationSequence"), "Decay Factor and the half-life"),
    ],
)
def test_what_nothing_tells_is_named_and_not_guessed(missing: tuple[str, ...], told: str) -> None:
    with pytest.raises(PetUndescribed, match=told):
        gather(leave_out(*missing))


def test_counts_are_of_emission_where_unit_or_drug_say_so_and_else_unknown() -> None:
    assert gather(leave_out("CountsSource", "RadiopharmaceuticalInformationSequence")).series.CountsSource == "EMISSION"
    counts = Uptake(units="CNTS")
    assert gather(leave_out("CountsSource"), uptake=counts).series.CountsSource == "EMISSION"
    with pytest.raises(PetUndescribed, match="Counts Source"):
        gather(leave_out("CountsSource", "RadiopharmaceuticalInformationSequence"), uptake=counts)


def test_values_that_are_not_corrected_for_decay_are_corrected_to_no_moment() -> None:
    def uncorrect(ds: Dataset) -> None:
        ds.CorrectedImage = ["ATTN", "SCAT"]

    facts = gather(uncorrect, leave_out("DecayCorrection", "DecayFactor"))
    assert facts.series.DecayCorrection == "NONE"
    assert "DecayFactor" not in first(facts)


def test_a_radiopharmaceutical_that_nobody_describes_is_an_empty_list() -> None:
    facts = gather(leave_out("RadiopharmaceuticalInformationSequence"))
    assert facts.series.RadiopharmaceuticalInformationSequence == []


@pytest.mark.parametrize("half_life_seconds", [75.0, 1223.0, 6586.2, 3e9])
@pytest.mark.parametrize("duration_seconds", [10.0, 600.0, 3600.0])
def test_a_frame_is_dated_where_its_activity_is_its_average(half_life_seconds: float, duration_seconds: float) -> None:
    def change(ds: Dataset) -> None:
        ds.ActualFrameDuration, ds.AcquisitionTime = int(duration_seconds * 1000), "100700.00"

    uptake = Uptake(half_life_seconds=half_life_seconds)
    found = float(first(gather(change, leave_out("FrameReferenceTime"), uptake=uptake)).FrameReferenceTime) / 1000 - 300
    rate = np.log(2) / half_life_seconds
    average = quad(lambda t: np.exp(-rate * t), 0, duration_seconds)[0] / duration_seconds
    expected = brentq(lambda t: np.exp(-rate * t) - average, 0, duration_seconds)
    # Of a half-life so long that digits run out it is the middle.
    assert found == pytest.approx(expected if half_life_seconds < 1e6 else duration_seconds / 2, rel=1e-4)


def test_without_a_half_life_a_frame_is_dated_by_its_middle_and_without_a_duration_by_its_start() -> None:
    silent = leave_out("FrameReferenceTime", "RadiopharmaceuticalInformationSequence")
    assert first(gather(silent)).FrameReferenceTime == 300_000
    assert first(gather(silent, leave_out("ActualFrameDuration"))).FrameReferenceTime == 0


def test_a_decay_factor_follows_from_the_time_and_the_half_life() -> None:
    def change(ds: Dataset) -> None:
        ds.FrameReferenceTime = str(HALF_LIFE_SECONDS * 1000)

    assert float(first(gather(change, leave_out("DecayFactor"))).DecayFactor) == pytest.approx(2)
    admin = Uptake(decay_correction="ADMIN", injection_datetime="20240305091700.00")
    since_seconds = 45 * 60 + HALF_LIFE_SECONDS
    found = float(first(gather(change, leave_out("DecayFactor"), uptake=admin)).DecayFactor)
    assert found == pytest.approx(2 ** (since_seconds / HALF_LIFE_SECONDS))
    with pytest.raises(PetUndescribed, match="moment of the administration"):
        gather(leave_out("DecayFactor"), uptake=Uptake(decay_correction="ADMIN"))


def test_a_series_dated_by_its_reconstruction_gets_the_moment_of_its_first_acquisition() -> None:
    datasets = iter(["110000", "094500", "110000"])

    def change(ds: Dataset) -> None:
        ds.SeriesTime, ds.AcquisitionTime = "235500", next(datasets)

    assert gather(change).series.SeriesTime == "094500"
    assert gather(leave_out("AcquisitionTime")).series.SeriesTime == "100200.00"


def test_codes_in_lower_case_are_read_and_written_as_the_standard_has_them() -> None:
    def change(ds: Dataset) -> None:
        ds.Units, ds.DecayCorrection = "bqml", "start"

    with pytest.warns(UserWarning, match="Invalid value for VR CS"):
        series = gather(change).series
    assert (series.Units, series.DecayCorrection) == ("BQML", "START")
