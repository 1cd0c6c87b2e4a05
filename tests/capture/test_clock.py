"""What happened at one moment still happened then, whichever clock it is told by."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.valuerep import DT

from fusionnode.capture.clock import choose_offset, find_offset, find_suffix, move_clock, split_moment

OFFSETS = st.sampled_from(["-1200", "-0500", "-0330", "+0000", "+0100", "+0200", "+0545", "+1400"])
MOMENTS = st.datetimes(datetime(1990, 1, 3), datetime(2090, 1, 1))  # noqa: DTZ001 - as the headers have them


def describe(moment: datetime) -> Dataset:
    ds, drug = Dataset(), Dataset()
    ds.AcquisitionDate, ds.AcquisitionTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S.%f")
    injected = moment - timedelta(minutes=45)
    drug.RadiopharmaceuticalStartTime = injected.strftime("%H%M%S.%f")
    drug.RadiopharmaceuticalStartDateTime = injected.strftime("%Y%m%d%H%M%S.%f")
    ds.RadiopharmaceuticalInformationSequence = [drug]
    return ds


def read_moment(ds: Dataset, offset: str) -> datetime:
    return datetime.strptime(f"{ds.AcquisitionDate}{ds.AcquisitionTime}{offset}", "%Y%m%d%H%M%S.%f%z")


@given(MOMENTS, OFFSETS, OFFSETS)
def test_every_moment_stays_what_it_was(moment: datetime, before: str, after: str) -> None:
    ds = describe(moment)
    told = read_moment(ds, before)
    move_clock(ds, before, after)
    assert read_moment(ds, after) == told
    [drug] = ds.RadiopharmaceuticalInformationSequence
    text = drug.RadiopharmaceuticalStartDateTime
    assert datetime.strptime(f"{text}{after}", "%Y%m%d%H%M%S.%f%z") == told - timedelta(minutes=45)
    assert drug.RadiopharmaceuticalStartTime == text[8:]


@given(MOMENTS, OFFSETS, OFFSETS)
def test_there_and_back_changes_nothing(moment: datetime, before: str, after: str) -> None:
    ds = describe(moment)
    move_clock(ds, before, after)
    move_clock(ds, after, before)
    assert ds == describe(moment)


@given(MOMENTS, OFFSETS)
def test_what_is_known_by_no_clock_is_left_alone(moment: datetime, after: str) -> None:
    ds = describe(moment)
    move_clock(ds, "", after)
    assert ds == describe(moment)


@pytest.mark.parametrize(
    ("text", "before", "after", "expected"),
    [
        ("20240305091700+0300", "+0100", "", "20240305071700"),
        ("20240305091700+0300", "+0100", "+0200", "20240305091700+0300"),
        ("20240305091700", "+0100", "", "20240305091700"),
        ("20240101003000.5", "+0100", "+0000", "20231231233000.5"),
        ("2024030509", "+0100", "+0630", "202403051430"),
        ("20240305", "+0100", "+0200", "20240305"),
    ],
)
def test_a_moment_that_states_its_offset_stands_for_itself_where_the_object_states_one(
    text: str, before: str, after: str, expected: str
) -> None:
    ds = Dataset()
    ds.RadiopharmaceuticalStartDateTime = text
    move_clock(ds, before, after)
    assert str(ds.RadiopharmaceuticalStartDateTime) == expected


@pytest.mark.parametrize(("time", "expected"), [("09", "1045"), ("0917", "1102"), ("233000.25", "011500.25")])
def test_a_time_keeps_its_precision_and_goes_round_the_clock(time: str, expected: str) -> None:
    ds = Dataset()
    ds.RadiopharmaceuticalStartTime = time
    move_clock(ds, "+0000", "+0145")
    assert ds.RadiopharmaceuticalStartTime == expected


def test_an_empty_value_stays_empty() -> None:
    ds = Dataset()
    ds.AcquisitionDate = ds.AcquisitionTime = ds.RadiopharmaceuticalStartDateTime = None
    move_clock(ds, "+0000", "+0100")
    assert all(element.is_empty for element in ds)


def test_an_offset_is_that_of_all_headers_or_none() -> None:
    one, other, silent, wrong = (Dataset() for _ in range(4))
    one.TimezoneOffsetFromUTC, other.TimezoneOffsetFromUTC, wrong.TimezoneOffsetFromUTC = "+0100", "+0200", "-0000"
    assert find_offset([one, one]) == "+0100"
    assert [find_offset(headers) for headers in ([one, other], [one, silent], [silent], [wrong], [])] == [""] * 5
    assert choose_offset(one, "+0200") == "+0100"
    assert choose_offset(one, "") == choose_offset(silent, "+0200") == ""


def test_a_moment_is_split_by_the_clock_asked_for() -> None:
    assert split_moment("20240305003000.25+0200", "+0000") == ("20240304", "223000.25")
    assert split_moment("20240305003000.25+0200", "") == ("20240305", "003000.25")
    assert split_moment("20240305003000", "+0100") == ("20240305", "003000")
    assert split_moment("20240305", "+0100") == split_moment("", "") == ("", "")
    assert (find_suffix("20240305003000+0200"), find_suffix("20240305003000"), find_suffix("")) == ("+0200", "", "")
    assert DT("20240305003000+0200").utcoffset() == timedelta(hours=2)
