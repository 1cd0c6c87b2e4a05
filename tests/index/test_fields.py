"""Single values: whatever the bytes are, they are read or they are absent."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from fusionnode.domain.series import INDEXED_ATTRIBUTES
from fusionnode.index.fields import (
    LARGEST_COUNT,
    read_attribute,
    read_decimals,
    read_first_item,
    read_integer,
    read_text,
    read_unsigned,
)
from tests.support.raw import make_raw

BYTES = st.binary(max_size=60)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(BYTES, BYTES, st.booleans())
def test_no_bytes_raise(value: bytes, charset: bytes, little: bool) -> None:
    keywords = ("PatientID", "PixelSpacing", "InstanceNumber", "Rows", "DiffusionBValue")
    ds = make_raw(dict.fromkeys(keywords, value) | {"SpecificCharacterSet": charset}, little)
    text = read_text(ds, "PatientID")
    assert text == text.strip()
    assert "\0" not in text
    text.encode()
    decimals = read_decimals(ds, "PixelSpacing", 2)
    assert decimals is None or all(map(math.isfinite, decimals))
    number = read_integer(ds, "InstanceNumber")
    assert number is None or abs(number) <= LARGEST_COUNT
    assert 0 <= read_unsigned(ds, "Rows") < 2**16
    read_attribute(ds, "DiffusionBValue")


@given(st.lists(NUMBERS, min_size=3, max_size=3))
def test_numbers_come_back(numbers: list[float]) -> None:
    ds = make_raw({"ImagePositionPatient": "\\".join(map(repr, numbers)) + " "})
    assert read_decimals(ds, "ImagePositionPatient", 3) == tuple(numbers)
    assert read_decimals(ds, "ImagePositionPatient", 2) is None


@pytest.mark.parametrize("text", ["1\\nan\\2", "1\\inf\\2", "1\\1e400\\2", "1\\\\2", "1\\2_0\\3", "a\\b\\c", "", "1"])
def test_what_is_no_triple_of_numbers_is_absent(text: str) -> None:
    assert read_decimals(make_raw({"ImagePositionPatient": text}), "ImagePositionPatient", 3) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("-3", -3),
        ("12.0", 12),
        ("1\\2", 1),
        ("7.5", None),
        ("", None),
        ("9" * 12, None),
        ("1e99", None),
        ("1e999", None),
        ("seven", None),
    ],
)
def test_integers(text: str, expected: int | None) -> None:
    ds = make_raw({"InstanceNumber": text})
    assert read_integer(ds, "InstanceNumber") == expected


@pytest.mark.parametrize(("little", "value"), [(True, b"\x00\x02"), (False, b"\x02\x00")])
def test_both_byte_orders(little: bool, value: bytes) -> None:
    assert read_unsigned(make_raw({"Rows": value}, little), "Rows") == 512
    assert read_unsigned(make_raw({"Rows": value[:1]}, little), "Rows") == 0
    b_value = struct.pack("<d" if little else ">d", 1000.0)
    assert read_attribute(make_raw({"DiffusionBValue": b_value}, little), "DiffusionBValue") == "1000"


@pytest.mark.parametrize(
    ("charset", "raw", "expected"),
    [
        ("ISO_IR 100", b"M\xfcller", "Müller"),
        ("ISO_IR 192", "Müller".encode(), "Müller"),
        ("\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(B", "山田"),
        ("GB18030", "王小东".encode("gb18030"), "王小东"),
        ("ISO_IR 192", b"M\xfcller", "M\ufffdller"),
        ("NO_SUCH_SET", b"M\xfcller", "Müller"),
        ("", b"plain", "plain"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_character_sets(charset: str, raw: bytes, expected: str) -> None:
    text = read_text(make_raw({"SpecificCharacterSet": charset, "SeriesDescription": raw}), "SeriesDescription")
    assert text == expected


def test_padding_and_control_characters_are_dropped_and_values_kept_apart() -> None:
    ds = make_raw({"ImageType": "ORIGINAL\\ PRIMARY \\AXIAL\0", "PatientID": " a\r\nb\x07 "})
    assert read_text(ds, "ImageType") == "ORIGINAL\\PRIMARY\\AXIAL"
    assert read_text(ds, "PatientID") == "ab"
    assert read_text(ds, "Modality") == ""


def test_what_would_turn_or_break_the_line_it_is_shown_in_is_dropped() -> None:
    hostile = "a\u202eb\u2066c\u200fd\u2028e\u2029f\ufeff".encode()
    ds = make_raw({"SpecificCharacterSet": "ISO_IR 192", "SeriesDescription": hostile})
    assert read_text(ds, "SeriesDescription") == "abcdef"


def test_a_text_without_end_is_cut() -> None:
    assert len(read_text(make_raw({"SeriesDescription": "x" * 100_000}), "SeriesDescription")) == 1024


def test_sequences_are_optional() -> None:
    item = make_raw({"PixelSpacing": "1\\1"})
    ds = Dataset()
    ds.PixelMeasuresSequence = [item]
    ds.PlanePositionSequence = []
    assert read_decimals(read_first_item(ds, "PixelMeasuresSequence"), "PixelSpacing", 2) == (1.0, 1.0)
    assert len(read_first_item(ds, "PlanePositionSequence")) == 0
    assert len(read_first_item(ds, "PlaneOrientationSequence")) == 0
    assert read_text(ds, "PixelMeasuresSequence") == ""


def test_every_indexed_attribute_is_of_a_kind_that_is_read() -> None:
    texts = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
    assert {dictionary_VR(keyword) for keyword in INDEXED_ATTRIBUTES} <= texts | {"FD"}
