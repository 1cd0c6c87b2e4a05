"""What a picture has from its sources for good: burned-in text, faces, losses (middle)."""

from pydicom import Dataset
from pydicom.uid import JPEG2000, JPEG2000MC, UID, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from fusionnode.capture.inherit import copy_valid, read_text
from fusionnode.capture.request import CaptureRequest

_HEAD = frozenset({"", "HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "ORBIT", "SINUS", "JAW"})
_LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    JPEG2000MC: "ISO_15444_1",
}


def tell_safety(ds: Dataset, request: CaptureRequest) -> None:
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
