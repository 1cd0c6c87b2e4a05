"""Fused pictures become Secondary Capture images that lie in space like the MRI (middle; dicom.md section 5).

highdicom's SCImage gives the pixel and Secondary Capture modules; it is wrapped once, here. It is handed no patient,
because it logs names it does not like, and everything it takes from the clock is overwritten with the job's moment.
"""

from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    JPEG2000,
    JPEG2000MC,
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    SecondaryCaptureImageStorage,
    SpatialRegistrationStorage,
)
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.describe import describe_comments, describe_derivation, describe_series
from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.inherit import copy_valid, inherit_body_part, inherit_patient_and_study, read_text
from fusionnode.capture.interval import describe_interval
from fusionnode.capture.references import (
    InstanceReference,
    ReachableInstance,
    add_common_references,
    find_normal,
    list_references,
    make_code,
    make_source_image,
    make_source_registration,
    measure_reach,
)
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.stamp import (
    MANUFACTURER,
    format_date,
    format_time,
    make_file_meta,
    stamp_equipment,
    stamp_moment,
)
from fusionnode.domain.images import RgbStack

__all__ = ["CaptureRequest", "build_captures"]

_HEAD = frozenset({"", "HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "ORBIT", "SINUS", "JAW"})
_LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    JPEG2000MC: "ISO_15444_1",
}
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_OBLIQUE = 0.1  # a direction cosine below this does not earn a letter (about 6 degrees)


def build_captures(request: CaptureRequest) -> list[Dataset]:
    """Return one Secondary Capture image for each slice, in slice order, encoded as Explicit VR Little Endian.

    The same request gives the same bytes. Instance Number counts from 1 along the normal of the MRI slices.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    template = _build_template(request)
    reach = measure_reach(request)
    heights = [np.asarray(request.prepared.grid.slice_position_mm(i)) @ find_normal(request) for i in _indices(request)]
    numbers = np.argsort(np.argsort(heights)) + 1
    return [
        _build_slice(request, template, _SliceFacts(index, int(numbers[index]), float(heights[index])), reach)
        for index in _indices(request)
    ]


@dataclass(frozen=True)
class _SliceFacts:
    index: int
    number: int
    height_mm: float


def _indices(request: CaptureRequest) -> range:
    return range(request.prepared.grid.shape[0])


def _build_slice(
    request: CaptureRequest, template: Dataset, facts: _SliceFacts, reach: list[ReachableInstance]
) -> Dataset:
    ds = _wrap_secondary_capture(request, facts, request.moment)
    # Items know the data set around them, so each image needs its own.
    ds.update(deepcopy(template))
    ds.ImagePositionPatient = _write_numbers(request.prepared.grid.slice_position_mm(facts.index), 6)
    interval = describe_interval(request.head, request.moving_head)
    ds.ImageComments = describe_comments(request.job, request.prepared, facts.index, interval)
    _refer_to_sources(ds, request, facts, reach)
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment)
    return ds


def _wrap_secondary_capture(request: CaptureRequest, facts: _SliceFacts, moment: datetime) -> Dataset:
    """Let highdicom write the Secondary Capture and Image Pixel modules, then make a plain data set of it."""
    from highdicom.sc import SCImage

    identity = request.identity
    # highdicom takes one letter for each direction; the template has them all.
    across, down = _find_patient_orientation(request)
    capture = SCImage(
        pixel_array=_take_pixels(request.fused.rgb, facts.index),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=read_text(request.head, "StudyInstanceUID"),
        series_instance_uid=identity.series_uid,
        series_number=request.pipeline.output.series_number,
        sop_instance_uid=identity.slice_uid(facts.index),
        instance_number=facts.number,
        manufacturer=MANUFACTURER,
        patient_orientation=(across[0], down[0]),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_date=format_date(moment),
        content_time=format_time(moment),
    )
    ds = Dataset(capture)
    ds.file_meta = make_file_meta(
        SecondaryCaptureImageStorage, identity.slice_uid(facts.index), request.software_version
    )
    return ds


def _take_pixels(rgb: RgbStack, index: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rgb[index])


def _build_template(request: CaptureRequest) -> Dataset:
    """Everything that is the same on every slice."""
    moment = request.moment
    ds = Dataset()
    inherit_patient_and_study(ds, request.head)
    stamp_equipment(ds, request.software_version)
    stamp_moment(ds, moment)
    ds.ConversionType = "WSD"
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = format_date(moment), format_time(moment)
    ds.SeriesDescription = describe_series(request.pipeline.output.series_description)
    ds.ImageType = ["DERIVED", "SECONDARY", "FUSED"]
    ds.DerivationDescription = describe_derivation(
        request.prepared, request.fused.model, request.pipeline.identifier, request.software_version
    )
    ds.DerivationCodeSequence = [make_code(codes.DCM.SpatialResampling)]
    _place_series(ds, request)
    inherit_body_part(ds, request.head)
    _tell_safety(ds, request)
    return ds


def _place_series(ds: Dataset, request: CaptureRequest) -> None:
    """Frame of Reference and Image Plane modules (PS3.3 C.7.4.1, C.7.6.2), without the position."""
    prepared = request.prepared
    ds.FrameOfReferenceUID = prepared.frame_of_reference_uid
    if not copy_valid(ds, request.head, "PositionReferenceIndicator"):
        ds.PositionReferenceIndicator = ""
    ds.ImageOrientationPatient = _write_numbers(prepared.grid.orientation(), 10)
    ds.PatientOrientation = list(_find_patient_orientation(request))
    slices, rows, columns = prepared.grid.spacing_mm
    ds.PixelSpacing = _write_numbers((rows, columns), 9)
    ds.SpacingBetweenSlices = _write_numbers((slices,), 9)[0]
    ds.SliceThickness = _write_numbers((_find_slice_thickness_mm(request),), 9)[0]


def _find_slice_thickness_mm(request: CaptureRequest) -> float:
    """As the MRI states it, at the top level or for all frames together; else the distance between slices."""
    places = [request.head]
    for shared in request.head.get("SharedFunctionalGroupsSequence") or []:
        places.extend(shared.get("PixelMeasuresSequence") or [])
    for place in places:
        text = read_text(place, "SliceThickness")
        try:
            thickness_mm = float(text)
        except ValueError:
            continue
        if np.isfinite(thickness_mm) and thickness_mm > 0:
            return thickness_mm
    return request.prepared.grid.spacing_mm[0]


def _find_patient_orientation(request: CaptureRequest) -> tuple[str, str]:
    """Letters of the row and of the column direction, the most important first (PS3.3 C.7.6.1.1.1)."""
    orientation = request.prepared.grid.orientation()
    return _spell_direction(orientation[:3]), _spell_direction(orientation[3:])


def _spell_direction(direction: tuple[float, float, float]) -> str:
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    letters = (_LETTERS[axis][0 if direction[axis] > 0 else 1] for axis in order if abs(direction[axis]) > _OBLIQUE)
    return "".join(letters)


def _tell_safety(ds: Dataset, request: CaptureRequest) -> None:
    """Burned-in text, faces and losses of the sources are those of the fused picture too."""
    heads = [header for header in (request.head, request.moving_head) if header is not None]
    ds.BurnedInAnnotation = "YES" if any(read_text(head, "BurnedInAnnotation") == "YES" for head in heads) else "NO"
    recognizable = [read_text(head, "RecognizableVisualFeatures") for head in heads]
    if "YES" in recognizable:
        ds.RecognizableVisualFeatures = "YES"
    elif all(answer == "NO" for answer in recognizable):
        ds.RecognizableVisualFeatures = "NO"
    elif read_text(request.head, "BodyPartExamined").upper() in _HEAD:
        # A stack of head slices renders to a face; nobody has said that it was removed.
        ds.RecognizableVisualFeatures = "YES"
    _tell_loss(ds, request)


def _tell_loss(ds: Dataset, request: CaptureRequest) -> None:
    """Once lossy, always lossy (PS3.3 C.7.6.1.1.5); ratio and method are those of the first lossy source."""
    headers = (*request.fixed_headers, *request.moving_headers)
    lossy = next((header for header in headers if _is_lossy(header)), None)
    ds.LossyImageCompression = "00" if lossy is None else "01"
    if lossy is None:
        return
    copy_valid(ds, lossy, "LossyImageCompressionRatio")
    if not copy_valid(ds, lossy, "LossyImageCompressionMethod") and _find_syntax(lossy) in _LOSSY_METHODS:
        ds.LossyImageCompressionMethod = _LOSSY_METHODS[_find_syntax(lossy)]


def _is_lossy(header: Dataset) -> bool:
    # JPEG 2000 and its kin may also be used without loss; then the header says 00 and is believed.
    said = read_text(header, "LossyImageCompression")
    return said == "01" or (said != "00" and _find_syntax(header) in _LOSSY_METHODS)


def _find_syntax(header: Dataset) -> UID:
    meta = getattr(header, "file_meta", None)
    return UID(str(meta.get("TransferSyntaxUID", ""))) if meta is not None else UID("")


def _refer_to_sources(ds: Dataset, request: CaptureRequest, facts: _SliceFacts, reach: list[ReachableInstance]) -> None:
    fixed = list_references(request, [request.prepared.fixed_sources[facts.index]])
    moving = [near.reference for near in reach if near.low_mm <= facts.height_mm <= near.high_mm]
    ds.SourceImageSequence = [
        *(make_source_image(reference, locations_preserved=True) for reference in fixed),
        *(make_source_image(reference, locations_preserved=False) for reference in moving),
    ]
    registration: list[InstanceReference] = []
    if request.frames_differ:
        registration.append(_refer_to_registration(request))
        ds.SourceInstanceSequence = [make_source_registration(registration[0])]
    add_common_references(ds, [*fixed, *moving, *registration])


def _refer_to_registration(request: CaptureRequest) -> InstanceReference:
    identity = request.identity
    study_instance_uid = read_text(request.head, "StudyInstanceUID")
    return InstanceReference(
        SpatialRegistrationStorage, identity.registration_uid, identity.registration_series_uid, study_instance_uid
    )


def _write_numbers(values: tuple[float, ...], decimals: int) -> list[str]:
    """DS texts of at most 16 characters; adding zero turns -0.0 into 0.0."""
    return [format_number_as_ds(round(float(value), decimals) + 0.0) for value in values]
