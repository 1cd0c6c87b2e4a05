"""UIDs: what is derived is always valid and always the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.uids import (
    IMPLEMENTATION_CLASS_UID,
    derive_uid,
    name_implementation,
    parse_uid,
)
from fusionnode.errors import UidMalformed

parts = st.lists(st.text(max_size=30), min_size=1, max_size=4)


@given(parts=parts)
def test_derived_uids_are_valid_and_stable(parts: list[str]) -> None:
    assert parse_uid(derive_uid(*parts)) == derive_uid(*parts)


@given(one=parts, other=parts)
def test_other_parts_give_another_uid(one: list[str], other: list[str]) -> None:
    assert (derive_uid(*one) == derive_uid(*other)) == ("\x1f".join(one) == "\x1f".join(other))


def test_derived_uids_never_change_between_versions() -> None:
    # Resending yesterday's job must give yesterday's UIDs, or a PACS keeps both.
    assert derive_uid("job", "1") == "2.25.140988221767680861554025398218151688012"


@given(components=st.lists(st.integers(0, 10**9 - 1), min_size=2, max_size=6))
def test_every_uid_of_the_standard_passes(components: list[int]) -> None:
    text = ".".join(map(str, components))
    assert parse_uid(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.",
        ".1",
        "1..2",
        "01.2",
        "1.02",
        "1.2 ",
        "1.2\n",
        "1.a",
        "1.-2",
        "1." + "2" * 63,
        "1.\u0662",
        "1.2\u0662",
        "../1.2",
    ],
)
def test_malformed_uids_are_refused(text: str) -> None:
    with pytest.raises(UidMalformed) as caught:
        parse_uid(text)
    assert caught.value.facts["uid"] == "".join(one if one in "0123456789." else "?" for one in text)


def test_name_where_a_uid_belongs_is_not_told() -> None:
    with pytest.raises(UidMalformed) as caught:
        parse_uid("1.2.DOE^JOHN")
    assert "DOE" not in f"{caught.value} {caught.value.facts}"
    assert "'1.2.????????' is not a DICOM UID" in str(caught.value)


def test_64_characters_are_allowed() -> None:
    text = "1." + "2" * 62
    assert parse_uid(text) == text


def test_a_hostile_uid_is_shortened_and_escaped() -> None:
    with pytest.raises(UidMalformed) as caught:
        parse_uid("\x1b[31m" + "9" * 10_000)
    assert len(caught.value.message) < 150
    assert "\x1b" not in caught.value.message


def test_the_node_introduces_itself_within_the_limits_of_the_standard() -> None:
    assert parse_uid(IMPLEMENTATION_CLASS_UID) == IMPLEMENTATION_CLASS_UID


@given(version=st.text("0123456789.dev", max_size=40))
def test_an_implementation_version_name_is_never_too_long(version: str) -> None:
    assert name_implementation(version).startswith("FUSIONNODE")
    assert len(name_implementation(version)) <= 16
