"""The last look at a quality sheet: the page that was drawn, whole, and under words that say what it is (middle)."""

from io import BytesIO

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from fusionnode.capture.demands import decode_pixels, refuse, require_equal, require_values, require_words
from fusionnode.capture.request import CaptureRequest

_TYPE_1 = ("SeriesDescription", "ContentDate", "ContentTime", "BurnedInAnnotation", "ConversionType")
_JPEG = (b"\xff\xd8\xff", b"\xff\xd9")
_MEAN_ERROR = 2.0
"""Grey levels that JPEG of high quality may cost on average."""


def verify_sheet(ds: Dataset, request: CaptureRequest) -> None:
    """Refuse unless ``ds`` holds the page of the request, bit for bit as a picture and closely as a document.

    Raises:
        CaptureInvalid: with the attribute, what was expected and what was found.
    """
    if request.page is None:
        raise refuse(ds, "SOPClassUID", "no quality sheet", "one")
    require_values(ds, *_TYPE_1)
    require_words(ds, "SeriesDescription")
    if ds.SOPClassUID == EncapsulatedPDFStorage:
        _verify_document(ds, request.page)
        return
    require_equal(ds, "Modality", "OT", ds.Modality)
    require_equal(ds, "ImageType", ["DERIVED", "SECONDARY", "SHEET"], list(ds.ImageType))
    if not np.array_equal(decode_pixels(ds), request.page):
        raise refuse(ds, "PixelData", "the page", "other pixels")


def _verify_document(ds: Dataset, page: np.ndarray) -> None:
    require_equal(ds, "Modality", "DOC", ds.Modality)
    require_values(ds, "MIMETypeOfEncapsulatedDocument", "EncapsulatedDocument", "DocumentTitle")
    require_equal(ds, "MIMETypeOfEncapsulatedDocument", "application/pdf", ds.MIMETypeOfEncapsulatedDocument)
    document = bytes(ds.EncapsulatedDocument)[: int(ds.EncapsulatedDocumentLength)]
    start, end = document.find(_JPEG[0]), document.rfind(_JPEG[1])
    if not document.startswith(b"%PDF-") or b"%%EOF" not in document[-16:] or not 0 < start < end:
        raise refuse(ds, "EncapsulatedDocument", "a PDF with one picture", "something else")
    with Image.open(BytesIO(document[start : end + 2])) as picture:
        found = np.asarray(picture.convert("RGB"), dtype=np.float32)
    if found.shape != page.shape or float(np.abs(found - page).mean()) > _MEAN_ERROR:
        raise refuse(ds, "EncapsulatedDocument", "the page", "another page")
