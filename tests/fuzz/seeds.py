"""What good peers send, small, for the fuzzer to start from: ``python -m tests.fuzz.seeds`` writes the corpus."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.filebase import DicomIO
from pydicom.filewriter import write_dataset

from tests.fuzz.targets import BARE, INSTANCE_UID, SYNTAXES
from tests.support.datasets import Layout, make_mr_series, make_nm_recon, make_pt_series
from tests.support.enhanced import make_enhanced_mr, make_enhanced_pet

CORPUS = Path(__file__).with_name("corpus")

_LAYOUT = Layout(slices=2, rows=2, columns=2)
_RELEASE = b"\0\0\0\0"


def list_seeds() -> Iterator[tuple[str, bytes]]:
    """Yield the place of each seed below the corpus, and its bytes."""
    mr, pt = make_mr_series(_LAYOUT), make_pt_series(_LAYOUT)
    mr[0].SOPInstanceUID = mr[0].file_meta.MediaStorageSOPInstanceUID = INSTANCE_UID
    objects = {
        "mr": mr[0], "pt": pt[0], "nm": make_nm_recon(_LAYOUT),
        "enhanced-mr": make_enhanced_mr(mr), "enhanced-pt": make_enhanced_pet(pt),
    }  # fmt: skip
    for name, ds in objects.items():
        for number, syntax in enumerate(SYNTAXES[:2]):
            yield f"header/{name}-{syntax.name.split()[0].lower()}", bytes([number]) + _encode(ds, number == 0)
    file = BytesIO()
    dcmwrite(file, mr[0], enforce_file_format=True)
    yield "header/mr-file", bytes([BARE]) + file.getvalue()
    for name, conversation in _list_conversations(_encode(mr[0], implicit=False)).items():
        yield (
            f"pdu/{name}",
            b"".join(bytes([kind]) + len(body).to_bytes(2, "big") + body for kind, body in conversation),
        )


def _list_conversations(dataset: bytes) -> dict[str, list[tuple[int, bytes]]]:
    release = (1, b"\5" + _RELEASE)
    return {
        "request": [(2, b"")],
        "request-and-release": [(2, b""), release],
        "store": [(2, b""), (4, dataset), release],
        "store-in-parts": [(2, b""), (4, b""), (3, b"\0" + dataset[:100]), (3, b"\2" + dataset[100:]), release],
        "abort": [(2, b""), (1, b"\7\0\0\0\0")],
        "release-first": [release],
        "rubbish": [(0, b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n")],
        "cut-short": [(2, b""), (0, b"\4\0\0\0\1\0\0\0")],
    }


def _encode(ds: Dataset, implicit: bool) -> bytes:
    buffer = BytesIO()
    target = DicomIO(buffer)
    target.is_little_endian, target.is_implicit_VR = True, implicit
    write_dataset(target, ds)
    return buffer.getvalue()


if __name__ == "__main__":
    for place, content in list_seeds():
        path = CORPUS / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
