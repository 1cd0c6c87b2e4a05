"""Dates and times that are carried from one scanner's clock to another's (middle).

An object has one Timezone Offset From UTC for all its dates and times (PS3.3 C.12.1.1.8). What takes its study from the
MRI and its moments from the functional series must therefore bring both onto one clock, or state none.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from pydicom import Dataset

from fusionnode.capture.inherit import read_text
from fusionnode.capture.stamp import find_local_moment, is_timezone_offset

_SUFFIX = re.compile(r"[+-]\d{4}$")
_SOME_DAY = "20000102"


def find_offset(headers: Sequence[Dataset]) -> str:
    """Return the Timezone Offset From UTC that all ``headers`` name, such as ``+0100``; empty where they do not."""
    offsets = {read_text(header, "TimezoneOffsetFromUTC") for header in headers}
    offset = offsets.pop() if len(offsets) == 1 else ""
    return offset if is_timezone_offset(offset) else ""


def choose_offset(fixed: Dataset, moving_offset: str) -> str:
    """Return the offset of an object of both series: the MRI's where both are known, else none.

    The study is the MRI's, and must read the same in each of its objects; of what has no offset nobody can tell
    what it is by another's clock.
    """
    return find_offset([fixed]) if moving_offset else ""


def move_clock(ds: Dataset, before: str, after: str) -> None:
    """Write the dates and times of ``ds``, down to the last item, by the clock ``after`` instead of ``before``.

    Both are offsets or empty; without ``before`` all stays. Without ``after`` dates and times stay as they are, and a
    DT value that states another offset is written by the clock ``before`` like the rest, so that they can be compared.
    Values stay as precise as they were; a time without a date goes round the clock. Values must be valid (PS3.5 6.2).
    """
    if not before:
        return
    shift = timedelta(minutes=_count_minutes(after or before) - _count_minutes(before))
    for element in list(ds):
        if element.VR == "SQ":
            for item in element.value or []:
                move_clock(item, before, after)
        elif element.VR == "DT" and not element.is_empty:
            element.value = _move_moment(str(element.value).strip(), before, after)
        elif element.VR == "TM" and not element.is_empty:
            _move_time(ds, element.keyword, shift)


def split_moment(text: str, offset: str) -> tuple[str, str]:
    """Return the date and the time (DA and TM texts) of a DT value by the clock of ``offset``; empty where it has none.

    A value that states no offset is on that clock already.
    """
    if offset:
        text = _move_moment(text, offset, "")
    plain = _SUFFIX.sub("", text)
    return (plain[:8], plain[8:]) if len(plain) >= 10 else ("", "")


def find_suffix(text: str) -> str:
    """Return the offset that a DT value states; empty where it states none."""
    found = _SUFFIX.search(text)
    return found.group() if found and is_timezone_offset(found.group()) else ""


def read_moment(ds: Dataset, which: str) -> datetime | None:
    """Return what ``which`` Date and Time of ``ds`` say, the clock taken for UTC; None where one of them is missing."""
    date, time = read_text(ds, f"{which}Date"), read_text(ds, f"{which}Time")
    return read_clock(date, time) if date and time else None


def read_clock(date: str, time: str) -> datetime:
    """Return valid DA and TM texts as a moment, the clock taken for UTC; a leap second is the one before it."""
    whole, _, part = time.partition(".")
    digits = whole.ljust(6, "0")
    moment = datetime.strptime(f"{date}{digits[:4]}", "%Y%m%d%H%M").replace(tzinfo=UTC)
    return moment.replace(second=min(int(digits[4:6]), 59), microsecond=int(part.ljust(6, "0") or 0))


def find_beginning(series: Dataset, acquired: Iterable[Dataset]) -> tuple[str, str] | None:
    """Return date and time of the earliest moment: that of the series, or that of an acquisition; None without any."""
    begun = []
    for ds, which in ((series, "Series"), *((one, "Acquisition") for one in acquired)):
        moment = read_moment(ds, which)
        if moment is not None:
            begun.append((moment, read_text(ds, f"{which}Date"), read_text(ds, f"{which}Time")))
    return min(begun)[1:] if begun else None


def _move_time(ds: Dataset, keyword: str, shift: timedelta) -> None:
    date = f"{keyword.removesuffix('Time')}Date"
    day = read_text(ds, date)
    moved_day, moved_clock = _shift(day or _SOME_DAY, read_text(ds, keyword), shift)
    setattr(ds, keyword, moved_clock)
    if day:
        setattr(ds, date, moved_day)


def _move_moment(text: str, before: str, after: str) -> str:
    """A value that states its offset stands for itself, unless the object states none."""
    suffix = find_suffix(text)
    plain = _SUFFIX.sub("", text)
    if len(plain) < 10 or (suffix and after):
        return text
    minutes = _count_minutes(after or before) - _count_minutes(suffix or before)
    return "".join(_shift(plain[:8], plain[8:], timedelta(minutes=minutes)))


def _shift(day: str, clock: str, shift: timedelta) -> tuple[str, str]:
    if not shift:
        return day, clock
    moved = datetime.strptime(f"{day}{clock[:2]}{clock[2:4] or '00'}", "%Y%m%d%H%M").replace(tzinfo=UTC) + shift
    return moved.strftime("%Y%m%d"), moved.strftime("%H%M") + clock[4:]


def _count_minutes(offset: str) -> int:
    zone = find_local_moment(datetime(2000, 1, 2, tzinfo=UTC), offset, UTC).utcoffset()
    return int((zone or timedelta()).total_seconds()) // 60
