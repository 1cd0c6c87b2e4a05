"""The quality sheet as an object: encapsulated PDF (PS3.3 A.45.1), or a Secondary Capture image (middle)."""

import numpy as np
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from fusionnode.capture.begin import Beginning, begin_object
from fusionnode.capture.describe import NOT_DIAGNOSTIC, describe_derivation
from fusionnode.capture.page import encode_pdf
from fusionnode.capture.references import InstanceReference, list_references, make_source_image
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.safety import tell_safety
from fusionnode.capture.sources import list_registrations, refer_to_registration
from fusionnode.capture.stamp import format_date, format_time
from fusionnode.domain.images import RgbStack
from fusionnode.pipeline.schema import Sheet

_TITLE = f"Fusion quality sheet, {NOT_DIAGNOSTIC}"


def build_sheet(request: CaptureRequest) -> Dataset:
    """Return the quality sheet of ``request.page`` in the form the pipeline asks for; no patient is named in its ink.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
        ValueError: there is no page: a defect of the caller.
    """
    if request.page is None:
        raise ValueError("a quality sheet needs a page")
    if request.pipeline.output.sheet is Sheet.PDF:
        ds = _build_pdf(request, request.page)
    else:
        ds = _build_picture(request, request.page)
    ds.ConversionType = "WSD"
    return ds


def _list_sources(request: CaptureRequest) -> tuple[list[InstanceReference], list[InstanceReference]]:
    fixed = list_references(request, request.prepared.fixed_sources)
    return fixed, list_references(request, request.prepared.moving_sources)


def _build_pdf(request: CaptureRequest, page: RgbStack) -> Dataset:
    ds = _begin(request, EncapsulatedPDFStorage, "DOC")
    _tell_burned_in(ds, request)
    ds.AcquisitionDateTime = None
    ds.DocumentTitle = _TITLE
    ds.ConceptNameCodeSequence = []
    fixed, moving = _list_sources(request)
    ds.SourceInstanceSequence = [one.make_item() for one in (*fixed, *moving, *list_registrations(request))]
    for keyword in ("Laterality", "BodyPartExamined"):  # a document shows no part of the body
        ds.pop(keyword, None)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document = encode_pdf(page, request.moment)
    ds.EncapsulatedDocumentLength = len(document)
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return ds


def _build_picture(request: CaptureRequest, page: RgbStack) -> Dataset:
    ds = _begin(request, SecondaryCaptureImageStorage, "OT")
    ds.ImageType = ["DERIVED", "SECONDARY", "SHEET"]
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = format_date(request.moment), format_time(request.moment)
    ds.DerivationDescription = describe_derivation(
        request.prepared, request.fused.model, request.pipeline, request.software_version
    )
    ds.ImageComments = f"{_TITLE}."
    ds.PatientOrientation = None
    tell_safety(ds, request)
    fixed, moving = _list_sources(request)
    ds.SourceImageSequence = [make_source_image(one, locations_preserved=False) for one in (*fixed, *moving)]
    refer_to_registration(ds, request, [*fixed, *moving])
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = page.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.add_new("PixelData", "OB", np.ascontiguousarray(page).tobytes())
    return ds


def _begin(request: CaptureRequest, sop_class_uid: str, modality: str) -> Dataset:
    identity = request.identity
    return begin_object(
        request,
        Beginning(sop_class_uid, identity.sheet_uid, identity.sheet_series_uid, modality, _TITLE, after=3),
    )


def _tell_burned_in(ds: Dataset, request: CaptureRequest) -> None:
    """A document says it as a picture does (PS3.3 C.24.2): only what sources have burned in can name the patient."""
    picture = Dataset()
    tell_safety(picture, request)
    for keyword in ("BurnedInAnnotation", "RecognizableVisualFeatures"):
        if keyword in picture:
            ds[keyword] = picture[keyword]
