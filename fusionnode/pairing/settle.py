"""Has a series stopped arriving, and is it whole? Evidence first, the timer last; never silently over a gap (middle).

No DICOM message says reliably that a series is complete, so a series that lies still is weighed:

=========================================================  ============  ==========================================
what is known                                              after         becomes
=========================================================  ============  ==========================================
one multi-frame object                                     at once       COMPLETE
an instance contradicts an earlier one or the series       idle          QUARANTINED, naming the instance and how
nothing in it could ever be fused (SR, CT, SC, ...)        idle          IGNORED, with the reason
even stack, count tags and instance numbers agree          idle          COMPLETE, with the evidence
a slice missing inside, or fewer than the count tag says   gap           QUARANTINED, naming what is missing
anything else (three-plane localizer, echoes, time slots)  slow          COMPLETE "by timer"; `volumes` judges later
=========================================================  ============  ==========================================

"idle" also needs that no open association is carrying the series, up to the slow timer: some senders keep an
association open for hours. What holds no picture, such as raw data under the series UID of its images, is left alone.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydicom.uid import UID

from fusionnode.domain.series import Series
from fusionnode.domain.terms import UNSETTLED, SeriesState
from fusionnode.pairing.layout import Layout, LayoutKind, judge_layout

SINGLE_FRAME_CLASSES: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.4": "MR Image",
    "1.2.840.10008.5.1.4.1.1.128": "Positron Emission Tomography Image",
}
MULTI_FRAME_CLASSES: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image",
    "1.2.840.10008.5.1.4.1.1.20": "Nuclear Medicine Image",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET Image",
}
VOLUME_CLASSES: dict[str, str] = {**SINGLE_FRAME_CLASSES, **MULTI_FRAME_CLASSES}
"""The SOP classes (PS3.4 B.5) a volume can come from. Everything else, our own outputs included, never can."""

_NAMED_AT_MOST = 12
FUSED_MODALITIES = frozenset({"MR", "PT", "NM"})

_OTHER_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT images",
    "1.2.840.10008.5.1.4.1.1.7": "secondary captures",
    "1.2.840.10008.5.1.4.1.1.11": "presentation states",
    "1.2.840.10008.5.1.4.1.1.66": "raw data",
    "1.2.840.10008.5.1.4.1.1.66.1": "spatial registrations",
    "1.2.840.10008.5.1.4.1.1.66.4": "segmentations",
    "1.2.840.10008.5.1.4.1.1.88": "structured reports",
    "1.2.840.10008.5.1.4.1.1.88.59": "key object selections",
    "1.2.840.10008.5.1.4.1.1.104": "encapsulated documents",
    "1.2.840.10008.5.1.4.1.1.481": "radiotherapy objects",
}


@dataclass(frozen=True)
class SettleTimes:
    """How long a series must lie still before what is known of it counts, in seconds."""

    idle_seconds: float = 10.0
    slow_seconds: float = 90.0
    gap_seconds: float = 600.0


@dataclass(frozen=True)
class Evidence:
    """What is seen of a series from outside.

    Attributes:
        idle_seconds: since its last instance was noticed, on a monotonic clock.
        in_flight: an association that is still open has sent some of its instances.
    """

    idle_seconds: float
    in_flight: bool


@dataclass(frozen=True)
class Settlement:
    """The state a series should have now, and why, in words."""

    state: SeriesState
    reason: str


def settle_series(series: Series, evidence: Evidence, times: SettleTimes) -> Settlement:
    """Return the state ``series`` should have after lying still as ``evidence`` says; see the table above.

    A series that is settled already, or has no instances, keeps its state and its reason. A series held back
    is a CANDIDATE once it lay still for ``idle_seconds``; before that it is RECEIVING, or REOPENED as it was.
    """
    if series.state not in UNSETTLED or not series.instances:
        return Settlement(series.state, series.reason)
    still = evidence.idle_seconds >= times.idle_seconds
    quiet = (still and not evidence.in_flight) or evidence.idle_seconds >= times.slow_seconds
    if reason := explain_conflicts(series):
        return Settlement(SeriesState.QUARANTINED, reason) if quiet else _hold(series, still, reason)
    if ignored := explain_unfusable(series):
        return Settlement(SeriesState.IGNORED, ignored) if quiet else _hold(series, still, ignored)
    if _is_whole_object(series):
        return Settlement(SeriesState.COMPLETE, f"one multi-frame object of {series.frames} frames")
    if not still:
        return _hold(series, still, "")
    return _weigh_evidence(series, evidence, times)


def explain_conflicts(series: Series) -> str:
    """Return which instances contradict ``series`` and how, or empty text where none does."""
    named: dict[str, list[str]] = defaultdict(list)
    for conflict in sorted(series.conflicts):
        named[conflict.reason].append(conflict.sop_instance_uid)
    return "; ".join(f"{reason}: {_name_some(uids)}" for reason, uids in sorted(named.items()))


def explain_incomplete(series: Series) -> str:
    """Return what says that slices of ``series`` are missing; empty where nothing does, which proves nothing."""
    layout, count = judge_layout(series.images), _judge_count(series)
    return _tell_found(layout, count) if _is_short(layout, count) and not _is_whole_object(series) else ""


def explain_unfusable(series: Series) -> str:
    """Return why no instance of ``series`` could ever become part of a volume, or empty text where one could."""
    classes = sorted({one.sop_class_uid for one in series.instances})
    if not any(uid in VOLUME_CLASSES for uid in classes):
        return f"holds {', '.join(_name_class(uid) for uid in classes)}: nothing that can be fused"
    modalities = sorted({one.modality for one in series.images})
    if not any(modality in FUSED_MODALITIES for modality in modalities):
        named = " and ".join(modality or "(none)" for modality in modalities)
        return f"has modality {named}, which is not one that is fused"
    return ""


class Stillness:
    """Remembers since when each series has not grown.

    It knows nothing after a start of the process and then counts from the first look: a wait may become longer
    by a restart, never shorter.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Growth] = {}

    def observe(self, series_uid: str, count: int, now_monotonic: float) -> float:
        """Note that the series has ``count`` instances at ``now_monotonic`` (s); return for how long it has, in s."""
        growth = self._known.get(series_uid)
        if growth is None or growth.count != count:
            growth = self._known[series_uid] = _Growth(count, now_monotonic)
        return max(0.0, now_monotonic - growth.since)

    def forget_others(self, series_uids: Collection[str]) -> None:
        """Drop every series that is not among ``series_uids``: it is settled, and starts anew if it reopens."""
        listed = frozenset(series_uids)
        self._known = {uid: growth for uid, growth in self._known.items() if uid in listed}


@dataclass(frozen=True)
class _Growth:
    count: int
    since: float


def _name_some(uids: Sequence[str]) -> str:
    more = f" and {len(uids) - _NAMED_AT_MOST} more" if len(uids) > _NAMED_AT_MOST else ""
    return ", ".join(uids[:_NAMED_AT_MOST]) + more


def _name_class(uid: str) -> str:
    known = [prefix for prefix in _OTHER_CLASSES if uid == prefix or uid.startswith(f"{prefix}.")]
    return _OTHER_CLASSES[max(known, key=len)] if known else f"objects of class {UID(uid).name}"


def _hold(series: Series, still: bool, reason: str) -> Settlement:
    if still:
        return Settlement(SeriesState.CANDIDATE, reason)
    # New instances of a candidate put it back to receiving; only the ledger starts a new generation.
    state = SeriesState.RECEIVING if series.state is SeriesState.CANDIDATE else series.state
    return Settlement(state, reason)


def _is_whole_object(series: Series) -> bool:
    """A single multi-frame instance, unless it is one part of a concatenation (PS3.3 C.7.6.16.2.2.4)."""
    if len(series.images) != 1:
        return False
    (only,) = series.images
    return only.sop_class_uid in MULTI_FRAME_CLASSES and only.frames > 1 and "ConcatenationUID" not in only.attributes


@dataclass(frozen=True)
class _Count:
    """What tags that count say. ``short``: slices are missing; ``settled``: nothing speaks against the count."""

    short: bool
    settled: bool
    words: str


def _weigh_evidence(series: Series, evidence: Evidence, times: SettleTimes) -> Settlement:
    layout, count = judge_layout(series.images), _judge_count(series)
    found = _tell_found(layout, count)
    if _is_short(layout, count):
        if evidence.idle_seconds >= times.gap_seconds:
            return Settlement(SeriesState.QUARANTINED, f"still not whole after {times.gap_seconds:g} s: {found}")
        return Settlement(SeriesState.CANDIDATE, f"waiting for slices: {found}")
    if layout.kind is LayoutKind.EVEN and count.settled and not evidence.in_flight:
        return Settlement(SeriesState.COMPLETE, found)
    if evidence.idle_seconds >= times.slow_seconds:
        return Settlement(SeriesState.COMPLETE, f"by timer after {times.slow_seconds:g} s: {found}")
    carried = "an open association still carries it; " if evidence.in_flight else ""
    return Settlement(SeriesState.CANDIDATE, f"waiting for the timer: {carried}{found}")


def _is_short(layout: Layout, count: _Count) -> bool:
    return layout.kind is LayoutKind.GAP or count.short


def _tell_found(layout: Layout, count: _Count) -> str:
    return f"{layout.words}; {count.words}"


def _judge_count(series: Series) -> _Count:
    """Compare the frames that arrived with the largest count any instance claims.

    Number of Slices of a PET counts the slices of one volume (PS3.3 C.8.9.1), so fewer than that are too few.
    Images in Acquisition of an MR may count several series of one acquisition: where the claim is a whole multiple
    of what arrived, that is no sign of loss, and only time can tell. More than claimed are several volumes.
    """
    claimed, arrived = max(one.claimed_slices for one in series.images), max(series.frames, 1)
    if claimed == arrived:
        return _Count(short=False, settled=True, words="the count tag agrees")
    if claimed == 0:
        gaps = _describe_numbering(series)
        return _Count(short=False, settled=not gaps, words=gaps or "numbered without a gap")
    words = f"{arrived} arrived where a count tag says {claimed}"
    several_volumes = arrived > claimed
    several_series = claimed % arrived == 0 and all(one.modality == "MR" for one in series.images)
    return _Count(short=not several_volumes and not several_series, settled=False, words=words)


def _describe_numbering(series: Series) -> str:
    """Return what speaks against a whole series in its instance numbers; empty where they run from 0 or 1 on."""
    numbers = [one.instance_number for one in series.images if one.instance_number is not None]
    if not numbers:
        return "no count tag and no instance numbers"
    first, last, count = min(numbers), max(numbers), len(series.images)
    if len(set(numbers)) == count == last - first + 1 and first in (0, 1):
        return ""
    return f"no count tag, and the instance numbers of {count} instances run from {first} to {last}"
