"""Pictures are written without loss in the transfer syntax that the pipeline asks for (middle).

The encoders are those that pydicom knows; which one writes is named, so that it does not depend on what else is
installed. JPEG 2000 is written without the reversible colour transform: the pictures stay RGB in every syntax.
"""

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Compression

_SYNTAXES = {
    Compression.RLE: (RLELossless, "pylibjpeg"),
    Compression.JPEG2000: (JPEG2000Lossless, "pylibjpeg"),
    Compression.JPEGLS: (JPEGLSLossless, "pyjpegls"),
}
_LEAST_JPEG2000_SIDE = 32
"""OpenJPEG halves a picture five times, so nothing smaller can be encoded."""


def choose_syntax(ds: Dataset, compression: Compression) -> UID:
    """Return the transfer syntax in which ``ds`` is written: Explicit VR Little Endian for what holds no picture.

    That is also the answer for a picture of fewer than 32 rows or columns where JPEG 2000 is asked for.
    """
    if compression is Compression.NONE or "Rows" not in ds:
        return ExplicitVRLittleEndian
    if compression is Compression.JPEG2000 and min(int(ds.Rows), int(ds.Columns)) < _LEAST_JPEG2000_SIDE:
        return ExplicitVRLittleEndian
    return _SYNTAXES[compression][0]


def compress_picture(ds: Dataset, compression: Compression) -> None:
    """Encode the pixels of ``ds`` in place; its UIDs stay, and what holds no picture stays as it is.

    Raises:
        CaptureInvalid: the encoder refused the picture.
    """
    syntax = choose_syntax(ds, compression)
    if syntax == ExplicitVRLittleEndian:
        return
    try:
        ds.compress(syntax, encoding_plugin=_SYNTAXES[compression][1], generate_instance_uid=False)
    except (RuntimeError, ValueError) as error:
        raise CaptureInvalid(
            f"The pixels of an object cannot be written as {syntax.name}.",
            remedy="Set `output.compression` of the pipeline to another syntax.",
            attribute="PixelData",
            expected=syntax.name,
            found=type(error).__name__,
            sop_instance_uid=str(ds.SOPInstanceUID),
        ) from error
