"""Computes the factor from Bq/ml to standardised uptake value by body weight (middle).

Follows the idea of the QIBA vendor-neutral SUV pseudo-code; whatever is doubtful leaves the values in Bq/ml.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from pydicom import Dataset
from pydicom.uid import EnhancedPETImageStorage
from pydicom.valuerep import DA, DT, TM

from fusionnode.errors import DatasetUnreadable
from fusionnode.volumes.values import read_items, read_numbers, read_value, spell_value

WEIGHT_KG = (0.3, 500.0)
DOSE_BQ = (1e5, 1e11)
"""Below: the dose was given in MBq, as happens; above: nobody survives it."""
HALF_LIFE_SECONDS = (30.0, 1e6)
MAX_HALF_LIVES = 12.0
DECAY_TOLERANCE = 0.03
_OF_THE_DRUG = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
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

    Weight, dose, half-life and injection must be the same in all data sets; the earliest acquisition counts. Where
    classic slices state the decay factor they were given, it must fit the frame's time within the series. An enhanced
    object names the moment of correction itself (PS3.3 C.8.22.4). Moments that state an offset from UTC are compared by
    it; those that do not have the object's Timezone Offset From UTC (PS3.3 C.12.1.1.8).
    """
    try:
        return _measure(datasets)
    except _Doubt as doubt:
        return SuvFactor(None, str(doubt))
    except DatasetUnreadable as unreadable:
        return SuvFactor(None, f"{unreadable.facts['keyword']} is malformed")
    except OverflowError:
        return SuvFactor(None, "a date lies outside the calendar")


def _measure(datasets: Sequence[Dataset]) -> SuvFactor:
    ds = datasets[0]
    _demand_agreement(datasets)
    _demand_corrections(ds)
    drug = _find_drug(ds)
    weight_kg = _demand_within(ds, "PatientWeight", WEIGHT_KG)
    dose_bq = _demand_within(drug, "RadionuclideTotalDose", DOSE_BQ)
    half_life_seconds = _demand_within(drug, "RadionuclideHalfLife", HALF_LIFE_SECONDS)
    if _is_enhanced(ds):
        corrected_to, note = _find_stated_correction(ds), ""
    else:
        correction = (spell_value(ds, "DecayCorrection") or "absent").upper()
        if correction == "ADMIN":
            return SuvFactor(weight_kg * 1000 / dose_bq)
        if correction != "START":
            raise _Doubt(f"DecayCorrection is {correction}, neither START nor ADMIN")
        _demand_plausible_decay(datasets, half_life_seconds)
        corrected_to, note = _find_scan_start(datasets)
    waited_seconds = (corrected_to - _find_injection(drug, corrected_to, _find_zone(ds))).total_seconds()
    half_lives = max(waited_seconds, 0.0) / half_life_seconds
    if half_lives > MAX_HALF_LIVES:
        raise _Doubt(f"the scan began {half_lives:.1f} half-lives after the injection")
    return SuvFactor(weight_kg * 1000 / (dose_bq * math.pow(2, -half_lives)), note)


def _is_enhanced(ds: Dataset) -> bool:
    return bool(ds.get("SOPClassUID") == EnhancedPETImageStorage)


def _demand_agreement(datasets: Sequence[Dataset]) -> None:
    """All slices must tell of one patient's weight and one injection."""
    for keyword in ("PatientWeight", "DecayCorrection", "CorrectedImage", "TimezoneOffsetFromUTC"):
        if len({spell_value(ds, keyword) for ds in datasets}) > 1:
            raise _Doubt(f"the slices differ in {keyword}")
    drugs = [_find_drug(ds) for ds in datasets]
    for keyword in _OF_THE_DRUG:
        if len({spell_value(drug, keyword) for drug in drugs}) > 1:
            raise _Doubt(f"the slices differ in {keyword}")


def _demand_plausible_decay(datasets: Sequence[Dataset], half_life_seconds: float) -> None:
    """Values that were corrected to each frame's own start, not to the series', would be off by the time between.

    Frame Reference Time lies anywhere from the start to the end of a frame with some vendors, hence one duration of
    slack on both sides.
    """
    for ds in datasets:
        factor, reference, duration = (
            read_numbers(ds, keyword, 1) for keyword in ("DecayFactor", "FrameReferenceTime", "ActualFrameDuration")
        )
        if not factor or not reference or not duration:
            continue
        low, high = (reference[0] / 1000 + sign * duration[0] / 1000 for sign in (-1, 1))
        bounds = (2 ** (low / half_life_seconds), 2 ** (high / half_life_seconds))
        if not bounds[0] * (1 - DECAY_TOLERANCE) <= factor[0] <= bounds[1] * (1 + DECAY_TOLERANCE):
            raise _Doubt(
                f"DecayFactor {factor[0]:g} does not fit a frame {reference[0] / 1000:g} s into the series: "
                "it is unclear to which moment the values were corrected"
            )


def _find_stated_correction(ds: Dataset) -> datetime:
    corrected_to = _read_moment(ds, "DecayCorrectionDateTime", _find_zone(ds))
    if corrected_to is None:
        raise _Doubt("DecayCorrectionDateTime is missing")
    return corrected_to


def _demand_corrections(ds: Dataset) -> None:
    if _is_enhanced(ds):
        for keyword in ("AttenuationCorrected", "DecayCorrected"):
            if spell_value(ds, keyword).upper() != "YES":
                raise _Doubt(f"{keyword} is not YES")
        return
    corrected = spell_value(ds, "CorrectedImage").split("\\")
    for code, correction in (("ATTN", "attenuation"), ("DECY", "decay")):
        if code not in corrected:
            raise _Doubt(f"CorrectedImage does not say that {correction} was corrected")


def _find_drug(ds: Dataset) -> Dataset:
    drugs = read_items(ds, "RadiopharmaceuticalInformationSequence")
    if len(drugs) != 1:
        raise _Doubt(f"{len(drugs)} radiopharmaceuticals are described instead of one")
    return drugs[0]


def _demand_within(ds: Dataset, keyword: str, bounds: tuple[float, float]) -> float:
    number = read_numbers(ds, keyword, 1)
    if number is None:
        raise _Doubt(f"{keyword} is missing")
    if not bounds[0] <= number[0] <= bounds[1]:
        # What the patient weighs is nobody's business who reads a report; how much was given tells whose mistake it is.
        told = keyword if keyword == "PatientWeight" else f"{keyword} {number[0]:g}"
        raise _Doubt(f"{told} lies outside {bounds[0]:g} to {bounds[1]:g}")
    return number[0]


def _find_scan_start(datasets: Sequence[Dataset]) -> tuple[datetime, str]:
    """When the values are decay-corrected to: the series' start, unless it was stamped after the acquisition."""
    zone = _find_zone(datasets[0])
    series = _join(datasets[0], "SeriesDate", "SeriesTime", zone)
    acquired = [_join(ds, "AcquisitionDate", "AcquisitionTime", zone) for ds in datasets]
    begun = min((moment for moment in acquired if moment is not None), default=None)
    if series is not None and (begun is None or series <= begun):
        return series, ""
    if begun is None:
        raise _Doubt("neither series nor acquisition time is known")
    return begun, "SUV uses the earliest acquisition time, because the series time is later or missing."


def _find_injection(drug: Dataset, scanned: datetime, zone: tzinfo | None) -> datetime:
    injected = _read_moment(drug, "RadiopharmaceuticalStartDateTime", zone)
    if injected is None:
        injected = _find_last_time_of_day(drug, scanned, zone)
    _demand_comparable(injected, scanned)
    if injected > scanned + _TOLERATED_LEAD:
        raise _Doubt("the injection is dated after the scan")
    return injected


def _find_last_time_of_day(drug: Dataset, scanned: datetime, zone: tzinfo | None) -> datetime:
    """The injection where only its time of day is known: one later than the scan was before midnight."""
    on = scanned.astimezone(zone) if scanned.tzinfo and zone else scanned
    clock = _join(drug, None, "RadiopharmaceuticalStartTime", zone, on)
    if clock is None:
        raise _Doubt("RadiopharmaceuticalStartTime is missing")
    _demand_comparable(clock, scanned)
    return clock if clock <= scanned + _TOLERATED_LEAD else clock - timedelta(days=1)


def _demand_comparable(injected: datetime, scanned: datetime) -> None:
    if (injected.tzinfo is None) != (scanned.tzinfo is None):
        known, unknown = ("scan", "injection") if scanned.tzinfo else ("injection", "scan")
        raise _Doubt(f"the time of the {known} states its offset from UTC, that of the {unknown} has none")


def _find_zone(ds: Dataset) -> tzinfo | None:
    """What the object's dates and times are local to; None where it does not say so, or not readably."""
    try:
        return datetime.strptime(spell_value(ds, "TimezoneOffsetFromUTC").strip(), "%z").tzinfo
    except ValueError:
        return None


def _join(
    ds: Dataset, date_keyword: str | None, time_keyword: str, zone: tzinfo | None, on: datetime | None = None
) -> datetime | None:
    try:
        clock = TM(read_value(ds, time_keyword) or None)
        day = on.date() if on else DA(read_value(ds, date_keyword or "") or None)
    except (TypeError, ValueError) as cause:
        raise _Doubt(f"{time_keyword} or its date is malformed") from cause
    return datetime.combine(day, clock, zone) if day and clock else None


def _read_moment(ds: Dataset, keyword: str, zone: tzinfo | None) -> datetime | None:
    try:
        moment = DT(read_value(ds, keyword) or None)
    except (TypeError, ValueError) as cause:
        raise _Doubt(f"{keyword} is malformed") from cause
    return datetime.combine(moment.date(), moment.time(), moment.tzinfo or zone) if moment else None
