"""How many days lie between the two scans of a pair, for the reader of the fused series (middle)."""

from datetime import date, datetime

from pydicom import Dataset

from fusionnode.capture.inherit import read_text

# Content comes last: processing rewrites it.
_SOURCES = ("AcquisitionDateTime", "AcquisitionDate", "SeriesDate", "StudyDate", "ContentDate")


def describe_interval(fixed: Dataset, moving: Dataset | None) -> str:
    """Return a sentence with the date of the functional series where it is known and differs from the MRI's.

    Empty where the scans are of one day, and where one of the dates is missing or none.
    """
    fixed_on, moving_on = find_scan_date(fixed), find_scan_date(moving) if moving is not None else None
    if fixed_on is None or moving_on is None or fixed_on == moving_on:
        return ""
    days = (moving_on - fixed_on).days
    unit = "day" if abs(days) == 1 else "days"
    order = "after" if days > 0 else "before"
    return f"Functional series acquired {moving_on.isoformat()}, {abs(days)} {unit} {order} the MRI."


def find_scan_date(header: Dataset) -> date | None:
    """Return the date on which ``header`` was acquired, by the clock of its scanner; None where it does not say."""
    dates = (_parse_date(read_text(header, keyword)) for keyword in _SOURCES)
    return next((found for found in dates if found is not None), None)


def _parse_date(text: str) -> date | None:
    """The date of a DA or DT value (PS3.5 table 6.2-1) that names a day; the ACR-NEMA spelling has dots."""
    digits = text.replace(".", "", 2)[:8] if text[4:5] == "." else text[:8]
    if len(digits) < 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return datetime.strptime(digits, "%Y%m%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return None
