import contextlib
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, uid
from pynetdicom.dsutils import encode

from fusionnode.errors import DatasetUnreadable
from fusionnode.intake.peek import Identity, peek_identity
from tests.support.datasets import Layout, make_mr_series

SYNTAXES = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]


def make_mr() -> Dataset:
    ds = make_mr_series(Layout(slices=1, rows=4, columns=4))[0]
    del ds.PixelData
    return ds


def encode_in(ds: Dataset, syntax: uid.UID) -> bytes:
    encoded = encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert encoded is not None
    return encoded


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_identity_is_found_in_every_encoding(syntax: uid.UID) -> None:
    ds = make_mr()
    found = peek_identity(io.BytesIO(encode_in(ds, syntax)), syntax)
    assert found == Identity(ds.SOPClassUID, ds.SOPInstanceUID)


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_or_left_to_a_full_reader_but_nothing_else(syntax: uid.UID, garbage: bytes) -> None:
    with contextlib.suppress(DatasetUnreadable):
        assert peek_identity(io.BytesIO(garbage), syntax) is None


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("garbage", [b"", b"\0" * 64, b"\xff" * 64, b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n"])
def test_typical_garbage_is_refused(syntax: uid.UID, garbage: bytes) -> None:
    with pytest.raises(DatasetUnreadable):
        peek_identity(io.BytesIO(garbage), syntax)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
def test_a_data_set_without_one_of_the_uids_is_refused(keyword: str) -> None:
    ds = make_mr()
    delattr(ds, keyword)
    with pytest.raises(DatasetUnreadable, match="names no"):
        peek_identity(io.BytesIO(encode_in(ds, uid.ImplicitVRLittleEndian)), uid.ImplicitVRLittleEndian)


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_a_truncated_data_set_is_refused(syntax: uid.UID) -> None:
    ds = make_mr()
    encoded = encode_in(ds, syntax)
    end_of_uid = encoded.index(ds.SOPInstanceUID.encode()) + len(ds.SOPInstanceUID)
    for length in range(0, end_of_uid, 7):
        with pytest.raises(DatasetUnreadable):
            peek_identity(io.BytesIO(encoded[:length]), syntax)


def test_an_overlong_uid_is_refused_without_being_read() -> None:
    encoded = struct.pack("<HHI", 0x0008, 0x0016, 0x7FFFFFFF) + b"1.2.3"
    with pytest.raises(DatasetUnreadable, match="too long"):
        peek_identity(io.BytesIO(encoded), uid.ImplicitVRLittleEndian)


def test_a_sequence_of_undefined_length_in_front_is_left_to_a_full_reader() -> None:
    encoded = struct.pack("<HHI", 0x0008, 0x0006, 0xFFFFFFFF) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert peek_identity(io.BytesIO(encoded), uid.ImplicitVRLittleEndian) is None


def test_long_values_in_front_are_passed_over() -> None:
    ds = make_mr()
    ds.add_new(0x00080001, "UL", 1)
    ds.add_new(0x00080008, "CS", ["ORIGINAL"] * 3000)
    found = peek_identity(io.BytesIO(encode_in(ds, uid.ExplicitVRLittleEndian)), uid.ExplicitVRLittleEndian)
    assert found == Identity(ds.SOPClassUID, ds.SOPInstanceUID)


def test_only_the_beginning_is_read() -> None:
    ds = make_mr()
    source = io.BytesIO(encode_in(ds, uid.ExplicitVRLittleEndian) + b"x" * 100_000)
    peek_identity(source, uid.ExplicitVRLittleEndian)
    assert source.tell() < 400
