"""Fused pictures become Secondary Capture images that lie in space like the MRI (middle; dicom.md section 5).

highdicom's SCImage gives the pixel and Secondary Capture modules; it is wrapped once, here. It is handed no patient,
because it logs names it does not like, and everything it takes from the clock is overwritten with the job's moment.
"""

from copy import deepcopy
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from fusionnode.capture.describe import describe_comments, describe_derivation, describe_series
from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.inherit import inherit_body_part, inherit_patient_and_study, read_text
from fusionnode.capture.interval import describe_interval
from fusionnode.capture.place import SlicePlace, find_patient_orientation, list_slices, place_series, write_numbers
from fusionnode.capture.references import make_code
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.safety import tell_safety
from fusionnode.capture.sources import SourceReach, measure_sources, refer_to_sources
from fusionnode.capture.stamp import (
    format_date,
    format_time,
    make_file_meta,
    stamp_equipment,
    stamp_moment,
)
from fusionnode.domain.images import RgbStack
from fusionnode.domain.terms import MANUFACTURER

__all__ = ["CaptureRequest", "build_captures", "build_template", "comment_on"]


def build_captures(request: CaptureRequest) -> list[Dataset]:
    """Return one Secondary Capture image for each slice, in slice order, encoded as Explicit VR Little Endian.

    The same request gives the same bytes. Instance Number counts from 1 along the normal of the MRI slices.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    template = build_template(request)
    reach = measure_sources(request)
    return [_build_slice(request, template, place, reach) for place in list_slices(request)]


def _build_slice(request: CaptureRequest, template: Dataset, place: SlicePlace, reach: SourceReach) -> Dataset:
    ds = _wrap_secondary_capture(request, place, request.moment)
    # Items know the data set around them, so each image needs its own.
    ds.update(deepcopy(template))
    ds.ImagePositionPatient = write_numbers(request.prepared.grid.slice_position_mm(place.index), 6)
    ds.ImageComments = comment_on(request, place.index)
    refer_to_sources(ds, request, reach.find(request, place))
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment)
    return ds


def comment_on(request: CaptureRequest, slice_index: int | None) -> str:
    """Return the Image Comments of a slice, or of the whole series where ``slice_index`` is None."""
    interval = describe_interval(request.head, request.moving_head)
    bar = request.pipeline.output.colour_bar
    return describe_comments(request.job, request.prepared, slice_index, interval, bar=bar)


def _wrap_secondary_capture(request: CaptureRequest, place: SlicePlace, moment: datetime) -> Dataset:
    """Let highdicom write the Secondary Capture and Image Pixel modules, then make a plain data set of it."""
    from highdicom.sc import SCImage

    identity = request.identity
    # highdicom takes one letter for each direction; the template has them all.
    across, down = find_patient_orientation(request)
    capture = SCImage(
        pixel_array=_take_pixels(request.fused.rgb, place.index),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=read_text(request.head, "StudyInstanceUID"),
        series_instance_uid=identity.series_uid,
        series_number=request.pipeline.output.series_number,
        sop_instance_uid=identity.slice_uid(place.index),
        instance_number=place.number,
        manufacturer=MANUFACTURER,
        patient_orientation=(across[0], down[0]),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_date=format_date(moment),
        content_time=format_time(moment),
    )
    ds = Dataset(capture)
    ds.file_meta = make_file_meta(
        SecondaryCaptureImageStorage, identity.slice_uid(place.index), request.software_version
    )
    return ds


def _take_pixels(rgb: RgbStack, index: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rgb[index])


def build_template(request: CaptureRequest) -> Dataset:
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
        request.prepared, request.fused.model, request.pipeline, request.software_version
    )
    ds.DerivationCodeSequence = [make_code(codes.DCM.SpatialResampling)]
    place_series(ds, request)
    inherit_body_part(ds, request.head)
    tell_safety(ds, request)
    return ds
