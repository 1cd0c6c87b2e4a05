"""Edge: turns DICOM dates and times into moments that can be compared.

A DICOM time is the local time of the machine that wrote it, and most machines do not say how far from UTC that is
(Timezone Offset From UTC is optional, PS3.3 C.12.1.1.8). Where it is missing the time is taken as if it were UTC.
That is wrong by up to half a day in absolute terms, but it is the same for all scanners of one site, so the distances
between their series, which is all that pairing asks for, are right; and it does not depend on the time zone of the
computer that happens to read the file, as any other guess would.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

from pydicom import Dataset

from fusionnode.index.fields import read_text

_MOMENT = re.compile(r"(\d{8})(\d{0,6})(?:\.\d*)?([+-]\d{4})?")
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_DATE = re.compile(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)")
_TIME = re.compile(r"(\d\d):?(\d\d)?:?(\d\d)?(\.\d*)?")
_EARLIEST_YEAR, _LATEST_YEAR = 1900, 2200
_LARGEST_OFFSET = timedelta(hours=14)
_SOURCES = ("Acquisition", "Series", "Study", "Content")


def read_acquired_at(ds: Dataset) -> datetime | None:
    """Return when the instance was acquired (UTC), or None.

    Acquisition DateTime where present; else the first of Acquisition, Series, Study and Content that has both a date
    and a time; else the first of them that has a date, at midnight. Content comes last: processing rewrites it.
    """
    zone = parse_offset(read_text(ds, "TimezoneOffsetFromUTC")) or UTC
    moment = parse_moment(read_text(ds, "AcquisitionDateTime").split("\\")[0], zone)
    if moment is not None:
        return moment
    parts = [(read_text(ds, f"{source}Date"), read_text(ds, f"{source}Time")) for source in _SOURCES]
    complete = [parse_date_time(date, time, zone) for date, time in parts if time]
    dates = [parse_date_time(date, "000000", zone) for date, _ in parts]
    return next((found for found in complete + dates if found is not None), None)


def parse_offset(text: str) -> timezone | None:
    """Return the zone for ``+HHMM`` or ``-HHMM``, or None."""
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset) if offset <= _LARGEST_OFFSET else None


def parse_moment(text: str, zone: timezone) -> datetime | None:
    """Return the UTC moment of a DT value (PS3.5 table 6.2-1) that has at least a date; its own offset wins."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    date, time, offset = match.groups()
    fraction = text[len(date) + len(time) :].removesuffix(offset or "")
    own = parse_offset(offset) if offset else None
    return parse_date_time(date, (time or "00") + fraction, own or zone)


def parse_date_time(date: str, time: str, zone: timezone) -> datetime | None:
    """Return the UTC moment of a DA and a TM value (or their ACR-NEMA spelling), None where they are wrong."""
    date_match, time_match = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if date_match is None or time_match is None:
        return None
    year, month, day = map(int, date_match.groups())
    hour, minute, second = (int(part or 0) for part in time_match.groups()[:3])
    if not _EARLIEST_YEAR <= year <= _LATEST_YEAR:
        return None
    microsecond = int(((time_match[4] or "")[1:] + "000000")[:6])
    try:
        # A leap second is legal in a TM (PS3.5 table 6.2-1), but not here.
        local = datetime(year, month, day, hour, minute, min(second, 59), microsecond, tzinfo=zone)
    except ValueError:
        return None
    return local.astimezone(UTC)
