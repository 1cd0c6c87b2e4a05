"""The motion becomes a Spatial Registration object, so that other programs can fuse for themselves (middle).

PS3.3 C.20.2: Frame of Reference Transformation Matrix maps coordinates of the item's frame of reference to those of
the Registered RCS, which is the frame of reference of the object itself: here the MRI's.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import SpatialRegistrationStorage
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.begin import Beginning, begin_object
from fusionnode.capture.describe import NOT_DIAGNOSTIC, describe_motion_briefly
from fusionnode.capture.inherit import copy_valid
from fusionnode.capture.references import InstanceReference, add_common_references, list_references, make_code
from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.grid import Affine
from fusionnode.domain.terms import MANUFACTURER


def build_registration(request: CaptureRequest) -> Dataset | None:
    """Return the Spatial Registration object of the job; None when both series share one frame of reference.

    The fixed item has the identity, the moving item ``fixed_from_moving`` (LPS mm). The same request gives the
    same bytes.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    if not request.frames_differ:
        return None
    fixed = list_references(request, request.prepared.fixed_sources)
    moving = list_references(request, request.prepared.moving_sources)
    ds = _build_frame(request)
    ds.RegistrationSequence = [
        _make_registration(
            request.prepared.frame_of_reference_uid,
            fixed,
            _make_matrix_registration(np.eye(4), codes.DCM.FrameOfReferenceIdentity, "Fixed series: identity."),
        ),
        _make_registration(
            request.prepared.moving_frame_of_reference_uid,
            moving,
            _make_matrix_registration(
                request.prepared.estimate.motion.fixed_from_moving,
                codes.DCM.ImageContentBasedAlignment,
                describe_motion_briefly(request.prepared),
            ),
        ),
    ]
    add_common_references(ds, [*fixed, *moving])
    return ds


def _build_frame(request: CaptureRequest) -> Dataset:
    """Everything around the registrations themselves."""
    identity = request.identity
    ds = begin_object(
        request,
        Beginning(
            SpatialRegistrationStorage,
            identity.registration_uid,
            identity.registration_series_uid,
            "REG",
            f"Rigid registration for fused display, {NOT_DIAGNOSTIC}",
            after=1,
        ),
    )
    ds.FrameOfReferenceUID = request.prepared.frame_of_reference_uid
    if not copy_valid(ds, request.head, "PositionReferenceIndicator"):
        ds.PositionReferenceIndicator = ""
    ds.ContentLabel = "FUSION_RIGID"
    ds.ContentDescription = "Functional series onto the MRI, rigid"
    ds.ContentCreatorName = f"{MANUFACTURER}^automatic"  # a person's name, says the VR
    return ds


def _make_registration(
    frame_of_reference_uid: str, images: Sequence[InstanceReference], matrix_registration: Dataset
) -> Dataset:
    item = Dataset()
    if frame_of_reference_uid:
        item.FrameOfReferenceUID = frame_of_reference_uid
    item.ReferencedImageSequence = [image.make_item() for image in images]
    item.MatrixRegistrationSequence = [matrix_registration]
    return item


def _make_matrix_registration(matrix: Affine, method: Code, comment: str) -> Dataset:
    step = Dataset()
    step.FrameOfReferenceTransformationMatrixType = "RIGID"
    step.FrameOfReferenceTransformationMatrix = _write_matrix(matrix)
    item = Dataset()
    item.MatrixSequence = [step]
    item.FrameOfReferenceTransformationComment = comment
    item.RegistrationTypeCodeSequence = [make_code(method)]
    return item


def _write_matrix(matrix: Affine) -> list[str]:
    """Row by row, top to bottom (PS3.3 C.20.2.1.1); adding zero turns -0.0 into 0.0."""
    return [format_number_as_ds(round(float(value), 13) + 0.0) for value in chain.from_iterable(matrix)]
