"""What an enhanced PET object says, in the words of classic PET images (middle; PS3.3 C.8.22, C.7.6.16.2).

Nearly all that classic images are told is there under other names. What has no name in them is said by refusing: a unit
that PET images do not know, or values that are corrected to a moment after the first frame.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.clock import find_offset, find_suffix, read_moment, split_moment
from fusionnode.capture.frames import find_mapping, list_group_items, read_group_text
from fusionnode.capture.inherit import copy_valid, read_text
from fusionnode.capture.pet_facts import FindHeader, PetFacts, PetUndescribed, begin_series, date_series
from fusionnode.domain.volume import SourceFrame

# UCUM codes of PS3.16 CID 84 -> Units and, for uptake values, SUV Type (PS3.3 C.8.9.1.1.3).
_UNITS = {
    "Bq/ml": ("BQML", ""),
    "g/ml{SUVbw}": ("GML", "BW"),
    "g/ml{SUVlbm}": ("GML", "LBM"),
    "g/ml{SUVibw}": ("GML", "IBW"),
    "cm2/ml{SUVbsa}": ("CM2ML", "BSA"),
    "{counts}": ("CNTS", ""),
    "{counts}/s": ("CPS", ""),
    "{propcounts}": ("PROPCNTS", ""),
    "{propcounts}/s": ("PROPCPS", ""),
    "cm2": ("CM2", ""),
    "%": ("PCNT", ""),
    "/cm": ("1CM", ""),
    "mg/min/ml": ("MGMINML", ""),
    "umol/min/ml": ("UMOLMINML", ""),
    "umol/ml": ("UMOLML", ""),
    "ml/min/g": ("MLMING", ""),
    "ml/min/ml": ("MLMINML", ""),
    "ml/g": ("MLG", ""),
    "ml/ml": ("MLML", ""),
}
_UNIT_NAMES = frozenset(unit for unit, _ in _UNITS.values())
_CORRECTED = {
    "DecayCorrected": "DECY",
    "AttenuationCorrected": "ATTN",
    "ScatterCorrected": "SCAT",
    "DeadTimeCorrected": "DTIM",
    "PatientMotionCorrected": "PMOT",
    "GantryMotionCorrected": "MOTN",
    "CountLossNormalizationCorrected": "CLN",
    "RandomsCorrected": "RAN",
    "NonUniformRadialSamplingCorrected": "RADL",
    "SensitivityCalibrated": "DCAL",
    "DetectorNormalizationCorrection": "NORM",
}
"""Flags of PS3.3 C.8.22.4 -> terms of Corrected Image (C.8.9.1.1.2)."""

_CONTENT, _FACTORS = "FrameContentSequence", "PETFrameCorrectionFactorsSequence"
_TOLERATED_LAG = timedelta(seconds=1)


def read_enhanced(find_header: FindHeader, sources: Sequence[SourceFrame]) -> PetFacts:
    """Return what the frames ``sources`` say, in the words of the classic modules and by the clock of the scanner.

    Raises:
        PetUndescribed: classic images have no words for it.
    """
    head = find_header(sources[0])
    offset = _find_clock(find_header, sources)
    series = begin_series(head)
    for keyword in ("Units", "CorrectedImage", "DecayCorrection"):  # said otherwise here
        series.pop(keyword, None)
    _tell_unit(series, head, sources[0].frame_number)
    _tell_corrections(series, head)
    _tell_administrations(series, offset)
    slices = {source: _read_frame(find_header(source), source.frame_number, offset) for source in sources}
    facts = PetFacts(series, slices, offset)
    _tell_decay_correction(facts, head)
    date_series(facts)
    for source, one in slices.items():
        _tell_reference_time(facts, one, find_header(source), source.frame_number)
    return facts


def _find_clock(find_header: FindHeader, sources: Sequence[SourceFrame]) -> str:
    """The offset of the object, or else the one that all of its moments state."""
    headers = {source.sop_instance_uid: find_header(source) for source in sources}
    if any(read_text(header, "TimezoneOffsetFromUTC") for header in headers.values()):
        return find_offset(list(headers.values()))
    suffixes = {find_suffix(text) for source in sources for text in _list_moments(find_header(source), source)}
    if len(suffixes) > 1:
        raise PetUndescribed("its moments state different offsets from UTC, or some of them none")
    return suffixes.pop() if suffixes else ""


def _list_moments(header: Dataset, source: SourceFrame) -> Iterator[str]:
    """All that the description is made of."""
    texts = [read_text(header, "DecayCorrectionDateTime"), read_text(header, "AcquisitionDateTime")]
    for drug in header.get("RadiopharmaceuticalInformationSequence") or []:
        texts.append(read_text(drug, "RadiopharmaceuticalStartDateTime"))
    for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
        texts.append(read_group_text(header, source.frame_number, _CONTENT, keyword))
    yield from filter(None, texts)


def _tell_unit(series: Dataset, head: Dataset, frame_number: int | None) -> None:
    unit = read_group_text(head, frame_number, "PixelValueTransformationSequence", "RescaleType").upper()
    mapping = find_mapping(head, frame_number)
    if mapping is not None:
        codes = mapping.get("MeasurementUnitsCodeSequence") or [Dataset()]
        unit, kind = _UNITS.get(read_text(codes[0], "CodeValue"), ("", ""))
        if kind:
            series.SUVType = kind
    if unit in _UNIT_NAMES:
        series.Units = unit


def _tell_corrections(series: Dataset, head: Dataset) -> None:
    flags = {keyword: read_text(head, keyword) for keyword in _CORRECTED}
    terms = dict.fromkeys(term for keyword, term in _CORRECTED.items() if flags[keyword] == "YES")
    series.CorrectedImage = list(terms)


def _tell_administrations(series: Dataset, offset: str) -> None:
    """Classic readers look for the time of day; both must be by the clock of the other dates and times."""
    for drug in series.get("RadiopharmaceuticalInformationSequence") or []:
        drug.pop("RadiopharmaceuticalAgentNumber", None)
        for which in ("Start", "Stop"):
            date, time = split_moment(read_text(drug, f"Radiopharmaceutical{which}DateTime"), offset)
            if date:
                setattr(drug, f"Radiopharmaceutical{which}DateTime", f"{date}{time}")
                setattr(drug, f"Radiopharmaceutical{which}Time", time)


def _read_frame(header: Dataset, frame_number: int | None, offset: str) -> Dataset:
    one = Dataset()
    for macro in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", _FACTORS):
        for item in reversed(list_group_items(header, frame_number, macro)):  # the frame's own come first, and count
            for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
                copy_valid(one, item, keyword)
            _copy_number(one, "DecayFactor", read_text(item, "DecayFactor"))
    for keyword in ("Rows", "Columns"):
        copy_valid(one, header, keyword)
    acquired = read_group_text(header, frame_number, _CONTENT, "FrameAcquisitionDateTime")
    date, time = split_moment(acquired or read_text(header, "AcquisitionDateTime"), offset)
    if date:
        one.AcquisitionDate, one.AcquisitionTime = date, time
    duration_ms = read_group_text(header, frame_number, _CONTENT, "FrameAcquisitionDuration")
    if duration_ms:
        one.ActualFrameDuration = round(float(duration_ms))
    return one


def _copy_number(one: Dataset, keyword: str, text: str) -> None:
    if text:
        setattr(one, keyword, format_number_as_ds(float(text)))


def _tell_decay_correction(facts: PetFacts, head: Dataset) -> None:
    """START with the moment of correction as that of the series; ADMIN where it is the administration's."""
    series = facts.series
    if read_text(head, "DecayCorrected") == "NO":
        series.DecayCorrection = "NONE"
    elif read_text(head, "DecayCorrected") == "YES":
        _tell_moment_of_correction(facts, read_text(head, "DecayCorrectionDateTime"))
    if "SeriesDate" not in series and not any("AcquisitionDate" in one for one in facts.slices.values()):
        for keyword in ("SeriesDate", "SeriesTime"):
            copy_valid(series, head, keyword)


def _tell_moment_of_correction(facts: PetFacts, text: str) -> None:
    series = facts.series
    date, time = split_moment(text, facts.offset)
    if not date:
        return
    drugs = series.get("RadiopharmaceuticalInformationSequence") or []
    given = [split_moment(read_text(drug, "RadiopharmaceuticalStartDateTime"), facts.offset) for drug in drugs]
    if given == [(date, time)]:
        series.DecayCorrection = "ADMIN"
        return
    series.DecayCorrection, series.SeriesDate, series.SeriesTime = "START", date, time
    corrected_to = read_moment(series, "Series")
    acquired = [moment for one in facts.slices.values() if (moment := read_moment(one, "Acquisition")) is not None]
    if corrected_to is not None and acquired and min(acquired) < corrected_to - _TOLERATED_LAG:
        raise PetUndescribed("its values are corrected to a moment after its first frame")


def _tell_reference_time(facts: PetFacts, one: Dataset, header: Dataset, frame_number: int | None) -> None:
    text = read_group_text(header, frame_number, _CONTENT, "FrameReferenceDateTime")
    told = Dataset()
    told.AcquisitionDate, told.AcquisitionTime = split_moment(text, facts.offset)
    moment, begun = read_moment(told, "Acquisition"), read_moment(facts.series, "Series")
    if moment is not None and begun is not None:
        one.FrameReferenceTime = format_number_as_ds((moment - begun).total_seconds() * 1000)
