"""The last look at a resampled functional series: its place, its values, and what SUV is computed from (middle)."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage

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
# What SUV is computed from besides the moments: of the series, and of the radiopharmaceutical.
_OF_SUV = ("Units", "SUVType", "DecayCorrection", "PatientWeight", "PatientSize")
_OF_DOSE = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
_ROUNDING = 1e-6
"""Of the largest value: what float32 may add to half a step of the stored values."""


def verify_resampled(images: Sequence[Dataset], request: CaptureRequest) -> None:
    """Refuse unless the images, in slice order, hold the values of the pair where the grid has them.

    Raises:
        CaptureInvalid: with the object, the attribute, what was expected and what was found.
    """
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
    for keyword in _OF_SUV:
        require_equal(ds, keyword, _spell(head, keyword), _spell(ds, keyword))
    drugs, kept = (place.get("RadiopharmaceuticalInformationSequence") or [] for place in (head, ds))
    require_equal(ds, "RadiopharmaceuticalInformationSequence", len(drugs), len(kept))
    for drug, same in zip(drugs, kept, strict=True):
        for keyword in _OF_DOSE:
            require_equal(ds, keyword, _spell(drug, keyword), _spell(same, keyword))


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
