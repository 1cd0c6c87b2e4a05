from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from fusionnode.capture.stamp import (
    find_local_moment,
    format_date,
    format_time,
    is_timezone_offset,
    make_file_meta,
    stamp_moment,
)
from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID

MOMENTS = st.datetimes(datetime(1950, 1, 2), datetime(2150, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
MINUTES = st.integers(-12 * 60, 14 * 60)


def spell_offset(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


@given(MOMENTS, MINUTES)
def test_the_local_moment_is_the_same_moment_and_names_it_by_the_offset(moment: datetime, minutes: int) -> None:
    local = find_local_moment(moment, spell_offset(minutes), ZoneInfo("Asia/Tokyo"))
    assert local == moment
    written = f"{format_date(local)} {format_time(local)} {spell_offset(minutes)}"
    assert datetime.strptime(written, "%Y%m%d %H%M%S.%f %z") == moment


@pytest.mark.parametrize("offset", ["", "0100", "+01:00", "-0000", "+1401", "-1201", "+0160", "CET", "+٠١٠٠"])
def test_without_an_offset_the_moment_is_on_the_clock_of_the_site(offset: str) -> None:
    """Such times are read as local ones, so UTC would be wrong by the site's distance from Greenwich."""
    paris = ZoneInfo("Europe/Paris")
    winter, summer = (datetime(2024, month, 6, 23, 30, tzinfo=UTC) for month in (3, 7))
    assert not is_timezone_offset(offset)
    assert format_date(find_local_moment(winter, offset, paris)) == "20240307"
    assert format_time(find_local_moment(winter, offset, paris)) == "003000.000000"
    assert format_time(find_local_moment(summer, offset, paris)) == "013000.000000"


def test_a_naive_moment_counts_as_utc() -> None:
    naive = datetime(2024, 3, 6, 23, 30)  # noqa: DTZ001
    assert format_date(find_local_moment(naive, "+0900", UTC)) == "20240307"
    assert format_time(find_local_moment(naive, "+0900", UTC)) == "083000.000000"


def test_every_date_and_time_of_the_object_is_the_moment() -> None:
    ds = Dataset()
    stamp_moment(ds, datetime(2024, 3, 6, 23, 30, 15, 5, UTC))
    assert {ds.InstanceCreationDate, ds.SeriesDate, ds.ContentDate} == {"20240306"}
    assert {ds.InstanceCreationTime, ds.SeriesTime, ds.ContentTime} == {"233015.000005"}


def test_a_long_version_does_not_burst_the_implementation_version_name() -> None:
    meta = make_file_meta(SecondaryCaptureImageStorage, "1.2.3", "10.20.30.dev4")
    assert meta.ImplementationVersionName == "FUSIONNODE 10.20"
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert meta.MediaStorageSOPInstanceUID == "1.2.3"
