"""Whatever pydicom and its decoders raise at data that break the rules is in the lists; here is what they do raise."""

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.errors import BytesLengthException
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from fusionnode.malformed import MALFORMED, NOT_CODABLE
from tests.support.datasets import Layout, make_mr_series


def _hold(keyword: str, stored: bytes, vr: str) -> Dataset:
    """A data set with one element as it lies in a file."""
    ds, tag = Dataset(), Tag(keyword)
    ds[tag] = RawDataElement(tag, vr, len(stored), stored, 0, False, True)
    return ds


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "stored", "vr", "raised"),
    [
        ("Rows", b"\1\0\1", "US", BytesLengthException),
        ("PixelSpacing", b"1\\2", "FL", BytesLengthException),
        ("InstanceNumber", b"1e400 ", "IS", OverflowError),
        ("PatientName", b"a ", "ZZ", NotImplementedError),
        ("ReferencedImageSequence", b"text", "SQ", OSError),
    ],
)
def test_a_malformed_value_raises_what_is_in_the_list(
    keyword: str, stored: bytes, vr: str, raised: type[Exception]
) -> None:
    with pytest.raises(MALFORMED) as caught:
        _hold(keyword, stored, vr).get(keyword)
    assert caught.type is raised


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(
    "frame", [b"\0" * 2, b"\0" * 64, b"\xff\x4f\xff\x51" + b"\0" * 60, b"\xff\xd8\xff\xf7" + b"\xff" * 60]
)
def test_frames_that_are_none_raise_what_is_in_the_list(syntax: str, frame: bytes) -> None:
    ds = make_mr_series(Layout(slices=1, rows=64, columns=64))[0]
    ds.compress(syntax, generate_instance_uid=False)
    ds.PixelData = encapsulate([frame])
    # The faster decoder of RLE panics at damaged frames, which no handler of exceptions sees.
    with pytest.raises(NOT_CODABLE):
        ds.decompress(decoding_plugin="pydicom" if syntax == RLELossless else "", generate_instance_uid=False)


def test_a_want_of_memory_is_not_in_them() -> None:
    assert not issubclass(MemoryError, NOT_CODABLE)
    assert set(MALFORMED) <= set(NOT_CODABLE)
