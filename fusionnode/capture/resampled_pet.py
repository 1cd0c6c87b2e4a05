"""PET on the grid of the MRI: classic PET images whose SUV is that of the source (middle; PS3.3 A.21, C.8.9)."""

from copy import deepcopy

import numpy as np
from pydicom import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from fusionnode.capture.describe import describe_resampled
from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.functional import (
    choose_slope,
    describe_series_of,
    fill_pixels,
    fill_window,
    find_functional,
    store_values,
)
from fusionnode.capture.inherit import copy_items, copy_valid, read_text
from fusionnode.capture.place import SlicePlace, list_slices, place_series, write_numbers
from fusionnode.capture.references import ReachableInstance
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sources import SourceReach, measure_sources, refer_to_functional
from fusionnode.capture.stamp import make_file_meta
from fusionnode.domain.terms import ON_MRI_GRID

_FULL_SCALE = 32767
# PET Series, PET Isotope and PET Acquisition attributes that still hold for the resampled series.
_OF_THE_SERIES = (
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
_SEQUENCES = ("RadiopharmaceuticalInformationSequence", "InterventionDrugInformationSequence")
_OF_THE_SLICE = (
    "AcquisitionDate",
    "AcquisitionTime",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "DecayFactor",
    "DoseCalibrationFactor",
)


def build_resampled_pet(request: CaptureRequest) -> list[Dataset]:
    """Return one PET image for each slice of the grid, in slice order, encoded as Explicit VR Little Endian.

    All have one Rescale Slope; stored values are off by half of it at most. What was measured slice by slice, such as
    the frame's time and its decay factor, is that of the nearest functional slice.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    functional, uptake = find_functional(request)
    template = _build_template(request, functional)
    template.RescaleSlope = choose_slope(uptake / np.float32(request.prepared.moving_scale), _FULL_SCALE)
    reach = measure_sources(request)
    return [_build_slice(request, template, place, reach) for place in list_slices(request)]


def _build_template(request: CaptureRequest, functional: Dataset) -> Dataset:
    ds = describe_series_of(request, functional, "PET")
    place_series(ds, request)
    del ds.PatientOrientation
    for keyword in _OF_THE_SERIES:
        copy_valid(ds, functional, keyword)
    for keyword in _SEQUENCES:
        if functional.get(keyword):
            copy_items(ds, functional, keyword)
    for keyword in ("CorrectedImage", "CollimatorType"):
        if keyword not in ds:
            setattr(ds, keyword, None)
    for keyword in ("PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence"):
        if not copy_items(ds, functional, keyword):
            setattr(ds, keyword, [])
    first = (read_text(functional, "SeriesType") or str((functional.get("SeriesType") or [""])[0])).upper()
    ds.SeriesType = ["WHOLE BODY" if first == "WHOLE BODY" else "STATIC", "IMAGE"]
    ds.ImageType = ["DERIVED", "PRIMARY", ON_MRI_GRID]
    ds.NumberOfSlices = request.prepared.grid.shape[0]
    ds.RescaleIntercept = "0"
    fill_window(ds, request)
    return ds


def _build_slice(request: CaptureRequest, template: Dataset, place: SlicePlace, reach: SourceReach) -> Dataset:
    _, uptake = find_functional(request)
    ds = deepcopy(template)
    uid = request.identity.resampled_uid(place.index)
    ds.SOPClassUID, ds.SOPInstanceUID = PositronEmissionTomographyImageStorage, uid
    ds.file_meta = make_file_meta(ds.SOPClassUID, uid, request.software_version)
    ds.InstanceNumber = ds.ImageIndex = place.number
    ds.ImagePositionPatient = write_numbers(request.prepared.grid.slice_position_mm(place.index), 6)
    ds.ImageComments = describe_resampled(request.job, request.prepared, place.index)
    nearest = request.header_of(request.prepared.moving_sources[_find_nearest(place, reach.moving, request)])
    for keyword in _OF_THE_SLICE:
        copy_valid(ds, nearest, keyword)
    for keyword in ("AcquisitionDate", "AcquisitionTime", "ActualFrameDuration"):
        if keyword not in ds:
            setattr(ds, keyword, None)
    values = uptake[place.index] / np.float32(request.prepared.moving_scale)
    fill_pixels(ds, store_values(values, float(ds.RescaleSlope), np.dtype(np.int16)))
    refer_to_functional(ds, request, reach.find(request, place))
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment_of(nearest))
    return ds


def _find_nearest(place: SlicePlace, reach: list[ReachableInstance], request: CaptureRequest) -> int:
    """Index among the functional sources of the one whose middle lies nearest; the first where none has a place."""
    middles = [(near.low_mm + near.high_mm) / 2 for near in reach]
    distances = [abs(middle - place.height_mm) if np.isfinite(middle) else np.inf for middle in middles]
    wanted = reach[int(np.argmin(distances))].reference.sop_instance_uid
    return next(i for i, one in enumerate(request.prepared.moving_sources) if one.sop_instance_uid == wanted)
