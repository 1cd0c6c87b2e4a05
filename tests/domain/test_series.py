"""Series facts: the head never depends on order, and a patient is never printed."""

import random
from dataclasses import FrozenInstanceError, replace

import pydicom.datadict
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import INDEXED_ATTRIBUTES, PatientIdentity, SeriesKey, holds_image
from tests.support.series_headers import RAW_CLASS, Stack, add_raw_data, alter_instances, make_series


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


@given(slices=st.integers(1, 9))
def test_what_holds_no_picture_changes_nothing_about_a_series_of_images(slices: int) -> None:
    series = make_series("philips", stack=Stack(slices=slices))
    beside = add_raw_data(series)
    assert len(beside.instances) == slices + 1
    for fact in ("images", "head", "frames", "content"):
        assert getattr(beside, fact) == getattr(series, fact)


def test_a_series_without_any_image_is_still_a_series() -> None:
    reports = alter_instances(make_series("raw"), sop_class_uid=RAW_CLASS)
    assert reports.images == reports.instances


@pytest.mark.parametrize(
    ("sop_class", "image"),
    [
        ("1.2.840.10008.5.1.4.1.1.4", True),
        ("1.2.840.10008.5.1.4.1.1.7", True),
        ("1.2.840.10008.5.1.4.1.1.66.4", True),
        ("1.2.276.0.7230010.3", True),
        ("1.2.840.10008.5.1.4.1.1.66", False),
        ("1.2.840.10008.5.1.4.1.1.66.1", False),
        ("1.2.840.10008.5.1.4.1.1.88.22", False),
        ("1.2.840.10008.5.1.4.1.1.11.1", False),
        ("1.2.840.10008.5.1.4.1.1.104.1", False),
    ],
)
def test_only_what_can_hold_no_picture_is_left_alone(sop_class: str, image: bool) -> None:
    assert holds_image(sop_class) == image
