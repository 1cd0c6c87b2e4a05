"""SPECT on the grid of the MRI: one reconstructed Nuclear Medicine image of many frames (middle; PS3.3 A.5, C.8.4)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from fusionnode.capture.clock import find_beginning, find_offset
from fusionnode.capture.describe import describe_resampled
from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.functional import (
    choose_slope,
    describe_series_of,
    fill_pixels,
    fill_window,
    find_functional,
    put_on_clock,
    store_values,
)
from fusionnode.capture.inherit import copy_items, copy_valid, inherit_character_set, read_text
from fusionnode.capture.place import place_series, write_numbers
from fusionnode.capture.references import find_normal, list_references
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sources import SliceSources, refer_to_functional
from fusionnode.capture.stamp import make_file_meta
from fusionnode.domain.terms import ON_MRI_GRID
from fusionnode.domain.volume import SourceFrame

_SLICE_VECTOR = 0x00540080
# NM Image, NM Isotope, NM Reconstruction and NM TOMO Acquisition attributes that still hold for the resampled series.
_KEPT = (
    "AcquisitionDate",
    "AcquisitionTime",
    "CorrectedImage",
    "ConvolutionKernel",
    "CountsAccumulated",
    "AcquisitionTerminationCondition",
    "TypeOfDetectorMotion",
    "ActualFrameDuration",
)
_OF_THE_SERIES = ("Modality", "PatientWeight", "PatientSize", "PatientAge", "SeriesDate", "SeriesTime")
_WINDOWS = "EnergyWindowInformationSequence"
_INTERVENTION = "InterventionDrugInformationSequence"
_SEQUENCES = (
    _WINDOWS,
    "RadiopharmaceuticalInformationSequence",
    "RotationInformationSequence",
    "PatientOrientationCodeSequence",
    "PatientGantryRelationshipCodeSequence",
)
_EMPTY_IF_ABSENT = (
    "AcquisitionDate",
    "AcquisitionTime",
    "CorrectedImage",
    "ConvolutionKernel",
    "CountsAccumulated",
)


def build_resampled_nm(request: CaptureRequest) -> Dataset:
    """Return the SPECT on the grid of the MRI, frames in slice order, encoded as Explicit VR Little Endian.

    The values are the source's times a Rescale Slope; stored values are off by half of it at most. Frames run along
    the slices of the grid; Spacing Between Slices is negative where these run against the normal (PS3.3 C.8.4.15).

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    functional, uptake = find_functional(request)
    said, offset = _gather(request, functional), find_offset([functional])
    put_on_clock(request, offset, said)
    ds = describe_series_of(request, said, offset, "SPECT")
    uid = request.identity.resampled_uid(0)
    ds.SOPClassUID, ds.SOPInstanceUID = NuclearMedicineImageStorage, uid
    ds.file_meta = make_file_meta(ds.SOPClassUID, uid, request.software_version)
    ds.InstanceNumber = 1
    ds.ImageType = ["DERIVED", "PRIMARY", "RECON TOMO", _tell_radiation(functional), ON_MRI_GRID]
    ds.ImageComments = describe_resampled(request.job, request.prepared, None)
    _describe_acquisition(ds, said)
    _place_frames(ds, request, functional)
    _fill_frames(ds, request, uptake)
    fixed = list_references(request, request.prepared.fixed_sources)
    moving = list_references(request, request.prepared.moving_sources)
    refer_to_functional(ds, request, SliceSources(fixed, moving))
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment)
    return ds


def _tell_radiation(functional: Dataset) -> str:
    """Emission, unless the source says that it is a map of transmission (PS3.3 C.8.4.9.1.1)."""
    transmission = "TRANSMISSION" in (functional.get("ImageType") or ())
    return "TRANSMISSION" if transmission else "EMISSION"


def _gather(request: CaptureRequest, functional: Dataset) -> Dataset:
    """What the series says of itself, dated by its first acquisition where the series is dated later."""
    said = Dataset()
    inherit_character_set(said, functional)
    for keyword in (*_OF_THE_SERIES, *_KEPT):
        copy_valid(said, functional, keyword)
    for keyword in (*_SEQUENCES, _INTERVENTION):
        if functional.get(keyword):
            copy_items(said, functional, keyword)
    _choose_windows(said, functional, request.prepared.moving_sources)
    begun = find_beginning(said, [said])
    if begun is not None:
        said.SeriesDate, said.SeriesTime = begun
    return said


def _choose_windows(said: Dataset, functional: Dataset, sources: Sequence[SourceFrame]) -> None:
    """Leave of the energy windows those of the frames ``sources``, where the object tells its frames apart by them."""
    windows, numbers = said.get(_WINDOWS), np.atleast_1d(functional.get("EnergyWindowVector") or [])
    if windows and len(numbers) == functional.get("NumberOfFrames"):
        used = {int(numbers[source.frame_number - 1]) for source in sources if source.frame_number}
        setattr(said, _WINDOWS, [one for number, one in enumerate(windows, start=1) if number in used])


def _describe_acquisition(ds: Dataset, said: Dataset) -> None:
    for keyword in _KEPT:
        copy_valid(ds, said, keyword)
    for keyword in _EMPTY_IF_ABSENT:
        if keyword not in ds:
            setattr(ds, keyword, None)
    for keyword in _SEQUENCES:
        if not copy_items(ds, said, keyword):
            setattr(ds, keyword, [])
    copy_items(ds, said, _INTERVENTION)
    ds.NumberOfEnergyWindows = max(1, len(ds.EnergyWindowInformationSequence))
    ds.NumberOfDetectors, ds.NumberOfRotations = 1, max(1, len(ds.RotationInformationSequence))


def _place_frames(ds: Dataset, request: CaptureRequest, functional: Dataset) -> None:
    """Frame of Reference at the top; position and orientation of the first frame with the detector (C.8.4.11)."""
    place_series(ds, request)
    grid = request.prepared.grid
    detector = Dataset()
    for item in (functional.get("DetectorInformationSequence") or [])[:1]:
        copy_valid(detector, item, "CollimatorType")
    if not read_text(detector, "CollimatorType"):
        detector.CollimatorType = None
    detector.ImagePositionPatient = write_numbers(grid.slice_position_mm(0), 6)
    detector.ImageOrientationPatient = ds.ImageOrientationPatient
    ds.DetectorInformationSequence = [detector]
    del ds.ImageOrientationPatient, ds.PatientOrientation
    along = float(grid.directions[:, 0] @ find_normal(request))
    ds.SpacingBetweenSlices = write_numbers((np.copysign(grid.spacing_mm[0], along),), 9)[0]
    ds.NumberOfFrames = ds.NumberOfSlices = grid.shape[0]
    ds.FrameIncrementPointer = _SLICE_VECTOR
    ds.SliceVector = list(range(1, grid.shape[0] + 1))


def _fill_frames(ds: Dataset, request: CaptureRequest, uptake: NDArray[np.float32]) -> None:
    values = uptake / np.float32(request.prepared.moving_scale)
    signed = bool(values.min() < 0)
    dtype: np.dtype[np.integer] = np.dtype(np.int16 if signed else np.uint16)
    ds.RescaleIntercept, ds.RescaleSlope = "0", choose_slope(values, int(np.iinfo(dtype).max))
    fill_window(ds, request)
    slope = float(ds.RescaleSlope)
    fill_pixels(ds, np.stack([store_values(frame, slope, dtype) for frame in values]))
