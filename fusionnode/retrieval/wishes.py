"""What is asked of an archive: rows of a patient list, a range of dates, modalities. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from fusionnode.domain.uids import parse_uid
from fusionnode.errors import ListInvalid, UidMalformed

COLUMNS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "AccessionNumber", "StudyDate")
"""What a patient list may hold, by DICOM keyword; see `read_wishes`."""

_NAMING = ("PatientID", "StudyInstanceUID", "AccessionNumber")
_MISTAKES_AT_MOST = 20
_SEPARATOR = re.compile(r"(?<=\d{8})-|(?<=\d{4}-\d\d-\d\d)-|\.\.|^-|-$")
_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)")


@dataclass(frozen=True)
class DateRange:
    """Days from ``first`` to ``last``, both included; None is open."""

    first: date | None = None
    last: date | None = None

    def __str__(self) -> str:
        """As range matching wants it (PS3.4 C.2.2.2.5); empty where both ends are open."""
        ends = [one.strftime("%Y%m%d") if one else "" for one in (self.first, self.last)]
        return ends[0] if ends[0] == ends[1] else "-".join(ends)

    def includes(self, text: str) -> bool:
        """Whether the day that DA text names is within; a text that names none is within an open range only."""
        day = _read_date(text)
        if day is None:
            return self.first is None and self.last is None
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)

    def narrow(self, other: "DateRange") -> "DateRange":
        """Return the days within both."""
        firsts = [one.first for one in (self, other) if one.first]
        lasts = [one.last for one in (self, other) if one.last]
        return DateRange(max(firsts, default=None), min(lasts, default=None))

    def widen(self, days: float) -> "DateRange":
        """Return the range with ``days`` more at either closed end."""
        more = timedelta(days=days)
        return DateRange(self.first and self.first - more, self.last and self.last + more)


@dataclass(frozen=True)
class Wish:
    """One question: the studies that fulfil all that is not empty.

    Attributes:
        modalities: one of them must be in the study.
        row: of the patient list, 1 for the first below the heading; 0 where there is none.
    """

    patient_id: str = ""
    issuer: str = ""
    study_instance_uid: str = ""
    accession_number: str = ""
    dates: DateRange = DateRange()
    modalities: tuple[str, ...] = ()
    row: int = 0

    def __repr__(self) -> str:
        return f"Wish(<row {self.row}>)"


def read_range(text: str) -> DateRange:
    """Read ``20240101-20240331``, ``2024-01-01..2024-03-31``, one day, or a range with one open end.

    Raises:
        ListInvalid: it is none of these, or ends before it begins.
    """
    text = "".join(text.split())
    parts = _SEPARATOR.split(text, maxsplit=1)
    days = [_read_date(part) for part in parts]
    wrong = [part for part, day in zip(parts, days, strict=True) if part and day is None]
    if not text or wrong or not any(days):
        raise ListInvalid("A date range is not understood.", remedy="Write it as 20240101-20240331 or as one day.")
    found = DateRange(days[0], days[-1])
    if found.first and found.last and found.last < found.first:
        raise ListInvalid("A date range ends before it begins.", remedy="Exchange its ends.")
    return found


def read_day(text: str) -> DateRange:
    """Return the day that DA text names as a range; an open one where it names none."""
    day = _read_date(text)
    return DateRange(day, day)


def read_wishes(text: str, everywhere: Wish) -> tuple[Wish, ...]:
    """Read a patient list: CSV with a heading of `COLUMNS`, separated by comma, semicolon or tab.

    Each row names a patient, a study or an accession number; an issuer and a date only narrow that. ``everywhere`` says
    what holds for every row besides. Rows that ask the same are one. Empty rows, and empty cells at the end of a row,
    are passed over, and so is the line ``sep=;`` before the heading: spreadsheets leave them.

    Raises:
        ListInvalid: every mistake at once, by row and column, without the values.
    """
    rows = _read_cells(text.removeprefix("\ufeff"))
    names = _trim(next(rows, []))
    mistakes = _list_heading_mistakes(names)
    wishes: dict[Wish, Wish] = {}
    for number, cells in enumerate(rows if not mistakes else (), start=1):
        try:
            if any(cells):
                wish = _read_row(names, cells, everywhere)
                wishes.setdefault(wish, replace(wish, row=number))
        except (ListInvalid, UidMalformed) as mistake:
            mistakes.append(f"row {number}: {_shorten(mistake)}")
    if not wishes and not mistakes:
        mistakes.append("there is no row")
    if mistakes:
        shown = [*mistakes[:_MISTAKES_AT_MOST], *(["and more"] if len(mistakes) > _MISTAKES_AT_MOST else [])]
        raise ListInvalid(
            f"The patient list is not usable: {'; '.join(shown)}.",
            remedy=f"Known columns are {', '.join(COLUMNS)}.",
            mistakes=mistakes,
        )
    return tuple(wishes.values())


def _read_cells(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row from the heading on."""
    if re.match(r'"?sep=', text):
        text = text.partition("\n")[2]
    separator = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            yield [cell.strip() for cell in row]
    except csv.Error as broken:
        raise ListInvalid(
            f"The patient list is no CSV in line {reader.line_num}: {broken}.",
            remedy="Look for a quotation mark alone.",
        ) from None


def _trim(cells: list[str]) -> list[str]:
    """Return the cells without the empty ones at the end."""
    used = [number for number, cell in enumerate(cells, start=1) if cell]
    return cells[: max(used, default=0)]


def _list_heading_mistakes(names: Iterable[str]) -> list[str]:
    names = list(names)
    # Where the heading was forgotten, the first line is a patient's: it is not shown.
    unknown = (number for number, name in enumerate(names, start=1) if name not in COLUMNS)
    mistakes = [f"column {number} of the heading is not known" for number in unknown]
    mistakes += [f"the heading names {name} twice" for name in sorted({one for one in names if names.count(one) > 1})]
    if not mistakes and not set(names) & set(_NAMING):
        mistakes.append(f"the heading names none of {', '.join(_NAMING)}")
    return mistakes


def _read_row(names: Sequence[str], cells: Sequence[str], everywhere: Wish) -> Wish:
    if any(cells[len(names) :]):
        raise ListInvalid("has more columns than the heading")
    values = dict(zip(names, cells, strict=False))
    if not any(values.get(name) for name in _NAMING):
        raise ListInvalid(f"names none of {', '.join(_NAMING)}")
    split = [name for name in ("PatientID", "IssuerOfPatientID", "AccessionNumber") if "\\" in values.get(name, "")]
    if split:
        raise ListInvalid(f"{split[0]} holds a backslash, which separates values in DICOM")
    if not all(value.isprintable() for value in values.values()):
        raise ListInvalid("holds a line break or another control character")
    dates = everywhere.dates
    if values.get("StudyDate"):
        dates = dates.narrow(read_range(values["StudyDate"]))
    uid = values.get("StudyInstanceUID", "")
    return replace(
        everywhere,
        patient_id=values.get("PatientID", ""),
        issuer=values.get("IssuerOfPatientID", ""),
        study_instance_uid=parse_uid(uid) if uid else "",
        accession_number=values.get("AccessionNumber", ""),
        dates=dates,
    )


def _shorten(mistake: ListInvalid | UidMalformed) -> str:
    # A UID that is none may be anything, a name among it.
    return "StudyInstanceUID is no UID" if isinstance(mistake, UidMalformed) else mistake.message.rstrip(".")


def _read_date(text: str) -> date | None:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return datetime.strptime("".join(match.groups()), "%Y%m%d").date()  # noqa: DTZ007 - DA text has no zone
    except ValueError:
        return None
