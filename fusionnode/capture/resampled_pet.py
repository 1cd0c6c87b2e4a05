"""PET on the grid of the MRI: classic PET images whose SUV is that of the source (middle; PS3.3 A.21, C.8.9)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
from pydicom import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from fusionnode.capture.describe import describe_resampled
from fusionnode.capture.enhanced_pet import read_enhanced
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
from fusionnode.capture.inherit import copy_items, copy_valid, read_text
from fusionnode.capture.pet_facts import (
    ITEMS_OF_THE_SERIES,
    OF_THE_SERIES,
    OF_THE_SLICE,
    FindHeader,
    PetFacts,
    PetUndescribed,
    complete_facts,
    is_enhanced,
    read_classic,
)
from fusionnode.capture.philips import keep_factors
from fusionnode.capture.place import SlicePlace, list_slices, place_series, write_numbers
from fusionnode.capture.references import find_middle_mm, find_normal
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sources import SourceReach, measure_sources, refer_to_functional
from fusionnode.capture.stamp import make_file_meta
from fusionnode.domain.terms import ON_MRI_GRID
from fusionnode.domain.volume import SourceFrame

_FULL_SCALE = 32767
_DRUGS = "RadiopharmaceuticalInformationSequence"
_OF_THE_DOSE = ("RadionuclideTotalDose", "RadionuclideHalfLife")


def gather_pet(find_header: FindHeader, sources: Sequence[SourceFrame]) -> PetFacts:
    """Return all that PET images must be told of the frames ``sources``, by the clock of their scanner.

    Raises:
        PetUndescribed: something of it is not known.
    """
    head = find_header(sources[0])
    facts = (read_enhanced if is_enhanced(head) else read_classic)(find_header, sources)
    if not facts.offset and any(read_text(find_header(source), "TimezoneOffsetFromUTC") for source in sources):
        raise PetUndescribed("its images state different offsets from UTC, or one that DICOM does not know")
    _require_suv(head, facts.series)
    complete_facts(facts)
    return facts


def _require_suv(head: Dataset, series: Dataset) -> None:
    """What SUV is computed from must have come along: the fused pictures may show an SUV that the copy cannot give."""
    drugs = zip(head.get(_DRUGS) or [], series.get(_DRUGS) or [], strict=True)
    places = ((head, series, ("PatientWeight",)), *((*pair, _OF_THE_DOSE) for pair in drugs))
    for stated, kept, keywords in places:
        for keyword in keywords:
            if keyword in stated and not stated[keyword].is_empty and not read_text(kept, keyword):
                raise PetUndescribed(f"its {keyword} is written in a way that DICOM does not allow")


def build_resampled_pet(request: CaptureRequest) -> list[Dataset]:
    """Return one PET image for each slice of the grid, in slice order, encoded as Explicit VR Little Endian.

    All have one Rescale Slope; stored values are off by half of it at most. What was measured slice by slice, such as
    the frame's time and its decay factor, is that of the nearest functional slice.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
        PetUndescribed: something that PET images must say is not known: a defect of the caller.
    """
    _, uptake = find_functional(request)
    facts = gather_pet(request.header_of, request.prepared.moving_sources)
    put_on_clock(request, facts.offset, facts.series, *facts.slices.values())
    template = _build_template(request, facts)
    template.RescaleSlope = choose_slope(uptake / np.float32(request.prepared.moving_scale), _FULL_SCALE)
    reach, places = measure_sources(request), list_slices(request)
    nearest = _find_nearest(request, facts.slices, places)
    return [_build_slice(request, template, place, reach, one) for place, one in zip(places, nearest, strict=True)]


def _build_template(request: CaptureRequest, facts: PetFacts) -> Dataset:
    functional, said = request.header_of(request.prepared.moving_sources[0]), facts.series
    ds = describe_series_of(request, said, facts.offset, "PET")
    place_series(ds, request)
    del ds.PatientOrientation
    for keyword in OF_THE_SERIES:
        copy_valid(ds, said, keyword)
    for keyword in ITEMS_OF_THE_SERIES:
        copy_items(ds, said, keyword)
    for keyword in ("CorrectedImage", "CollimatorType"):
        if keyword not in ds:
            setattr(ds, keyword, None)
    for keyword in ("PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence"):
        if keyword not in ds:
            setattr(ds, keyword, [])
    if ds.Units == "CNTS":
        keep_factors(ds, [request.header_of(source) for source in request.prepared.moving_sources])
    first = (read_text(functional, "SeriesType") or str((functional.get("SeriesType") or [""])[0])).upper()
    ds.SeriesType = ["WHOLE BODY" if first == "WHOLE BODY" else "STATIC", "IMAGE"]
    ds.ImageType = ["DERIVED", "PRIMARY", ON_MRI_GRID]
    ds.NumberOfSlices = request.prepared.grid.shape[0]
    ds.RescaleIntercept = "0"
    fill_window(ds, request)
    return ds


def _build_slice(
    request: CaptureRequest, template: Dataset, place: SlicePlace, reach: SourceReach, nearest: Dataset
) -> Dataset:
    _, uptake = find_functional(request)
    ds = deepcopy(template)
    uid = request.identity.resampled_uid(place.index)
    ds.SOPClassUID, ds.SOPInstanceUID = PositronEmissionTomographyImageStorage, uid
    ds.file_meta = make_file_meta(ds.SOPClassUID, uid, request.software_version)
    ds.InstanceNumber = ds.ImageIndex = place.number
    ds.ImagePositionPatient = write_numbers(request.prepared.grid.slice_position_mm(place.index), 6)
    ds.ImageComments = describe_resampled(request.job, request.prepared, place.index)
    for keyword in OF_THE_SLICE:
        copy_valid(ds, nearest, keyword)
    for keyword in ("AcquisitionDate", "AcquisitionTime", "ActualFrameDuration"):
        if keyword not in ds:
            setattr(ds, keyword, None)
    values = uptake[place.index] / np.float32(request.prepared.moving_scale)
    fill_pixels(ds, store_values(values, float(ds.RescaleSlope), np.dtype(np.int16)))
    refer_to_functional(ds, request, reach.find(request, place))
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment)
    return ds


def _find_nearest(
    request: CaptureRequest, slices: Mapping[SourceFrame, Dataset], places: Sequence[SlicePlace]
) -> list[Dataset]:
    """For each place the functional slice whose middle lies nearest; the first where one of them has no place."""
    told = list(slices.values())
    middles = [find_middle_mm(one) for one in told]
    if any(middle is None for middle in middles):
        return [told[0]] * len(places)
    fixed_from_moving = request.prepared.estimate.motion.fixed_from_moving
    points_mm = np.stack([middle for middle in middles if middle is not None])
    heights = (points_mm @ fixed_from_moving[:3, :3].T + fixed_from_moving[:3, 3]) @ find_normal(request)
    return [told[int(np.abs(heights - place.height_mm).argmin())] for place in places]
