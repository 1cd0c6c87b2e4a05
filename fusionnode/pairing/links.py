"""What joins a fixed and a moving series of one patient, or what stands between them (middle)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from fusionnode.domain.series import PatientIdentity, Series, SeriesKey
from fusionnode.domain.terms import UNSETTLED
from fusionnode.pairing.layout import count_places
from fusionnode.pairing.patient import find_contradictions, is_placeholder, is_same_patient, merge_identities
from fusionnode.pairing.select import Chosen, find_unmet
from fusionnode.pairing.tracer import Tracer, read_tracer
from fusionnode.pipeline.schema import Pipeline


class Link(IntEnum):
    """What joins two series; a higher one is trusted more."""

    WINDOW = 1
    STUDY = 2
    FRAME = 3


LINK_SCORE = 10_000.0
"""Of one rank of `Link`: outweighs every sum of preferences (at most 32 of weight 10 in each role, `SeriesRule`) and
every distance (at most 3660 days of weight 1, `Pairing`)."""

FRAME_TRUST_DAYS = 1.0
"""Across studies a shared frame of reference is trusted for no longer: some systems give every scan of a patient the
same, and nobody who left the table lies as before."""

LINK_WORDS = {
    Link.WINDOW: "acquired within the time window",
    Link.STUDY: "same study",
    Link.FRAME: "same frame of reference",
}


@dataclass(frozen=True)
class Candidate:
    """A series that fits a role, with what is needed to join it.

    Attributes:
        frame: its Frame of Reference UID; empty where it has none, or several.
        study: its Study Instance UID; empty where its instances name several.
        acquired_at: the earliest acquisition of its instances (UTC), or None.
        slices: its distinct slice positions, see `count_places`.
        tracer: what its headers say of it; an MRI has none.
    """

    chosen: Chosen
    identity: PatientIdentity
    frame: str
    study: str
    acquired_at: datetime | None
    slices: int
    tracer: Tracer

    @property
    def series(self) -> Series:
        """The series itself."""
        return self.chosen.series

    @property
    def key(self) -> SeriesKey:
        """Of the series."""
        return self.chosen.series.key

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return self.key.series_instance_uid

    @property
    def arriving(self) -> bool:
        """Whether it is still on its way: it can be waited for, not fused."""
        return self.series.state in UNSETTLED


@dataclass(frozen=True)
class Bond:
    """A fixed and a moving candidate that may be fused.

    Attributes:
        days: whole days between their acquisitions, 0 where one is undated.
        score: the link counts most, then the preferences of both roles less the distance in days.
    """

    fixed: Candidate
    moving: Candidate
    link: Link
    days: int
    score: float

    @property
    def arriving(self) -> bool:
        """Whether one of the two is still on its way."""
        return self.fixed.arriving or self.moving.arriving

    @property
    def reasons(self) -> tuple[str, ...]:
        """What makes up the score, in words without values of the header."""
        apart = (f"{self.days} day(s) between the acquisitions",) if self.days else ()
        fixed, moving = self.fixed.chosen, self.moving.chosen
        roles = [f"fixed: {reason}" for reason in fixed.reasons] + [f"moving: {reason}" for reason in moving.reasons]
        return (LINK_WORDS[self.link], *apart, *roles)


@dataclass(frozen=True)
class Obstacle:
    """What stands between two series of one PatientID. Of several, the one of the highest ``weight`` is told."""

    weight: int
    words: str


def make_candidate(chosen: Chosen) -> Candidate:
    """Return the candidate for a series whose instances all name one patient."""
    images = chosen.series.images
    acquired = [in_utc(one.acquired_at) for one in images if one.acquired_at is not None]
    return Candidate(
        chosen=chosen,
        identity=merge_identities(one.patient for one in chosen.series.instances),
        frame=_find_only(one.frame_of_reference_uid for one in images),
        study=_find_only(one.study_instance_uid for one in images),
        acquired_at=min(acquired, default=None),
        slices=count_places(images),
        tracer=read_tracer(images),
    )


def join_candidates(
    pipeline: Pipeline, fixed: Candidate, moving: Candidate, crowd: Iterable[PatientIdentity]
) -> Bond | Obstacle:
    """Return what joins two candidates of one PatientID, or what stands between them.

    Args:
        pipeline: its time window and the anatomy its registration was made for.
        fixed: the MRI.
        moving: the functional series.
        crowd: every known identity with that PatientID, to tell an ambiguous one.
    """
    contradictions = find_contradictions(fixed.identity, moving.identity)
    if contradictions:
        words = f"same PatientID, but the {' and the '.join(contradictions)} contradicts: not taken for one patient"
        return Obstacle(5, f"{words} ({_name_both(fixed, moving)})")
    same_study = bool(fixed.study) and fixed.study == moving.study
    if fixed.frame and fixed.frame == moving.frame:
        doubt = None if same_study else _doubt_frame(fixed, moving)
        return doubt or _make_bond(pipeline, fixed, moving, Link.FRAME)
    for one in (fixed, moving):
        if unmet := find_unmet(pipeline.registration.where, one.series):
            return Obstacle(3, f"no shared frame of reference, and no motion may be estimated: {one.uid} {unmet}")
    if same_study:
        return _make_bond(pipeline, fixed, moving, Link.STUDY)
    return _join_in_time(pipeline, fixed, moving, crowd)


def in_utc(moment: datetime) -> datetime:
    """Return ``moment`` with a zone; without one it is taken as UTC, which is a day wrong at most."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _find_only(values: Iterable[str]) -> str:
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else ""


def _name_both(fixed: Candidate, moving: Candidate) -> str:
    return f"fixed {fixed.uid}, moving {moving.uid}"


def _doubt_frame(fixed: Candidate, moving: Candidate) -> Obstacle | None:
    """Return why a frame shared across studies is not trusted; None where it is.

    Dates do not join such a pair either: the fusion takes whatever shares a frame as it lies, and registers nothing.
    """
    undated = [one.uid for one in (fixed, moving) if one.acquired_at is None]
    if undated:
        words = f"the frame of reference is shared across studies, which dates must bear out, and {undated[0]} states"
        return Obstacle(2, f"{words} no date ({_name_both(fixed, moving)})")
    if far := _find_distance(FRAME_TRUST_DAYS, fixed, moving):
        return Obstacle(2, f"the frame of reference is shared across studies, but they are {far.words}")
    return None


def _join_in_time(
    pipeline: Pipeline, fixed: Candidate, moving: Candidate, crowd: Iterable[PatientIdentity]
) -> Bond | Obstacle:
    if is_placeholder(fixed.identity):
        return Obstacle(4, "the PatientID is a placeholder, and neither frame of reference nor study is shared")
    if any(is_same_patient(fixed.identity, one) != is_same_patient(moving.identity, one) for one in crowd):
        words = (
            "ambiguous patient: another series of this PatientID agrees with one of the two and contradicts the other"
        )
        return Obstacle(4, f"{words} ({_name_both(fixed, moving)})")
    if fixed.acquired_at is None or moving.acquired_at is None:
        undated = fixed if fixed.acquired_at is None else moving
        return Obstacle(2, f"neither frame of reference nor study is shared, and {undated.uid} states no date")
    return _find_distance(pipeline.pairing.window_days, fixed, moving) or _make_bond(
        pipeline, fixed, moving, Link.WINDOW
    )


def _find_distance(window_days: float, fixed: Candidate, moving: Candidate) -> Obstacle | None:
    """Return the obstacle of two series acquired further apart than the window; None where one is undated."""
    distance = _measure_distance(fixed, moving)
    if distance <= timedelta(days=window_days):
        return None
    words = f"{distance.days} days apart, more than {window_days:g}"
    return Obstacle(1, f"{words} ({_name_both(fixed, moving)})")


def _measure_distance(fixed: Candidate, moving: Candidate) -> timedelta:
    if fixed.acquired_at is None or moving.acquired_at is None:
        return timedelta(0)
    return abs(fixed.acquired_at - moving.acquired_at)


def _make_bond(pipeline: Pipeline, fixed: Candidate, moving: Candidate, link: Link) -> Bond:
    days = _measure_distance(fixed, moving).days
    liking = fixed.chosen.preference_score + moving.chosen.preference_score - pipeline.pairing.day_weight * days
    # Rounded, so that sums that mean the same are the same.
    return Bond(fixed, moving, link, days, round(link * LINK_SCORE + liking, 6))
