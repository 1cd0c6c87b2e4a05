"""Computes the factor from Bq/ml to standardised uptake value by body weight (middle).

Follows the idea of the QIBA vendor-neutral SUV pseudo-code; whatever is doubtful leaves the values in Bq/ml.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset
from pydicom.valuerep import DA, DT, TM

from fusionnode.errors import DatasetUnreadable
from fusionnode.volumes.planes import read_numbers

WEIGHT_KG = (0.3, 500.0)
DOSE_BQ = (1e5, 1e11)
"""Below: the dose was given in MBq, as happens; above: nobody survives it."""
HALF_LIFE_SECONDS = (30.0, 1e6)
MAX_HALF_LIVES = 12.0
_TOLERATED_LEAD = timedelta(seconds=1)


@dataclass(frozen=True)
class SuvFactor:
    """g/Bq to multiply Bq/ml with, or None; ``note`` says why not, or what was assumed."""

    factor: float | None
    note: str = ""


class _Doubt(Exception):
    """Why SUV cannot be trusted; never leaves this module."""


def measure_suv(datasets: Sequence[Dataset]) -> SuvFactor:
    """Return weight [g] / dose [Bq] decayed to the time the series is corrected to.

    Weight, dose and half-life are read from the first data set; acquisition times from all of them.
    """
    try:
        return _measure(datasets)
    except _Doubt as doubt:
        return SuvFactor(None, str(doubt))
    except DatasetUnreadable as unreadable:
        return SuvFactor(None, f"{unreadable.facts['keyword']} is no number")


def _measure(datasets: Sequence[Dataset]) -> SuvFactor:
    ds = datasets[0]
    _demand_corrections(ds)
    drug = _find_drug(ds)
    weight_kg = _demand_within(ds, "PatientWeight", WEIGHT_KG)
    dose_bq = _demand_within(drug, "RadionuclideTotalDose", DOSE_BQ)
    half_life_seconds = _demand_within(drug, "RadionuclideHalfLife", HALF_LIFE_SECONDS)
    correction = str(ds.get("DecayCorrection") or "absent").upper()
    if correction == "ADMIN":
        return SuvFactor(weight_kg * 1000 / dose_bq)
    if correction != "START":
        raise _Doubt(f"DecayCorrection is {correction}, neither START nor ADMIN")
    scanned, note = _find_scan_start(datasets)
    waited_seconds = (scanned - _find_injection(drug, scanned)).total_seconds()
    half_lives = max(waited_seconds, 0.0) / half_life_seconds
    if half_lives > MAX_HALF_LIVES:
        raise _Doubt(f"the scan began {half_lives:.1f} half-lives after the injection")
    return SuvFactor(weight_kg * 1000 / (dose_bq * math.pow(2, -half_lives)), note)


def _demand_corrections(ds: Dataset) -> None:
    value = ds.get("CorrectedImage") or []
    corrected = {value} if isinstance(value, str) else set(value)
    for code, correction in (("ATTN", "attenuation"), ("DECY", "decay")):
        if code not in corrected:
            raise _Doubt(f"CorrectedImage does not say that {correction} was corrected")


def _find_drug(ds: Dataset) -> Dataset:
    drugs: Sequence[Dataset] = ds.get("RadiopharmaceuticalInformationSequence") or []
    if len(drugs) != 1:
        raise _Doubt(f"{len(drugs)} radiopharmaceuticals are described instead of one")
    return drugs[0]


def _demand_within(ds: Dataset, keyword: str, bounds: tuple[float, float]) -> float:
    number = read_numbers(ds, keyword, 1)
    if number is None:
        raise _Doubt(f"{keyword} is missing")
    if not bounds[0] <= number[0] <= bounds[1]:
        raise _Doubt(f"{keyword} {number[0]:g} lies outside {bounds[0]:g} to {bounds[1]:g}")
    return number[0]


def _find_scan_start(datasets: Sequence[Dataset]) -> tuple[datetime, str]:
    """When the values are decay-corrected to: the series' start, unless it was stamped after the acquisition."""
    series = _join(datasets[0], "SeriesDate", "SeriesTime")
    acquired = [_join(ds, "AcquisitionDate", "AcquisitionTime") for ds in datasets]
    begun = min((moment for moment in acquired if moment is not None), default=None)
    if series is not None and (begun is None or series <= begun):
        return series, ""
    if begun is None:
        raise _Doubt("neither series nor acquisition time is known")
    return begun, "SUV uses the earliest acquisition time, because the series time is later or missing."


def _find_injection(drug: Dataset, scanned: datetime) -> datetime:
    injected = _read_moment(drug, "RadiopharmaceuticalStartDateTime")
    if injected is None:
        clock = _join(drug, None, "RadiopharmaceuticalStartTime", on=scanned)
        if clock is None:
            raise _Doubt("RadiopharmaceuticalStartTime is missing")
        # Only a time of day: an injection later than the scan was before midnight.
        injected = clock if clock <= scanned + _TOLERATED_LEAD else clock - timedelta(days=1)
    if injected > scanned + _TOLERATED_LEAD:
        raise _Doubt("the injection is dated after the scan")
    return injected


def _join(ds: Dataset, date_keyword: str | None, time_keyword: str, on: datetime | None = None) -> datetime | None:
    try:
        clock = TM(ds.get(time_keyword) or None)
        day = on.date() if on else DA(ds.get(date_keyword or "") or None)
    except (TypeError, ValueError) as cause:
        raise _Doubt(f"{time_keyword} or its date is malformed") from cause
    return datetime.combine(day, clock) if day and clock else None


def _read_moment(ds: Dataset, keyword: str) -> datetime | None:
    try:
        moment = DT(ds.get(keyword) or None)
    except (TypeError, ValueError) as cause:
        raise _Doubt(f"{keyword} is malformed") from cause
    # Offsets from UTC are dropped: the scan's own times carry none, and both come from one scanner.
    return datetime.combine(moment.date(), moment.time()) if moment else None
