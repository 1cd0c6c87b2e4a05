"""The last look at a resampled functional series: its place, its values, and what SUV is computed from (middle)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from pydicom import Dataset, config
from pydicom.uid import (
    EnhancedPETImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import DA, DT, TM, validate_value

from fusionnode.capture.demands import (
    decode_pixels,
    refuse,
    require_equal,
    require_place,
    require_spacing,
    require_values,
    require_words,
)
from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.terms import Unit
from fusionnode.malformed import MALFORMED, NOT_CODABLE

_TYPE_1 = (
    "FrameOfReferenceUID",
    "ImageType",
    "SliceThickness",
    "SeriesDescription",
    "ImageComments",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "DerivationDescription",
    "DerivationCodeSequence",
    "RescaleSlope",
    "PixelData",
)
_UNITS = {Unit.BQML: "BQML", Unit.CNTS: "CNTS", Unit.PROPCPS: "PROPCPS"}
_PET_TYPE_1 = (
    *("SeriesDate", "SeriesTime", "Units", "CountsSource", "SeriesType", "NumberOfSlices", "DecayCorrection"),
    *("FrameReferenceTime", "ImageIndex"),
)
_PET_TYPE_2 = ("CorrectedImage", "CollimatorType", "RadiopharmaceuticalInformationSequence", "ActualFrameDuration")
_OF_THE_SERIES = ("Units", "SUVType", "DecayCorrection")
_OF_THE_PATIENT = ("PatientWeight", "PatientSize")
_OF_THE_DOSE = ("RadionuclideTotalDose", "RadionuclideHalfLife")
_TOLERATED_SECONDS = 1.05
"""Of decay, by which SUV may be another: dates and times are compared to the second."""

_ROUNDING = 1e-6
"""Of the largest value: what float32 may add to half a step of the stored values."""


def verify_resampled(images: Sequence[Dataset], request: CaptureRequest) -> None:
    """Refuse unless the images, in slice order, hold the values of the pair where the grid has them.

    Raises:
        CaptureInvalid: with the object, the attribute, what was expected and what was found.
    """
    _verify_philips(images, request)
    for index, ds in enumerate(images):
        _verify_image(ds, request)
        if ds.SOPClassUID == NuclearMedicineImageStorage:
            _verify_frames(ds, request)
        else:
            require_place(ds, index, request.prepared.grid)
            require_spacing(ds, "SpacingBetweenSlices", request.prepared.grid.spacing_mm[:1])
            _verify_values(ds, None, index, request)


def _verify_image(ds: Dataset, request: CaptureRequest) -> None:
    head = request.moving_head or Dataset()
    require_values(ds, *_TYPE_1)
    require_equal(ds, "Modality", head.get("Modality"), ds.Modality)
    require_equal(ds, "ImageType", "DERIVED", ds.ImageType[0])
    require_words(ds, "SeriesDescription", "ImageComments")
    for keyword in _OF_THE_PATIENT:
        _verify_number(ds, keyword, head, ds)
    _verify_offset(ds, request)
    drugs, kept = (place.get("RadiopharmaceuticalInformationSequence") or [] for place in (head, ds))
    require_equal(ds, "RadiopharmaceuticalInformationSequence", len(drugs), len(kept))
    for drug, same in zip(drugs, kept, strict=True):
        for keyword in _OF_THE_DOSE:
            _verify_number(ds, keyword, drug, same)
    if ds.SOPClassUID == PositronEmissionTomographyImageStorage:
        _verify_pet(ds, head, request)


def _verify_number(ds: Dataset, keyword: str, source: Dataset, place: Dataset) -> None:
    """That of the source, or nothing where that is no decimal string; what the patient weighs is not told."""
    expected, found = _spell(source, keyword), _spell(place, keyword)
    if found != expected and (found or _is_decimal(expected)):
        raise refuse(ds, keyword, "that of the functional series", "another" if found else "nothing")


def _is_decimal(text: str) -> bool:
    try:
        validate_value("DS", text, config.RAISE)
    except ValueError:
        return False
    return True


def _verify_offset(ds: Dataset, request: CaptureRequest) -> None:
    """One clock for the study of the MRI and the moments of the functional series: the MRI's, where both are known.

    Those of an enhanced object may state it each for itself.
    """
    head = request.moving_head or Dataset()
    known = _spell(head, "TimezoneOffsetFromUTC") or head.get("SOPClassUID") == EnhancedPETImageStorage
    found = _spell(ds, "TimezoneOffsetFromUTC")
    if found and (found != _spell(request.head, "TimezoneOffsetFromUTC") or not known):
        raise refuse(ds, "TimezoneOffsetFromUTC", "that of the MRI, or none", found)


def _verify_pet(ds: Dataset, head: Dataset, request: CaptureRequest) -> None:
    require_values(ds, *_PET_TYPE_1)
    for keyword in _OF_THE_SERIES:
        if head.SOPClassUID == ds.SOPClassUID and _spell(head, keyword):
            require_equal(ds, keyword, _spell(head, keyword).upper(), _spell(ds, keyword))
    for keyword in _PET_TYPE_2:
        if keyword not in ds:
            raise refuse(ds, keyword, "an attribute, empty or not", "nothing")
    if ds.DecayCorrection != "NONE":
        require_values(ds, "DecayFactor")
    window, scale = request.prepared.moving_window, request.prepared.moving_scale
    if window.unit in _UNITS:
        require_equal(ds, "Units", _UNITS[window.unit], ds.Units)
    elif window.unit is Unit.SUVBW:
        require_equal(ds, "Units", "GML" if scale == 1 else "BQML", ds.Units)
        if ds.Units == "BQML":
            _verify_suv(ds, scale)


def _verify_philips(images: Sequence[Dataset], request: CaptureRequest) -> None:
    """By its private factor a viewer makes SUV of counts: it must be that of every source, or none."""
    factors = {_read_philips(request.header_of(source)) for source in request.prepared.moving_sources}
    factor = max(factors.pop(), 0.0) if len(factors) == 1 else 0.0
    for ds in images:
        expected, found = factor if ds.get("Units") == "CNTS" else 0.0, _read_philips(ds)
        if not np.isclose(found, expected, rtol=1e-9):
            raise refuse(ds, "SUV Scale Factor (7053,xx00)", expected, found)


def _read_philips(ds: Dataset) -> float:
    """Element 00 of whichever block of the group Philips reserved; 0 where there is none."""
    for creator in ds.group_dataset(0x7053):
        if creator.tag.element < 0x100 and creator.value == "Philips PET Private Group":
            try:
                value = ds[0x7053, creator.tag.element << 8].value
                factor = float(value.decode() if isinstance(value, bytes) else value)
            except MALFORMED:
                return 0.0
            return factor if np.isfinite(factor) else 0.0
    return 0.0


def _verify_suv(ds: Dataset, expected: float) -> None:
    """Compute SUV by the textbook, as a viewer does from one image alone, and hold it against that of the source."""
    try:
        [drug] = ds.RadiopharmaceuticalInformationSequence
        at_once = float(ds.PatientWeight) * 1000 / float(drug.RadionuclideTotalDose)
        if ds.DecayCorrection == "ADMIN":
            agrees = bool(np.isclose(at_once, expected, rtol=1e-6))
        else:
            waited_seconds = float(np.log2(expected / at_once)) * float(drug.RadionuclideHalfLife)
            agrees = abs(_find_wait_seconds(ds, drug) - waited_seconds) <= _TOLERATED_SECONDS
    except NOT_CODABLE:
        agrees = False
    if not agrees:
        raise refuse(ds, "RadiopharmaceuticalInformationSequence", "what gives the SUV of the source", "another")


def _find_wait_seconds(ds: Dataset, drug: Dataset) -> float:
    """From the injection, the last before the scan where only its time of day is known, to the moment of the series."""
    offset = _spell(ds, "TimezoneOffsetFromUTC")
    zone = datetime.strptime(offset, "%z").tzinfo if offset else None
    scanned = datetime.combine(DA(ds.SeriesDate), TM(ds.SeriesTime), zone)
    stated = DT(drug.get("RadiopharmaceuticalStartDateTime") or None)
    if stated is not None:
        injected = datetime.combine(stated.date(), stated.time(), stated.tzinfo or zone)
    else:
        injected = datetime.combine(scanned.date(), TM(drug.RadiopharmaceuticalStartTime), zone)
        if injected > scanned + timedelta(seconds=1):
            injected -= timedelta(days=1)
    return max(0.0, (scanned - injected).total_seconds())


def _spell(place: Dataset, keyword: str) -> str:
    return str(place.get(keyword) or "").strip()


def _verify_frames(ds: Dataset, request: CaptureRequest) -> None:
    """Place every frame as a reader of Nuclear Medicine does: from the first along the normal (PS3.3 C.8.4.15)."""
    grid = request.prepared.grid
    require_equal(ds, "NumberOfFrames", grid.shape[0], int(ds.NumberOfFrames))
    require_equal(ds, "SliceVector", list(range(1, grid.shape[0] + 1)), _list(ds.SliceVector))
    [detector] = ds.DetectorInformationSequence
    orientation = np.asarray(detector.ImageOrientationPatient, dtype=np.float64)
    step_mm = np.cross(orientation[:3], orientation[3:]) * float(ds.SpacingBetweenSlices)
    frame = Dataset()
    frame.SOPInstanceUID, frame.PixelSpacing = ds.SOPInstanceUID, ds.PixelSpacing
    frame.ImageOrientationPatient = detector.ImageOrientationPatient
    for index in range(grid.shape[0]):
        position = np.asarray(detector.ImagePositionPatient, dtype=np.float64) + index * step_mm
        frame.ImagePositionPatient = [f"{value:.6f}" for value in position]
        require_place(frame, index, grid)
        _verify_values(ds, index, index, request)


def _list(value: object) -> list[int]:
    return [value] if isinstance(value, int) else [int(item) for item in value]  # type: ignore[attr-defined]


def _verify_values(ds: Dataset, frame: int | None, index: int, request: CaptureRequest) -> None:
    prepared = request.prepared
    if prepared.uptake is None:
        raise refuse(ds, "PixelData", "no resampled series", "one")
    expected = prepared.uptake[index].astype(np.float64) / prepared.moving_scale
    slope = float(ds.RescaleSlope)
    require_equal(ds, "RescaleIntercept", 0.0, float(ds.RescaleIntercept))
    found = decode_pixels(ds, frame).astype(np.float64) * slope
    require_equal(ds, "Rows and Columns", expected.shape, found.shape)
    error = float(np.abs(found - expected).max())
    if not error <= slope / 2 + _ROUNDING * float(np.abs(expected).max()):
        raise refuse(ds, "PixelData", "the values of the functional series", f"values up to {error:.4g} off")
