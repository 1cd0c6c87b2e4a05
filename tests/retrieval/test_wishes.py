"""Patient lists and date ranges as people write them."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.errors import ListInvalid
from fusionnode.retrieval.wishes import DateRange, Wish, read_range, read_wishes

DAYS = st.dates(min_value=dt.date(1900, 1, 1), max_value=dt.date(2200, 1, 1))


@given(DAYS, DAYS)
def test_a_range_is_read_back_as_it_is_written(one: dt.date, other: dt.date) -> None:
    first, last = sorted((one, other))
    assert read_range(str(DateRange(first, last))) == DateRange(first, last)
    assert read_range(f"{first.isoformat()}..{last.isoformat()}") == DateRange(first, last)


@given(DAYS, DAYS, DAYS)
def test_narrowed_ranges_hold_what_both_hold(one: dt.date, other: dt.date, day: dt.date) -> None:
    first, second = DateRange(first=one), DateRange(last=other)
    text = day.strftime("%Y%m%d")
    assert first.narrow(second).includes(text) == (first.includes(text) and second.includes(text))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("20240301", (2024, 3, 1), (2024, 3, 1)),
        ("20240301-", (2024, 3, 1), None),
        ("-20240301", None, (2024, 3, 1)),
        ("2024-03-01-2024-03-09", (2024, 3, 1), (2024, 3, 9)),
        (" 20240301 - 20240309 ", (2024, 3, 1), (2024, 3, 9)),
    ],
)
def test_ranges_may_be_written_in_several_ways(
    text: str, first: tuple[int, int, int] | None, last: tuple[int, int, int] | None
) -> None:
    assert read_range(text) == DateRange(first and dt.date(*first), last and dt.date(*last))


@pytest.mark.parametrize("text", ["", "-", "March", "20240231", "20240309-20240301", "20240301-x", "1-2-3"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ListInvalid):
        read_range(text)


def test_an_open_range_holds_what_has_no_date_and_a_closed_one_does_not() -> None:
    assert DateRange().includes("")
    assert not read_range("20240301-").includes("")
    assert not read_range("20240301-").includes("unknown")


def test_a_range_is_widened_at_its_closed_ends_only() -> None:
    assert read_range("20240301-").widen(2) == read_range("20240228-")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_list_is_read_whatever_separates_its_columns(separator: str, mark: str) -> None:
    text = mark + f"PatientID{separator} StudyDate\n A 1 {separator}20240301\nB{separator}\n"
    assert read_wishes(text, Wish(modalities=("PT",))) == (
        Wish("A 1", dates=read_range("20240301"), modalities=("PT",), row=1),
        Wish("B", modalities=("PT",), row=2),
    )


def test_a_date_in_a_row_narrows_the_date_of_all() -> None:
    [wish] = read_wishes("PatientID,StudyDate\nA,20240301-\n", Wish(dates=read_range("-20240331")))
    assert wish.dates == read_range("20240301-20240331")


def test_rows_that_ask_the_same_are_one() -> None:
    assert [wish.row for wish in read_wishes("PatientID\nA\nB\nA\n", Wish())] == [1, 2]


def test_every_mistake_is_told_by_row_and_no_value_is() -> None:
    text = "PatientID,StudyInstanceUID,StudyDate\nMEIER\\X,,\n,,20240301\nMEIER,MEIER,\nMEIER,1.2,MEIER\nA,1.2,,x\n"
    with pytest.raises(ListInvalid) as caught:
        read_wishes(text, Wish())
    assert len(caught.value.facts["mistakes"]) == 5  # type: ignore[arg-type]
    assert all(f"row {number}" in str(caught.value) for number in range(1, 6))
    assert "MEIER" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "PatientID\n", "MEIER,x\n", "PatientID,PatientID\nA,B\n", "StudyDate\n20240301\n"]
)
def test_a_list_without_a_usable_heading_or_row_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(ListInvalid) as caught:
        read_wishes(text, Wish())
    assert "MEIER" not in str(caught.value)


def test_what_a_spreadsheet_leaves_behind_is_passed_over_and_rows_keep_their_numbers() -> None:
    text = '\ufeffsep=;\r\n"PatientID";StudyDate;\r\n"007";;\r\n;;\r\n\r\n"B ""x""";2024-03-05;;;\r\n;;\r\n'
    assert read_wishes(text, Wish()) == (
        Wish("007", row=1),
        Wish('B "x"', dates=read_range("20240305"), row=4),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('PatientID\nA\n"MEIER\nB\n', "line"),
        ('PatientID\n"MEIER"X\n', "line 2"),
        ('PatientID\n"MEI\nER"\n', "row 1"),
        ("PatientID\nMEI\0ER\n", "line|row 1"),
        ("PatientID\n" + "M" * 200_000 + "\n", "line"),
        ("PatientID,\nA,MEIER\n", "row 1: has more"),
    ],
)
def test_a_list_that_is_broken_is_told_by_its_line(text: str, told: str) -> None:
    with pytest.raises(ListInvalid, match=told) as caught:
        read_wishes(text, Wish())
    assert "MEI" not in str(caught.value)


def test_a_wish_does_not_show_whom_it_is_about() -> None:
    assert "MEIER" not in repr(Wish("MEIER", row=3))
