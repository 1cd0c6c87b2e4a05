"""Whose data it is, told from the head of a data set in every encoding, and never at the cost of the instance."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, Sequence, uid
from pydicom.uid import UID
from pynetdicom.dsutils import encode

from fusionnode.flow.observing import NOBODY, Subject
from fusionnode.intake.subject import read_subject
from tests.support.datasets import make_mr_series

SYNTAXES = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)


def put(ds: Dataset, syntax: UID) -> io.BytesIO:
    encoded = encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert encoded is not None
    return io.BytesIO(encoded)


def expect(ds: Dataset) -> Subject:
    return Subject(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID, ds.get("IssuerOfPatientID", ""))


def nest(depth: int, *, undefined: bool) -> Sequence:
    item = Dataset()
    item.PatientID = "somebody else"
    if depth:
        item.ReferencedImageSequence = nest(depth - 1, undefined=undefined)
        item["ReferencedImageSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return Sequence([item])


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda one: one.name)
@pytest.mark.parametrize("undefined", [False, True])
def test_the_subject_is_found_behind_sequences_of_either_kind(syntax: UID, undefined: bool) -> None:
    ds = make_mr_series()[0]
    ds.IssuerOfPatientID = "HOSPITAL"
    ds.ReferencedImageSequence = nest(3, undefined=undefined)
    ds["ReferencedImageSequence"].is_undefined_length = undefined
    assert read_subject(put(ds, syntax), syntax) == expect(ds)


def test_what_is_not_there_stays_empty() -> None:
    ds = make_mr_series()[0]
    del ds.PatientID
    subject = read_subject(put(ds, uid.ExplicitVRLittleEndian), uid.ExplicitVRLittleEndian)
    assert subject == Subject(ds.StudyInstanceUID, ds.SeriesInstanceUID, "", "")


def test_words_in_the_place_of_a_uid_are_left_out() -> None:
    ds = make_mr_series()[0]
    encoded = put(ds, uid.ExplicitVRLittleEndian).getvalue()
    words = b"DOE^JOHN".ljust(len(ds.SeriesInstanceUID), b"X")
    spoilt = encoded.replace(ds.SeriesInstanceUID.encode(), words)
    subject = read_subject(io.BytesIO(spoilt), uid.ExplicitVRLittleEndian)
    assert subject == Subject(ds.StudyInstanceUID, "", ds.PatientID, "")


def test_deeper_nesting_than_anybody_needs_is_given_up() -> None:
    ds = make_mr_series()[0]
    ds.ReferencedImageSequence = nest(60, undefined=True)
    ds["ReferencedImageSequence"].is_undefined_length = True
    assert read_subject(put(ds, uid.ExplicitVRLittleEndian), uid.ExplicitVRLittleEndian) == NOBODY


def test_an_endless_row_of_elements_is_given_up() -> None:
    head = b"\x08\x00\x05\x00CS\x00\x00"
    assert read_subject(io.BytesIO(head * 30_000), uid.ExplicitVRLittleEndian) == NOBODY


@given(st.binary(max_size=300), st.sampled_from(SYNTAXES))
def test_no_bytes_make_it_raise(garbage: bytes, syntax: UID) -> None:
    subject = read_subject(io.BytesIO(garbage), syntax)
    assert all(len(text) <= 256 for text in (subject.patient_id, subject.study_instance_uid))


@given(st.data())
def test_a_damaged_data_set_never_makes_it_raise(data: st.DataObject) -> None:
    syntax = data.draw(st.sampled_from(SYNTAXES))
    whole = bytearray(put(make_mr_series()[0], syntax).getvalue()[:600])
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read_subject(io.BytesIO(bytes(whole[: data.draw(st.integers(0, 600))])), syntax), Subject)
