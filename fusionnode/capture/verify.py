"""The last look at objects before they may leave: written, read again, and held against what they must be (middle).

Nothing here uses the code that built them; what is expected is worked out again from the pair and the source headers.
"""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, SpatialRegistrationStorage

from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.grid import Grid
from fusionnode.domain.uids import parse_uid
from fusionnode.errors import CaptureInvalid, UidMalformed

TOLERANCE_MM = 1e-3

_COMMON_TYPE_1 = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesNumber",
    "InstanceNumber",
    "ContentDate",
    "ContentTime",
    "ContributingEquipmentSequence",
)
_CAPTURE_TYPE_1 = (
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
_REGISTRATION_TYPE_1 = ("ContentLabel", "RegistrationSequence")
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
    "PositionReferenceIndicator",
)
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_IDENTITY = ("StudyInstanceUID", "PatientID", "PatientName", "IssuerOfPatientID")
_SAFETY = "not for primary diagnosis"
# What pydicom raises when it meets a value it cannot write or read.
_NOT_ENCODABLE = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, OSError)


def verify_captures(objects: Sequence[Dataset], request: CaptureRequest) -> None:
    """Refuse ``objects`` unless all may be sent: the captures in slice order, and the registration if one is due.

    Each is written and read again first; what was read is what is judged.

    Raises:
        CaptureInvalid: with the object, the attribute, what was expected and what was found. Values that
            identify the patient are never part of it.
    """
    read = [_read_again(ds) for ds in objects]
    _require_unique(read)
    captures = [ds for ds in read if ds.SOPClassUID == SecondaryCaptureImageStorage]
    registrations = [ds for ds in read if ds.SOPClassUID == SpatialRegistrationStorage]
    _require_equal(None, "number of slices", request.prepared.grid.shape[0], len(captures))
    _require_equal(None, "number of registration objects", int(request.frames_differ), len(registrations))
    _require_equal(None, "number of objects", len(captures) + len(registrations), len(read))
    for ds in read:
        _verify_common(ds, request)
    _verify_series(captures)
    for index, ds in enumerate(captures):
        _verify_capture(ds, index, request)
    for ds in registrations:
        _verify_registration(ds, request)


def _read_again(ds: Dataset) -> Dataset:
    stream = BytesIO()
    try:
        dcmwrite(stream, ds, enforce_file_format=True)
        stream.seek(0)
        again = dcmread(stream)
        again.decode()
    except _NOT_ENCODABLE as error:
        # Not chained: the messages of pydicom quote the value, which may be the patient's name.
        raise _refuse(ds, "encoding", "an object that can be written and read", type(error).__name__) from None
    _require_equal(again, "TransferSyntaxUID", ExplicitVRLittleEndian, again.file_meta.TransferSyntaxUID)
    _require_equal(
        again, "MediaStorageSOPInstanceUID", again.SOPInstanceUID, again.file_meta.MediaStorageSOPInstanceUID
    )
    return again


def _require_unique(objects: Sequence[Dataset]) -> None:
    for uid, count in Counter(ds.SOPInstanceUID for ds in objects).items():
        if count > 1:
            raise _refuse(objects[0], "SOPInstanceUID", "one object", f"{count} objects with {uid}")


def _verify_common(ds: Dataset, request: CaptureRequest) -> None:
    special = _CAPTURE_TYPE_1 if ds.SOPClassUID == SecondaryCaptureImageStorage else _REGISTRATION_TYPE_1
    for keyword in (*_COMMON_TYPE_1, *special):
        if keyword not in ds or ds[keyword].is_empty:
            raise _refuse(ds, keyword, "a value", "nothing")
    for keyword in _TYPE_2:
        if keyword not in ds:
            raise _refuse(ds, keyword, "an attribute, empty or not", "nothing")
    for keyword in _UIDS:
        _require_uid(ds, keyword)
    _require_equal(ds, "FrameOfReferenceUID", request.prepared.frame_of_reference_uid, ds.FrameOfReferenceUID)
    for keyword in _IDENTITY:
        expected, found = (str(place.get(keyword) or "").strip() for place in (request.head, ds))
        if expected != found:
            raise _refuse(ds, keyword, "that of the MRI", "another")


def _require_uid(ds: Dataset, keyword: str) -> None:
    try:
        parse_uid(str(ds[keyword].value))
    except UidMalformed as error:
        raise _refuse(ds, keyword, "a valid UID", str(ds[keyword].value)[:80]) from error


def _verify_series(captures: Sequence[Dataset]) -> None:
    for keyword in ("SeriesInstanceUID", "SeriesNumber", "StudyInstanceUID", "SeriesDescription"):
        for ds in captures:
            _require_equal(ds, keyword, captures[0][keyword].value, ds[keyword].value)
    numbers = sorted(int(ds.InstanceNumber) for ds in captures)
    _require_equal(captures[0], "InstanceNumber", list(range(1, len(captures) + 1)), numbers)


def _verify_capture(ds: Dataset, index: int, request: CaptureRequest) -> None:
    _require_equal(ds, "Modality", "OT", ds.Modality)
    _require_equal(ds, "ImageType", ["DERIVED", "SECONDARY"], list(ds.ImageType)[:2])
    for keyword in ("SeriesDescription", "ImageComments"):
        if _SAFETY not in str(ds[keyword].value).lower():
            raise _refuse(ds, keyword, f"the words {_SAFETY!r}", "other words")
    _verify_geometry(ds, index, request.prepared.grid)
    _verify_pixels(ds, request.fused.rgb[index])
    source = request.prepared.fixed_sources[index].sop_instance_uid
    _require_equal(ds, "SourceImageSequence", source, ds.SourceImageSequence[0].ReferencedSOPInstanceUID)


def _verify_geometry(ds: Dataset, index: int, grid: Grid) -> None:
    """Place three corners by PS3.3 C.7.6.2.1.1 and compare with where the grid has them."""
    _, rows, columns = grid.shape
    _require_equal(ds, "Rows", rows, ds.Rows)
    _require_equal(ds, "Columns", columns, ds.Columns)
    corners = np.asarray([[0, 0], [rows - 1, 0], [0, columns - 1]], dtype=np.float64)
    expected = grid.points_mm(np.column_stack([np.full(3, float(index)), corners]))
    error_mm = float(np.abs(_place_pixels_mm(ds, corners) - expected).max())
    if not error_mm <= TOLERANCE_MM:
        raise _refuse(ds, "ImagePositionPatient", f"within {TOLERANCE_MM} mm of the MRI", f"{error_mm:.4g} mm off")
    # One pixel alone has no corners to compare, so the spacing is compared for itself.
    between_slices, *in_plane = grid.spacing_mm
    for keyword, spacing_mm in (("SpacingBetweenSlices", [between_slices]), ("PixelSpacing", in_plane)):
        found = np.atleast_1d(np.asarray(ds[keyword].value, dtype=np.float64))
        if found.shape != (len(spacing_mm),) or not np.allclose(found, spacing_mm, rtol=0, atol=TOLERANCE_MM):
            raise _refuse(ds, keyword, spacing_mm, found.tolist())


def _place_pixels_mm(ds: Dataset, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    position, orientation, spacing = (
        np.asarray(ds[keyword].value, dtype=np.float64)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    down, across = orientation[3:] * spacing[0], orientation[:3] * spacing[1]
    placed: NDArray[np.float64] = position + pixels[:, :1] * down + pixels[:, 1:] * across
    return placed


def _verify_pixels(ds: Dataset, expected: NDArray[np.uint8]) -> None:
    try:
        found = pixel_array(ds)  # the property would keep a copy with each object
    except _NOT_ENCODABLE as error:
        raise _refuse(ds, "PixelData", "pixels that decode", type(error).__name__) from error
    _require_equal(ds, "PhotometricInterpretation", "RGB", ds.PhotometricInterpretation)
    if found.dtype != np.uint8 or not np.array_equal(found, expected):
        raise _refuse(ds, "PixelData", "the fused picture", "other pixels")


def _verify_registration(ds: Dataset, request: CaptureRequest) -> None:
    """Carry the corners of the MRI grid into the functional space and back by the written matrix."""
    _require_equal(ds, "Modality", "REG", ds.Modality)
    _require_equal(ds, "RegistrationSequence", 2, len(ds.RegistrationSequence))
    fixed, moving = (_read_matrix(ds, item) for item in ds.RegistrationSequence)
    if not np.array_equal(fixed, np.eye(4)):
        raise _refuse(ds, "FrameOfReferenceTransformationMatrix", "the identity for the MRI", "another matrix")
    grid = request.prepared.grid
    ends = np.asarray(grid.shape, dtype=np.float64) - 1
    points = np.column_stack([grid.points_mm(np.asarray([[0.0, 0.0, 0.0], ends])), np.ones(2)])
    returned = points @ request.prepared.estimate.motion.moving_from_fixed.T @ moving.T
    error_mm = float(np.abs(returned - points).max())
    if not error_mm <= TOLERANCE_MM:
        raise _refuse(ds, "FrameOfReferenceTransformationMatrix", "the motion of the job", f"{error_mm:.4g} mm off")


def _read_matrix(ds: Dataset, item: Dataset) -> NDArray[np.float64]:
    try:
        step = item.MatrixRegistrationSequence[0].MatrixSequence[0]
        return np.asarray(step.FrameOfReferenceTransformationMatrix, dtype=np.float64).reshape(4, 4)
    except _NOT_ENCODABLE as error:
        raise _refuse(ds, "MatrixRegistrationSequence", "a 4x4 matrix", type(error).__name__) from error


def _require_equal(ds: Dataset | None, attribute: str, expected: object, found: object) -> None:
    if expected != found:
        raise _refuse(ds, attribute, expected, found)


def _refuse(ds: Dataset | None, attribute: str, expected: object, found: object) -> CaptureInvalid:
    uid = "" if ds is None else str(ds.get("SOPInstanceUID", ""))
    return CaptureInvalid(
        f"An object to be sent has the wrong {attribute}: expected {expected}, found {found}.",
        remedy="Nothing was sent. Report this with the job id; it is a defect of the program or of its sources.",
        attribute=attribute,
        expected=expected,
        found=found,
        sop_instance_uid=uid,
    )
