"""Dates and times, in the spellings scanners use."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from fusionnode.index.moments import parse_date_time, parse_moment, parse_offset, read_acquired_at
from tests.support.raw import make_raw

EAST = timezone(timedelta(hours=2))
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
AT_TWO = datetime(2024, 3, 5, 14, tzinfo=UTC)


@given(MOMENTS)
def test_every_moment_is_read_as_it_was_written(moment: datetime) -> None:
    date, time = f"{moment:%Y%m%d}".zfill(8), f"{moment:%H%M%S.%f}"
    assert parse_date_time(date, time, UTC) == moment
    assert parse_moment(date + time, UTC) == moment


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_raises(date: str, time: str) -> None:
    parse_offset(date)
    parse_moment(date + time, UTC)
    parse_date_time(date, time, UTC)


@given(st.from_regex(r"\d{8}", fullmatch=True), st.from_regex(r"\d{2,6}(\.\d*)?", fullmatch=True))
def test_no_digits_raise(date: str, time: str) -> None:
    for zone in (UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))):
        parse_moment(date + time, zone)
        parse_date_time(date, time, zone)


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20240305", "14", AT_TWO),
        ("20240305", "1400", AT_TWO),
        ("2024.03.05", "14:00:00", AT_TWO),
        ("20240305", "140000.5", AT_TWO + timedelta(seconds=0.5)),
        ("20240305", "140060", AT_TWO + timedelta(seconds=59)),
        ("20240231", "140000", None),
        ("20240305", "250000", None),
        ("20240305", "", None),
        ("", "140000", None),
        ("00010101", "000000", None),
        ("99991231", "235959", None),
    ],
)
def test_spellings(date: str, time: str, expected: datetime | None) -> None:
    assert parse_date_time(date, time, UTC) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240305140000.000000+0000", AT_TWO),
        ("20240305160000+0200", AT_TWO),
        ("20240305160000", AT_TWO),
        ("20240305110000-0300", AT_TWO),
        ("20240305", datetime(2024, 3, 4, 22, tzinfo=UTC)),
        ("202403", None),
        ("2024", None),
    ],
)
def test_an_offset_of_its_own_wins(text: str, expected: datetime | None) -> None:
    assert parse_moment(text, EAST) == expected


@pytest.mark.parametrize("text", ["", "0200", "+2", "+1500", "+9999", "UTC"])
def test_what_is_no_offset_is_none(text: str) -> None:
    assert parse_offset(text) is None


def test_the_best_source_is_taken() -> None:
    elements = {
        "ContentDate": "20240301",
        "ContentTime": "01",
        "StudyDate": "20240302",
        "StudyTime": "02",
        "SeriesDate": "20240303",
        "SeriesTime": "03",
        "AcquisitionDate": "20240304",
        "AcquisitionTime": "04",
        "AcquisitionDateTime": "2024030505",
    }
    for day in (5, 4, 3, 2, 1):
        assert read_acquired_at(make_raw(elements)) == datetime(2024, 3, day, day, tzinfo=UTC)
        for keyword in [keyword for keyword, text in elements.items() if text.startswith(f"2024030{day}")]:
            del elements[keyword]
    assert read_acquired_at(Dataset()) is None


def test_a_time_elsewhere_is_better_than_midnight_here() -> None:
    elements = {"AcquisitionDate": "20240305", "SeriesDate": "20240305", "SeriesTime": "1400"}
    assert read_acquired_at(make_raw(elements)) == AT_TWO
    assert read_acquired_at(make_raw({"StudyDate": "20240305"})) == datetime(2024, 3, 5, tzinfo=UTC)


def test_the_stated_offset_is_applied_and_a_missing_one_is_utc() -> None:
    elements = {"SeriesDate": "20240305", "SeriesTime": "1600", "TimezoneOffsetFromUTC": "+0200"}
    assert read_acquired_at(make_raw(elements)) == AT_TWO
    del elements["TimezoneOffsetFromUTC"]
    assert read_acquired_at(make_raw(elements)) == AT_TWO + timedelta(hours=2)
