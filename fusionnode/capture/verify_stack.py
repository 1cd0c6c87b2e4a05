"""The last look at a fused series in one object: every frame's picture, place and source (middle)."""

import numpy as np
from pydicom import Dataset

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
    "ConversionType",
    "ImageType",
    "SeriesDescription",
    "ImageComments",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "DerivationDescription",
    "FrameIncrementPointer",
    "DimensionIndexSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PixelData",
)


def verify_stack(ds: Dataset, request: CaptureRequest) -> None:
    """Refuse unless the frames of ``ds``, in slice order, are the pictures of the request where the grid has them.

    Raises:
        CaptureInvalid: with the attribute, what was expected and what was found.
    """
    require_values(ds, *_TYPE_1)
    require_words(ds, "SeriesDescription", "ImageComments")
    require_equal(ds, "Modality", "OT", ds.Modality)
    require_equal(ds, "ImageType", ["DERIVED", "SECONDARY"], list(ds.ImageType)[:2])
    require_equal(ds, "PhotometricInterpretation", "RGB", ds.PhotometricInterpretation)
    count = request.prepared.grid.shape[0]
    require_equal(ds, "NumberOfFrames", count, int(ds.NumberOfFrames))
    require_equal(ds, "PerFrameFunctionalGroupsSequence", count, len(ds.PerFrameFunctionalGroupsSequence))
    positions = sorted(_find_position(groups) for groups in ds.PerFrameFunctionalGroupsSequence)
    require_equal(ds, "InStackPositionNumber", list(range(1, count + 1)), positions)
    for index in range(count):
        _verify_frame(ds, index, request)


def _verify_frame(ds: Dataset, index: int, request: CaptureRequest) -> None:
    [shared], groups = ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence[index]
    [measures] = shared.PixelMeasuresSequence
    frame = Dataset()
    frame.SOPInstanceUID = ds.SOPInstanceUID
    frame.PixelSpacing, frame.SpacingBetweenSlices = measures.PixelSpacing, measures.SpacingBetweenSlices
    frame.ImageOrientationPatient = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    frame.ImagePositionPatient = groups.PlanePositionSequence[0].ImagePositionPatient
    require_place(frame, index, request.prepared.grid)
    require_spacing(frame, "SpacingBetweenSlices", request.prepared.grid.spacing_mm[:1])
    if not np.array_equal(decode_pixels(ds, index), request.fused.rgb[index]):
        raise refuse(ds, "PixelData", f"the fused picture in frame {index + 1}", "other pixels")
    first = groups.DerivationImageSequence[0].SourceImageSequence[0]
    source = request.prepared.fixed_sources[index].sop_instance_uid
    require_equal(ds, "SourceImageSequence", source, first.ReferencedSOPInstanceUID)


def _find_position(groups: Dataset) -> int:
    return int(groups.FrameContentSequence[0].InStackPositionNumber)
