"""The last look at objects before they may leave: written, read again, and held against what they must be (middle).

Nothing here uses the code that built them; what is expected is worked out again from the pair and the source headers.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    BlendingSoftcopyPresentationStateStorage,
    EncapsulatedPDFStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    SpatialRegistrationStorage,
)

from fusionnode.capture.demands import (
    TOLERANCE_MM,
    decode_pixels,
    refuse,
    require_equal,
    require_place,
    require_spacing,
    require_uid,
    require_values,
    require_words,
)
from fusionnode.capture.encode import choose_syntax
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.verify_blending import verify_blending
from fusionnode.capture.verify_resampled import verify_resampled
from fusionnode.capture.verify_sheet import verify_sheet
from fusionnode.capture.verify_stack import verify_stack
from fusionnode.malformed import NOT_CODABLE
from fusionnode.pipeline.schema import Sheet

_COMMON_TYPE_1 = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "InstanceNumber",
    "ContributingEquipmentSequence",
)
_CAPTURE_TYPE_1 = (
    "FrameOfReferenceUID",
    "ContentDate",
    "ContentTime",
    "ConversionType",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SeriesDescription",
    "ImageComments",
    "BurnedInAnnotation",
    "LossyImageCompression",
    "DerivationDescription",
    "DerivationCodeSequence",
    "SourceImageSequence",
    "PixelData",
)
_REGISTRATION_TYPE_1 = ("FrameOfReferenceUID", "ContentDate", "ContentTime", "ContentLabel", "RegistrationSequence")
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "IssuerOfPatientID")
_KINDS = {
    SecondaryCaptureImageStorage: "slices",
    EncapsulatedPDFStorage: "quality sheets",
    BlendingSoftcopyPresentationStateStorage: "presentation states",
    MultiFrameTrueColorSecondaryCaptureImageStorage: "fused stacks",
    SpatialRegistrationStorage: "registration objects",
    PositronEmissionTomographyImageStorage: "resampled images",
    NuclearMedicineImageStorage: "resampled images",
}


def verify_captures(objects: Sequence[Dataset], request: CaptureRequest) -> None:
    """Refuse ``objects`` unless all may be sent: what the pipeline asks for, series by series in slice order.

    Each is written and read again first; what was read is what is judged.

    Raises:
        CaptureInvalid: with the object, the attribute, what was expected and what was found. Values that
            identify the patient are never part of it.
    """
    named = Counter(map(_name_kind, objects))
    for name, expected in _count_expected(request).items():
        require_equal(None, f"number of {name}", expected, named[name])
    require_equal(None, "number of objects", len(objects) - named[""], len(objects))
    read = list(_read_all(objects, request))
    _require_unique(read)
    kinds = {name: [ds for ds in read if _name_kind(ds) == name] for name in _KINDS.values()}
    for ds in read:
        _verify_common(ds, request)
    for series in kinds.values():
        _verify_series(series)
    for ds in kinds["fused stacks"]:
        verify_stack(ds, request)
    for ds in kinds["registration objects"]:
        _verify_registration(ds, request)
    verify_resampled(kinds["resampled images"], request)
    for ds in kinds["quality sheets"]:
        verify_sheet(ds, request)
    for ds in kinds["presentation states"]:
        verify_blending(ds, request)


def _read_all(objects: Sequence[Dataset], request: CaptureRequest) -> Iterator[Dataset]:
    """Read all of them again; a slice is judged at once and goes on without what weighs, or all would be held twice."""
    slices = 0
    for ds in objects:
        again = _read_again(ds, request)
        if _name_kind(again) == "slices":
            _verify_capture(again, slices, request)
            _lighten(again)
            slices += 1
        yield again


def _lighten(ds: Dataset) -> None:
    """Drop the pixels and the references, of which each of hundreds of slices may have hundreds."""
    for keyword in ("PixelData", "SourceImageSequence", "ReferencedSeriesSequence"):
        if keyword in ds:
            del ds[keyword]


def _name_kind(ds: Dataset) -> str:
    if ds.get("SOPClassUID") == SecondaryCaptureImageStorage and list(ds.get("ImageType") or [""])[-1] == "SHEET":
        return "quality sheets"
    return _KINDS.get(ds.get("SOPClassUID"), "")


def _count_expected(request: CaptureRequest) -> dict[str, int]:
    slices, output = request.prepared.grid.shape[0], request.pipeline.output
    return {
        "slices": 0 if output.multiframe else slices,
        "fused stacks": int(output.multiframe),
        "registration objects": int(request.frames_differ),
        "resampled images": _count_resampled(request),
        "presentation states": int(output.blending),
        "quality sheets": int(output.sheet is not Sheet.NONE),
    }


def _count_resampled(request: CaptureRequest) -> int:
    """None only where nobody asked for them, or where the objects tell why there are none."""
    prepared = request.prepared
    if not request.pipeline.output.resampled:
        return 0
    if prepared.uptake is None and any("No resampled series" in note for note in prepared.notes):
        return 0
    of_spect = prepared.moving_sources[0].sop_class_uid == NuclearMedicineImageStorage
    return 1 if of_spect else prepared.grid.shape[0]


def _read_again(ds: Dataset, request: CaptureRequest) -> Dataset:
    stream = BytesIO()
    try:
        dcmwrite(stream, ds, enforce_file_format=True)
        stream.seek(0)
        again = dcmread(stream)
        again.decode()
    except NOT_CODABLE as error:
        # Not chained: the messages of pydicom quote the value, which may be the patient's name.
        raise refuse(ds, "encoding", "an object that can be written and read", type(error).__name__) from None
    syntax = choose_syntax(again, request.pipeline.output.compression)
    require_equal(again, "TransferSyntaxUID", syntax, again.file_meta.TransferSyntaxUID)
    require_equal(again, "MediaStorageSOPInstanceUID", again.SOPInstanceUID, again.file_meta.MediaStorageSOPInstanceUID)
    return again


def _require_unique(objects: Sequence[Dataset]) -> None:
    for uid, count in Counter(ds.SOPInstanceUID for ds in objects).items():
        if count > 1:
            raise refuse(objects[0], "SOPInstanceUID", "one object", f"{count} objects with {uid}")


def _verify_common(ds: Dataset, request: CaptureRequest) -> None:
    require_values(ds, *_COMMON_TYPE_1)
    for keyword in _TYPE_2:
        if keyword not in ds:
            raise refuse(ds, keyword, "an attribute, empty or not", "nothing")
    for keyword in _UIDS:
        require_uid(ds, keyword)
    if "FrameOfReferenceUID" in ds:
        require_uid(ds, "FrameOfReferenceUID")
        require_equal(ds, "FrameOfReferenceUID", request.prepared.frame_of_reference_uid, ds.FrameOfReferenceUID)
        if "PositionReferenceIndicator" not in ds:
            raise refuse(ds, "PositionReferenceIndicator", "an attribute, empty or not", "nothing")
    for keyword in _IDENTITY:
        expected, found = (str(place.get(keyword) or "").strip() for place in (request.head, ds))
        if expected != found:
            raise refuse(ds, keyword, "that of the MRI", "another")


def _verify_series(series: Sequence[Dataset]) -> None:
    """What one series has in common, and that its instances are numbered from 1."""
    for keyword in ("SeriesInstanceUID", "SeriesNumber", "StudyInstanceUID", "SeriesDescription"):
        for ds in series:
            require_equal(ds, keyword, series[0][keyword].value, ds[keyword].value)
    numbers = sorted(int(ds.InstanceNumber) for ds in series)
    require_equal(series[0] if series else None, "InstanceNumber", list(range(1, len(series) + 1)), numbers)


def _verify_capture(ds: Dataset, index: int, request: CaptureRequest) -> None:
    require_values(ds, *_CAPTURE_TYPE_1)
    require_equal(ds, "Modality", "OT", ds.Modality)
    require_equal(ds, "ImageType", ["DERIVED", "SECONDARY"], list(ds.ImageType)[:2])
    require_words(ds, "SeriesDescription", "ImageComments")
    grid = request.prepared.grid
    require_equal(ds, "Rows", grid.shape[1], ds.Rows)
    require_equal(ds, "Columns", grid.shape[2], ds.Columns)
    require_place(ds, index, grid)
    require_spacing(ds, "SpacingBetweenSlices", grid.spacing_mm[:1])
    _verify_pixels(ds, request.fused.rgb[index])
    source = request.prepared.fixed_sources[index].sop_instance_uid
    require_equal(ds, "SourceImageSequence", source, ds.SourceImageSequence[0].ReferencedSOPInstanceUID)


def _verify_pixels(ds: Dataset, expected: NDArray[np.uint8]) -> None:
    found = decode_pixels(ds)
    require_equal(ds, "PhotometricInterpretation", "RGB", ds.PhotometricInterpretation)
    if found.dtype != np.uint8 or not np.array_equal(found, expected):
        raise refuse(ds, "PixelData", "the fused picture", "other pixels")


def _verify_registration(ds: Dataset, request: CaptureRequest) -> None:
    """Carry the corners of the MRI grid into the functional space and back by the written matrix."""
    require_values(ds, *_REGISTRATION_TYPE_1)
    require_equal(ds, "Modality", "REG", ds.Modality)
    require_equal(ds, "RegistrationSequence", 2, len(ds.RegistrationSequence))
    fixed, moving = (_read_matrix(ds, item) for item in ds.RegistrationSequence)
    if not np.array_equal(fixed, np.eye(4)):
        raise refuse(ds, "FrameOfReferenceTransformationMatrix", "the identity for the MRI", "another matrix")
    grid = request.prepared.grid
    ends = np.asarray(grid.shape, dtype=np.float64) - 1
    points = np.column_stack([grid.points_mm(np.asarray([[0.0, 0.0, 0.0], ends])), np.ones(2)])
    returned = points @ request.prepared.estimate.motion.moving_from_fixed.T @ moving.T
    error_mm = float(np.abs(returned - points).max())
    if not error_mm <= TOLERANCE_MM:
        raise refuse(ds, "FrameOfReferenceTransformationMatrix", "the motion of the job", f"{error_mm:.4g} mm off")


def _read_matrix(ds: Dataset, item: Dataset) -> NDArray[np.float64]:
    try:
        step = item.MatrixRegistrationSequence[0].MatrixSequence[0]
        return np.asarray(step.FrameOfReferenceTransformationMatrix, dtype=np.float64).reshape(4, 4)
    except NOT_CODABLE as error:
        raise refuse(ds, "MatrixRegistrationSequence", "a 4x4 matrix", type(error).__name__) from error
