"""Cases in which the bytes are odd: transfer syntaxes, character sets, broken and lying files (pure)."""

import io
from collections.abc import Callable

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_samples.edge_cases.jpeg_lossless import encode_jpeg_lossless
from dicom_samples.edge_cases.study import Builder, Files, Study, files, spoil_each


def _compress(syntax: UID) -> Builder:
    def change(ds: Dataset) -> None:
        ds.compress(syntax, generate_instance_uid=False)

    return spoil_each("mr", change)


def _encapsulate(ds: Dataset, stream: bytes, syntax: UID) -> None:
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = syntax


def _compress_jpeg(ds: Dataset) -> None:
    pixels = np.frombuffer(ds.PixelData, dtype="<u2").reshape(ds.Rows, ds.Columns)
    _encapsulate(ds, encode_jpeg_lossless(pixels, int(ds.BitsStored)), JPEGLosslessSV1)


def _claim_lossy(ds: Dataset) -> None:
    """A lossless stream announced as 12-bit JPEG Extended, which the decoders here do not read."""
    _compress_jpeg(ds)
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit


def _cut_stream(ds: Dataset) -> None:
    pixels = np.frombuffer(ds.PixelData, dtype="<u2").reshape(ds.Rows, ds.Columns)
    stream = encode_jpeg_lossless(pixels, int(ds.BitsStored))
    _encapsulate(ds, stream[: len(stream) // 3], JPEGLosslessSV1)


def _recode(syntax: UID) -> Builder:
    def change(ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(ds.PixelData, dtype="<u2").astype(">u2").tobytes()
            ds["PixelData"].VR = "OW"

    return spoil_each("mr", change)


def _name(character_set: str | list[str], name: str) -> Builder:
    """Both series with a name in other characters; the names are the Standard's own examples (PS3.5 annexes H to K)."""

    def build(study: Study) -> Files:
        made = files(mr=study.mr(), pt=study.pet())
        for ds in (*made["mr"], *made["pt"]):
            assert isinstance(ds, Dataset)
            ds.SpecificCharacterSet, ds.PatientName = character_set, name
        return made

    return build


def _garble_name(ds: Dataset) -> None:
    """Bytes that are no UTF-8 although UTF-8 is announced."""
    ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 192", b"Buc^J\xe9r\xf4me"


def _claim_everything(ds: Dataset) -> None:
    ds.Rows = ds.Columns = 65535


def _encode(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _damage(cut: Callable[[bytes], bytes]) -> Builder:
    """Slice 8 of the MR is not what it should be."""

    def build(study: Study) -> Files:
        datasets = study.mr()
        broken = cut(_encode(datasets[7]))
        return {"mr": [*datasets[:7], broken, *datasets[8:]], "pt": list(study.pet())}

    return build


def _lay_rubbish(study: Study) -> Files:
    """What lies about in folders: a note, an empty file, a thumbnail cache."""
    rubbish = [b"see the other CD\n", b"", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)]
    return {"mr": [*study.mr(), *rubbish], "pt": list(study.pet())}


CASES: dict[str, Builder] = {
    "rle": _compress(RLELossless),
    "jpeg-lossless": spoil_each("mr", _compress_jpeg),
    "jpeg-ls": _compress(JPEGLSLossless),
    "jpeg-2000": _compress(JPEG2000Lossless),
    "implicit": _recode(ImplicitVRLittleEndian),
    "big-endian": _recode(ExplicitVRBigEndian),
    "deflated": _recode(DeflatedExplicitVRLittleEndian),
    "jpeg-undecodable": spoil_each("mr", _claim_lossy),
    "jpeg-cut-short": spoil_each("mr", _cut_stream),
    "name-japanese": _name(["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "name-korean": _name(["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    "name-chinese": _name("GB18030", "Wang^XiaoDong=王^小东"),
    "name-latin": _name("ISO_IR 100", "Buc^Jérôme"),
    "name-utf8": _name("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    "name-garbled": spoil_each("mr", _garble_name),
    "claims-65535-squared": spoil_each("mr", _claim_everything),
    "cut-in-pixels": _damage(lambda data: data[:-1500]),
    "cut-in-header": _damage(lambda data: data[:700]),
    "rubbish-beside": _lay_rubbish,
}
