"""The fused series as one Multi-frame True Color Secondary Capture image (middle; PS3.3 A.8.5).

Place and sources of every frame are in functional groups, as viewers of enhanced objects read them. The pictures are
those of the single images; a PACS that keeps one object per series instead of hundreds is what this is for.
"""

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from fusionnode.capture.build import build_template, comment_on
from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.identity import derive_dimension_uid
from fusionnode.capture.place import SlicePlace, list_slices, write_numbers
from fusionnode.capture.references import InstanceReference, make_code
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sources import SliceSources, list_source_images, measure_sources, refer_to_registration
from fusionnode.capture.stamp import make_file_meta

_STACK_ID, _POSITION = 0x00209056, 0x00209057
_FRAME_CONTENT, _FRAMES = 0x00209111, 0x52009230
_SHARED_MEASURES = ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices")


def build_stack(request: CaptureRequest) -> Dataset:
    """Return the fused series as one object, frames in slice order, encoded as Explicit VR Little Endian.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    identity = request.identity
    ds = build_template(request)
    ds.SOPClassUID, ds.SOPInstanceUID = MultiFrameTrueColorSecondaryCaptureImageStorage, identity.stack_uid
    ds.file_meta = make_file_meta(ds.SOPClassUID, identity.stack_uid, request.software_version)
    ds.Modality, ds.SeriesInstanceUID = "OT", identity.series_uid
    ds.SeriesNumber, ds.InstanceNumber = request.pipeline.output.series_number, 1
    ds.ImageComments = comment_on(request, None)
    places, reach = list_slices(request), measure_sources(request)
    sources = [reach.find(request, place) for place in places]
    _share_groups(ds)
    ds.PerFrameFunctionalGroupsSequence = [_make_frame(request, *pair) for pair in zip(places, sources, strict=True)]
    _index_dimensions(ds)
    refer_to_registration(ds, request, _gather(sources))
    _fill_pixels(ds, request)
    ds.ContributingEquipmentSequence = list_contributors(request, ds, request.moment)
    return ds


def _share_groups(ds: Dataset) -> None:
    """Move what all frames have in common from the top into the shared functional groups."""
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    for keyword in _SHARED_MEASURES:
        measures[keyword] = ds.pop(keyword)
    orientation.ImageOrientationPatient = ds.ImageOrientationPatient
    del ds.ImageOrientationPatient, ds.DerivationCodeSequence
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    ds.SharedFunctionalGroupsSequence = [shared]


def _make_frame(request: CaptureRequest, place: SlicePlace, sources: SliceSources) -> Dataset:
    content, position, derivation, groups = Dataset(), Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", place.number
    content.DimensionIndexValues = [1, place.number]
    position.ImagePositionPatient = write_numbers(request.prepared.grid.slice_position_mm(place.index), 6)
    derivation.DerivationCodeSequence = [make_code(codes.DCM.SpatialResampling)]
    derivation.SourceImageSequence = list_source_images(request, sources)
    groups.FrameContentSequence, groups.PlanePositionSequence = [content], [position]
    groups.DerivationImageSequence = [derivation]
    return groups


def _index_dimensions(ds: Dataset) -> None:
    """Multi-frame Dimension module (PS3.3 C.7.6.17): one stack, its frames by position."""
    organization = Dataset()
    organization.DimensionOrganizationUID = derive_dimension_uid(ds.SOPInstanceUID)
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionIndexSequence = []
    for pointer in (_STACK_ID, _POSITION):
        index = Dataset()
        index.DimensionOrganizationUID = organization.DimensionOrganizationUID
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, _FRAME_CONTENT
        ds.DimensionIndexSequence.append(index)


def _gather(sources: list[SliceSources]) -> list[InstanceReference]:
    """Each source once, in the order in which frames name them."""
    everything = [reference for one in sources for reference in (*one.fixed, *one.moving)]
    return list({reference.sop_instance_uid: reference for reference in everything}.values())


def _fill_pixels(ds: Dataset, request: CaptureRequest) -> None:
    rgb = request.fused.rgb
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.NumberOfFrames, ds.FrameIncrementPointer = rgb.shape[0], _FRAMES
    ds.Rows, ds.Columns = rgb.shape[1:3]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    pixels = np.ascontiguousarray(rgb).tobytes()
    ds.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
