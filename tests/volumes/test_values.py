"""Malformed values are refused by the name of their attribute, whatever pydicom makes of them."""

import struct

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from fusionnode.errors import DatasetUnreadable
from fusionnode.volumes.values import read_integers, read_items, read_numbers, read_text, read_value, spell_value


def _hold(keyword: str, stored: bytes, vr: str = "") -> Dataset:
    """A data set with one element as it lies in a file."""
    ds, tag = Dataset(), Tag(tag_for_keyword(keyword))  # type: ignore[arg-type]
    ds[tag] = RawDataElement(tag, vr or dictionary_VR(tag), len(stored), stored, 0, False, True)
    return ds


def test_what_is_absent_or_empty_is_nothing() -> None:
    for ds in (Dataset(), _hold("PixelSpacing", b""), _hold("SliceVector", b"")):
        assert read_numbers(ds, "PixelSpacing", 2) is None
        assert read_integers(ds, "SliceVector") == []
        assert spell_value(ds, "PixelSpacing") == ""
    assert read_value(Dataset(), "Rows") is None
    assert read_text(Dataset(), "SOPClassUID") == ""
    assert list(read_items(Dataset(), "DetectorInformationSequence")) == []


def test_numbers_are_read_one_or_many() -> None:
    assert read_numbers(_hold("PixelSpacing", b"1.5\\2 "), "PixelSpacing", 2) == (1.5, 2.0)
    assert read_integers(_hold("SliceVector", struct.pack("<3H", 3, 1, 2)), "SliceVector") == [3, 1, 2]
    assert read_integers(_hold("SliceVector", struct.pack("<H", 3)), "SliceVector") == [3]
    assert spell_value(_hold("ImageType", b"A\\B "), "ImageType") == "A\\B"


@pytest.mark.parametrize("stored", [b"abc ", b"nan ", b"inf ", b"-1e999", b"1 ", b"1\\2\\3 ", b"1\\ ", b"\xff\xfe"])
def test_what_is_not_two_finite_numbers_is_refused(stored: bytes) -> None:
    with pytest.raises(DatasetUnreadable) as refusal:
        read_numbers(_hold("PixelSpacing", stored), "PixelSpacing", 2)
    assert refusal.value.facts["keyword"] == "PixelSpacing"
    assert "abc" not in str(refusal.value)


@pytest.mark.parametrize(("stored", "vr"), [(b"\1\0\1", "US"), (b"abc ", "LO"), (b"1.5 ", "LO"), (b"nan ", "LO")])
def test_what_is_no_whole_number_is_refused(stored: bytes, vr: str) -> None:
    with pytest.raises(DatasetUnreadable, match="SliceVector"):
        read_integers(_hold("SliceVector", stored, vr), "SliceVector")


def test_a_sequence_where_text_belongs_is_refused_whatever_its_items_hold() -> None:
    item = bytes.fromhex("feff00e0 08000000 ff00e053 48040000")
    with pytest.raises(DatasetUnreadable, match="SOPClassUID"):
        read_text(_hold("SOPClassUID", item, "SQ"), "SOPClassUID")


def test_text_where_a_sequence_belongs_is_refused() -> None:
    with pytest.raises(DatasetUnreadable, match="DetectorInformationSequence does not hold a sequence"):
        read_items(_hold("DetectorInformationSequence", b"text", "LO"), "DetectorInformationSequence")


@pytest.mark.parametrize("stored", [b"nan ", b"\0\0\0\0"])
def test_sequence_of_unknown_kind_that_holds_something_else_is_refused(stored: bytes) -> None:
    with pytest.raises(DatasetUnreadable, match="DetectorInformationSequence"):
        read_items(_hold("DetectorInformationSequence", stored, "UN"), "DetectorInformationSequence")


@pytest.mark.parametrize(
    ("keyword", "stored"), [("Rows", b"\1"), ("EchoNumbers", b"inf "), ("RealWorldValueSlope", b"1")]
)
def test_what_cannot_be_converted_is_refused(keyword: str, stored: bytes) -> None:
    for read in (read_value, spell_value):
        with pytest.raises(DatasetUnreadable, match=keyword):
            read(_hold(keyword, stored), keyword)
