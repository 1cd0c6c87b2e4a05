"""How far apart both scans were taken: only where both dates are known, and never more than the dates."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from fusionnode.capture.interval import describe_interval, find_scan_date

DAYS = st.dates(date(1950, 1, 1), date(2150, 1, 1))


def _scan(**attributes: str) -> Dataset:
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


@given(DAYS, st.integers(1, 4000))
def test_the_days_between_two_scans_are_told_with_their_order(day: date, days: int) -> None:
    later = day + timedelta(days)
    first, second = _scan(AcquisitionDate=f"{day:%Y%m%d}"), _scan(SeriesDate=f"{later:%Y%m%d}")
    unit = "day" if days == 1 else "days"
    assert describe_interval(first, second) == f"Functional series acquired {later}, {days} {unit} after the MRI."
    assert describe_interval(second, first) == f"Functional series acquired {day}, {days} {unit} before the MRI."
    assert describe_interval(first, first) == ""


def test_the_acquisition_counts_and_not_what_processing_wrote() -> None:
    ds = _scan(ContentDate="20240501", StudyDate="20240301", SeriesDate="20240302", AcquisitionDate="20240303")
    assert find_scan_date(ds) == date(2024, 3, 3)
    ds.AcquisitionDateTime = "20240304101500.5+0100"
    assert find_scan_date(ds) == date(2024, 3, 4)
    assert find_scan_date(_scan(ContentDate="1997.04.24")) == date(1997, 4, 24)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DA")
@pytest.mark.parametrize("text", ["", "2024", "20241301", "20240230", "unknown!"])
def test_a_date_that_is_none_says_nothing(text: str) -> None:
    known, unknown = _scan(StudyDate="20240301"), _scan(StudyDate=text)
    assert find_scan_date(unknown) is None
    assert describe_interval(known, unknown) == describe_interval(unknown, known) == ""


def test_without_a_functional_header_nothing_is_said() -> None:
    assert describe_interval(_scan(StudyDate="20240301"), None) == ""
