"""The conformance statement says what the code does: it is made from it, and must not lag behind."""

from collections.abc import Iterator

import pytest
from pydicom.datadict import tag_for_keyword

from tests.support.conformance import COMMAND, PAGE, TABLES
from tests.support.standard import list_required
from tests.support.tables import fill_page, list_places, render_table
from tests.support.written_attributes import KINDS, Presence, Written, find_class, measure


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_every_table_has_one_place(page: str) -> None:
    assert sorted(list_places(page)) == sorted(TABLES)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_page_is_what_the_code_does(name: str, page: str) -> None:
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->\n"
    written = page.partition(begin)[2].partition(end)[0]
    assert written == render_table(TABLES[name]()), f"{PAGE.name} lags behind the code: run `{COMMAND}` and commit it."


def test_what_is_between_the_marks_is_replaced_and_nothing_else() -> None:
    before = "head\n<!-- begin a b -->\nold | rows\n<!-- end a b -->\ntail\n<!-- begin c -->\n<!-- end c -->\n"
    tables = {"a b": lambda: iter([("x", "y"), ("1|2", "two\nlines")]), "c": lambda: iter([("z",)])}
    after = fill_page(before, tables)
    assert after == (
        "head\n<!-- begin a b -->\n| x | y |\n| --- | --- |\n| 1\\|2 | two lines |\n<!-- end a b -->\n"
        "tail\n<!-- begin c -->\n| z |\n| --- |\n<!-- end c -->\n"
    )
    assert fill_page(after, tables) == after


def test_a_place_for_a_table_that_nobody_makes_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="gone"):
        fill_page("<!-- begin gone -->\n<!-- end gone -->\n", {})


@pytest.mark.parametrize("kind", KINDS)
def test_objects_carry_what_their_iod_requires_whatever_the_sources_lack(kind: str) -> None:
    presence = {one.path: one.presence for one in measure(kind)}
    missing = {
        keyword
        for _, keyword, needed in list_required(find_class(kind))
        if presence.get((keyword,), Presence.ANAP) is Presence.ANAP
        or (needed == "1" and presence[(keyword,)] is not Presence.ALWAYS)
    }
    assert missing == set()


@pytest.mark.parametrize("kind", KINDS)
def test_objects_carry_no_private_attributes(kind: str) -> None:
    assert [one.path for one in measure(kind) if not all(map(tag_for_keyword, one.path))] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_of_the_patient_and_the_study_is_the_mri_s(kind: str) -> None:
    found = {one.path[0]: one for one in _list_top(kind)}
    for keyword in (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "AccessionNumber",
    ):
        assert found[keyword].sources == ("COPY MRI",), keyword
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert found[keyword].sources == ("AUTO",), keyword
        assert found[keyword].value == "", keyword


def _list_top(kind: str) -> Iterator[Written]:
    return (one for one in measure(kind) if len(one.path) == 1)
