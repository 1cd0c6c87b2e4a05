"""Series facts: the head never depends on order, and a patient is never printed."""

import random
from dataclasses import FrozenInstanceError, replace

import pydicom.datadict
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import INDEXED_ATTRIBUTES, PatientIdentity, SeriesKey
from tests.support.series_headers import Stack, make_series


@given(slices=st.integers(1, 20), seed=st.integers(0, 99))
def test_the_head_does_not_depend_on_the_order_of_arrival(slices: int, seed: int) -> None:
    series = make_series("head", stack=Stack(slices=slices))
    shuffled = replace(series, instances=tuple(random.Random(seed).sample(series.instances, slices)))
    assert shuffled.head == series.head
    assert shuffled.frames == slices


def test_content_depends_on_the_bytes_and_not_on_their_order() -> None:
    series = make_series("content", stack=Stack(slices=5))
    backwards = replace(series, instances=series.instances[::-1])
    shorter = replace(series, instances=series.instances[1:])
    assert series.content == backwards.content != shorter.content


def test_frames_count_multi_frame_objects() -> None:
    assert make_series("frames", stack=Stack(slices=2, frames=7)).frames == 14


@pytest.mark.parametrize("spell", [repr, str, "{}".format, "{0!r}".format])
def test_an_identity_never_prints_itself(spell: object) -> None:
    identity = PatientIdentity("ID-4711", "ISSUER", "19700101", "F")
    series = make_series("printed")
    named = replace(series, instances=tuple(replace(one, patient=identity) for one in series.instances))
    for value in (identity, named, named.head, [identity]):
        text = spell(value)  # type: ignore[operator]
        assert not any(secret in text for secret in ("ID-4711", "ISSUER", "19700101"))


def test_a_key_names_its_generation_and_cannot_change() -> None:
    key = SeriesKey("1.2.3", 2)
    assert str(key) == "1.2.3#2"
    with pytest.raises(FrozenInstanceError):
        key.generation = 3  # type: ignore[misc]


@pytest.mark.parametrize("keyword", sorted(INDEXED_ATTRIBUTES))
def test_indexed_attributes_are_dicom_keywords_that_identify_nobody(keyword: str) -> None:
    assert pydicom.datadict.tag_for_keyword(keyword) is not None
    assert pydicom.datadict.dictionary_VR(keyword) != "PN"
    assert not keyword.startswith("Patient") or keyword == "PatientPosition"
