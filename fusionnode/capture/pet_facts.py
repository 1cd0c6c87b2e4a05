"""What a PET image must be told, gathered from classic images (middle; PS3.3 C.8.9.1, C.8.9.2, C.8.9.4).

What the Standard demands and a scanner left out is worked out where the rest says what it must be. Where it does not,
nothing can be written: a guess would become a wrong uptake in somebody's viewer.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import EnhancedPETImageStorage
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.clock import find_beginning, find_offset, read_clock, read_moment, split_moment
from fusionnode.capture.inherit import copy_items, copy_valid, inherit_character_set, read_text
from fusionnode.domain.volume import SourceFrame

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")
_CORRECTIONS = ("NONE", "START", "ADMIN")
_OF_THE_PATIENT = ("Modality", "PatientWeight", "PatientSize", "PatientAge")
OF_THE_SERIES = (
    "Units",
    "SUVType",
    "CountsSource",
    "CorrectedImage",
    "DecayCorrection",
    "RandomsCorrectionMethod",
    "AttenuationCorrectionMethod",
    "ScatterCorrectionMethod",
    "ReconstructionMethod",
    "ConvolutionKernel",
    "DetectorLinesOfResponseUsed",
    "AcquisitionStartCondition",
    "AcquisitionStartConditionData",
    "AcquisitionTerminationCondition",
    "AcquisitionTerminationConditionData",
    "TypeOfDetectorMotion",
    "CollimatorType",
    "AxialAcceptance",
    "AxialMash",
    "TransverseMash",
    "CoincidenceWindowWidth",
)
"""PET Series and PET Acquisition attributes that still hold for the resampled series."""

ITEMS_OF_THE_SERIES = (
    "RadiopharmaceuticalInformationSequence",
    "InterventionDrugInformationSequence",
    "PatientOrientationCodeSequence",
    "PatientGantryRelationshipCodeSequence",
)
OF_THE_SLICE = (
    "AcquisitionDate",
    "AcquisitionTime",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "DecayFactor",
    "DoseCalibrationFactor",
)
"""PET Image attributes that hold for what is interpolated near the slice."""

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_OF_UPTAKE = ("BQML", "GML", "CM2ML")
"""Units that only radiation from within the patient is measured in."""


class PetUndescribed(ValueError):
    """Something that a PET image must say is known neither from the series nor from its rest; the message says what."""


@dataclass(frozen=True, eq=False)
class PetFacts:
    """A PET series in the words of the classic modules, its dates and times by one clock.

    Attributes:
        series: what all slices share; Series Date and Time are the moment to which Decay Correction START refers.
        slices: what each source says of itself, and where it lies.
        offset: the clock's Timezone Offset From UTC; empty where the series names none.
    """

    series: Dataset
    slices: Mapping[SourceFrame, Dataset]
    offset: str


FindHeader = Callable[[SourceFrame], Dataset]
"""The data set a source was read from; its pixels are not looked at."""


def read_classic(find_header: FindHeader, sources: Sequence[SourceFrame]) -> PetFacts:
    """Return what the classic images ``sources`` say, as they say it; what is invalid is left out."""
    head = find_header(sources[0])
    series = begin_series(head)
    for keyword in ("SeriesDate", "SeriesTime"):
        copy_valid(series, head, keyword)
    for keyword in ("Units", "DecayCorrection", "SUVType"):  # some write them in lower case
        code = read_text(head, keyword).upper()
        if _CODE.fullmatch(code):
            setattr(series, keyword, code)
    slices = {}
    for source in sources:
        header, one = find_header(source), Dataset()
        for keyword in (*OF_THE_SLICE, *_PLACE):
            copy_valid(one, header, keyword)
        slices[source] = one
    headers = [find_header(source) for source in sources]
    return PetFacts(series, slices, find_offset(headers))


def begin_series(head: Dataset) -> Dataset:
    """Return what ``head`` says of the whole series in attributes that classic and enhanced PET have in common."""
    series = Dataset()
    inherit_character_set(series, head)
    for keyword in (*_OF_THE_PATIENT, *OF_THE_SERIES):
        copy_valid(series, head, keyword)
    for keyword in ITEMS_OF_THE_SERIES:
        if head.get(keyword):
            copy_items(series, head, keyword)
    return series


def complete_facts(facts: PetFacts) -> None:
    """Fill in place what PET images must say, from what the series says besides.

    Series Date and Time become those of the first acquisition where the series is dated later, as by reconstruction.
    Frame Reference Time is when the average activity of the frame was there, or the middle of the frame where the
    half-life is unknown (PS3.3 C.8.9.4.1.5, examples 2 and 1).

    Raises:
        PetUndescribed: something must be said that nothing tells.
    """
    series = facts.series
    date_series(facts)
    if not read_text(series, "Units"):
        raise PetUndescribed("its unit has no name in PET images")
    _tell_counts_source(series)
    _tell_decay_correction(series)
    for one in facts.slices.values():
        _tell_reference_time(series, one)
        _tell_decay_factor(facts, one)
    if "RadiopharmaceuticalInformationSequence" not in series:
        series.RadiopharmaceuticalInformationSequence = []


def date_series(facts: PetFacts) -> None:
    """Set Series Date and Time to the earliest of themselves and all acquisitions.

    Raises:
        PetUndescribed: none is known.
    """
    begun = find_beginning(facts.series, facts.slices.values())
    if begun is None:
        raise PetUndescribed("it does not say when it was acquired")
    facts.series.SeriesDate, facts.series.SeriesTime = begun


def is_enhanced(head: Dataset) -> bool:
    """Whether the series is described in functional groups."""
    return bool(head.get("SOPClassUID") == EnhancedPETImageStorage)


def _tell_counts_source(series: Dataset) -> None:
    if read_text(series, "CountsSource") in ("EMISSION", "TRANSMISSION"):
        return
    drugs = series.get("RadiopharmaceuticalInformationSequence")
    if read_text(series, "Units") not in _OF_UPTAKE and not drugs:
        raise PetUndescribed("Counts Source is missing, and nothing else tells emission from transmission")
    series.CountsSource = "EMISSION"


def _tell_decay_correction(series: Dataset) -> None:
    if read_text(series, "DecayCorrection") in _CORRECTIONS:
        return
    corrected = series.get("CorrectedImage") or ()
    if not corrected or "DECY" in ([corrected] if isinstance(corrected, str) else corrected):
        raise PetUndescribed("Decay Correction is missing: it is unknown to which moment the values are corrected")
    series.DecayCorrection = "NONE"


def _tell_reference_time(series: Dataset, one: Dataset) -> None:
    if read_text(one, "FrameReferenceTime"):
        return
    acquired, reference = read_moment(one, "Acquisition"), read_moment(series, "Series")
    if acquired is None or reference is None:
        raise PetUndescribed("Frame Reference Time and the time of acquisition are missing")
    passed_ms = (acquired - reference).total_seconds() * 1000
    duration_ms = float(read_text(one, "ActualFrameDuration") or 0)
    half_life_ms = _find_half_life_seconds(series) * 1000
    one.FrameReferenceTime = format_number_as_ds(passed_ms + _find_average_time(duration_ms, half_life_ms))


def _find_average_time(duration: float, half_life: float) -> float:
    """When after the start of a frame the activity is its average; the middle where ``half_life`` is 0 for unknown."""
    decay = math.log(2) / half_life * duration if half_life else 0.0
    if decay < 1e-6:  # where the formula has no digits left
        return duration / 2
    return duration / decay * math.log(decay / -math.expm1(-decay))


def _tell_decay_factor(facts: PetFacts, one: Dataset) -> None:
    series = facts.series
    if read_text(one, "DecayFactor") or series.DecayCorrection == "NONE":
        return
    half_life_seconds = _find_half_life_seconds(series)
    since_seconds = float(read_text(one, "FrameReferenceTime")) / 1000
    if series.DecayCorrection == "ADMIN":
        since_seconds += _find_wait_seconds(facts)
    if not half_life_seconds:
        raise PetUndescribed("Decay Factor and the half-life are missing")
    one.DecayFactor = format_number_as_ds(2 ** (since_seconds / half_life_seconds))


def _find_half_life_seconds(series: Dataset) -> float:
    """0 where it is unknown."""
    for drug in series.get("RadiopharmaceuticalInformationSequence") or []:
        half_life_seconds = float(read_text(drug, "RadionuclideHalfLife") or 0)
        if half_life_seconds > 0:
            return half_life_seconds
    return 0.0


def _find_wait_seconds(facts: PetFacts) -> float:
    """From the administration to the moment of the series."""
    reference = read_moment(facts.series, "Series")
    for drug in facts.series.get("RadiopharmaceuticalInformationSequence") or []:
        date, time = split_moment(read_text(drug, "RadiopharmaceuticalStartDateTime"), facts.offset)
        if date and reference is not None:
            return (reference - read_clock(date, time)).total_seconds()
    raise PetUndescribed("Decay Factor and the moment of the administration are missing")
