"""Which series belong together, and in words why the others do not (middle).

A pipeline's candidates are the complete series of its modalities. Each ends in a pair or in exactly one rejection:

1. The conditions of its role must hold (`select_series`), and it must be known whose it is.
2. A moving series can be joined to a fixed one of the same patient by, in this order of trust, a shared frame of
   reference, a shared study, or acquisition times at most ``window_days`` apart. Where a third series agrees with one
   of the two but contradicts the other (an absent issuer agrees with any), the time window alone joins nothing: the
   patient is ambiguous. Nor does it for a PatientID that is a placeholder such as UNKNOWN.
3. Each moving series takes the fixed one with the strongest link, then the highest preference score, then the
   nearest day, then the most slices, then the lowest UID.
4. Of the moving series of one study and frame that took the same fixed series, one is fused: the preferred one, then
   the one with the most slices, then the lowest UID. They are reconstructions of one acquisition (with and without
   attenuation correction, other filters), and fusing each would only bury the good one. Two tracers or two
   scans have two studies or two frames and are both fused.

The result depends on the set of series only, not on their order.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

from fusionnode.domain.pair import Pair, Rejection
from fusionnode.domain.series import PatientIdentity, Series, SeriesKey
from fusionnode.domain.terms import Role, SeriesState
from fusionnode.pairing.links import (
    LINK_WORDS,
    Bond,
    Candidate,
    Link,
    Obstacle,
    in_utc,
    join_candidates,
    make_candidate,
)
from fusionnode.pairing.patient import explain_unidentified
from fusionnode.pairing.select import select_series
from fusionnode.pipeline.schema import Pipeline, SeriesRule

_LINK_SCORE = 1000.0
"""Outweighs every sum of preferences: at most 32 of weight 10 in each role (`SeriesRule`)."""


@dataclass(frozen=True)
class Matching:
    """What a pipeline makes of a set of series: pairs in the order of their moving keys, rejections of their keys."""

    pairs: tuple[Pair, ...]
    rejections: tuple[Rejection, ...]


def match_pairs(pipeline: Pipeline, series: Sequence[Series], now: datetime) -> Matching:
    """Pair what belongs together among ``series`` and say of every other candidate why it was not paired.

    Args:
        pipeline: its roles, its time window and its hold time.
        series: any series in any order; only complete ones of the pipeline's modalities are candidates.
        now: UTC; a candidate first seen more than ``hold_hours`` ago is told that its wait is over. That closes the
            account of its wait, not its chances: a partner that comes later still pairs by the same rules.

    Returns:
        The reasons hold no patient data and no elapsed time, so that the same reason recurs word for word.
    """
    complete = [one for one in _keep_newest(series) if one.state is SeriesState.COMPLETE and one.instances]
    fixed, reasons = _admit(pipeline.fixed, complete)
    others = [one for one in complete if one.head.modality not in pipeline.fixed.modality]
    moving, unfit = _admit(pipeline.moving, others)
    reasons |= unfit
    kept: list[Bond] = []
    for file in _open_files(pipeline, fixed, moving, complete):
        bonds, lost = _choose_bonds(file)
        kept += bonds
        reasons |= lost | _explain_lonely(file, {*lost, *_list_keys(bonds)}, now)
    pairs = (_make_pair(pipeline, bond) for bond in sorted(kept, key=lambda bond: _order(bond.moving.key)))
    rejections = (Rejection(pipeline.name, (key,), reasons[key]) for key in sorted(reasons, key=_order))
    return Matching(tuple(pairs), tuple(rejections))


@dataclass(frozen=True)
class _PatientFile:
    """Everything with one PatientID: who was scanned is matched file by file, so no file can touch another.

    ``joints`` holds for each candidate what joins it to, or separates it from, every candidate of the other role.
    """

    pipeline: Pipeline
    fixed: tuple[Candidate, ...]
    moving: tuple[Candidate, ...]
    joints: Mapping[SeriesKey, Sequence[Bond | Obstacle]]

    def list_bonds(self, key: SeriesKey) -> list[Bond]:
        return [joint for joint in self.joints[key] if isinstance(joint, Bond)]

    def list_obstacles(self, key: SeriesKey) -> list[Obstacle]:
        return [joint for joint in self.joints[key] if isinstance(joint, Obstacle)]


def _order(key: SeriesKey) -> tuple[str, int]:
    return key.series_instance_uid, key.generation


def _keep_newest(series: Iterable[Series]) -> list[Series]:
    """Return one `Series` for each UID, of its highest generation, ordered by UID."""
    newest = {one.key.series_instance_uid: one for one in sorted(series, key=lambda one: _order(one.key))}
    return list(newest.values())


def _admit(rule: SeriesRule, complete: Sequence[Series]) -> tuple[list[Candidate], dict[SeriesKey, str]]:
    """Return the candidates that fit ``rule``, and why the others of its modalities do not."""
    chosen, refused = select_series(rule, (one for one in complete if one.head.modality in rule.modality))
    unidentified = {choice.series.key: explain_unidentified(choice.series) for choice in chosen}
    reasons = {one.key: reason for one, reason in refused}
    reasons |= {key: reason for key, reason in unidentified.items() if reason}
    return [make_candidate(choice) for choice in chosen if not unidentified[choice.series.key]], reasons


def _open_files(
    pipeline: Pipeline, fixed: Sequence[Candidate], moving: Sequence[Candidate], complete: Sequence[Series]
) -> Iterator[_PatientFile]:
    crowds: dict[str, set[PatientIdentity]] = defaultdict(set)
    for identity in {one.patient for series in complete for one in series.instances}:
        crowds[identity.patient_id.strip()].add(identity)
    roles: dict[str, tuple[list[Candidate], list[Candidate]]] = defaultdict(lambda: ([], []))
    for one in fixed:
        roles[one.identity.patient_id][0].append(one)
    for one in moving:
        roles[one.identity.patient_id][1].append(one)
    for patient_id, (their_fixed, their_moving) in sorted(roles.items()):
        joints: dict[SeriesKey, list[Bond | Obstacle]] = {one.key: [] for one in (*their_fixed, *their_moving)}
        for one, other in itertools.product(their_fixed, their_moving):
            joint = join_candidates(pipeline, one, other, crowds[patient_id])
            joints[one.key].append(joint)
            joints[other.key].append(joint)
        yield _PatientFile(pipeline, tuple(their_fixed), tuple(their_moving), joints)


def _choose_bonds(file: _PatientFile) -> tuple[list[Bond], dict[SeriesKey, str]]:
    """Return the bonds to fuse, and why the moving series lost that had a bond but are not fused."""
    best = [min(bonds, key=_rank_fixed) for one in file.moving if (bonds := file.list_bonds(one.key))]
    scans: dict[tuple[SeriesKey, str, str], list[Bond]] = defaultdict(list)
    for bond in best:
        scans[bond.fixed.key, bond.moving.study, bond.moving.frame].append(bond)
    kept = [min(bonds, key=_rank_moving) for bonds in scans.values()]
    lost = {
        bond.moving.key: f"moving {winner.moving.uid} of this scan was preferred {_compare(winner.moving, bond.moving)}"
        for winner, bonds in zip(kept, scans.values(), strict=True)
        for bond in bonds
        if bond is not winner
    }
    return kept, lost


def _rank_fixed(bond: Bond) -> tuple[float, float, int, int, str]:
    fixed = bond.fixed
    return -bond.link, -fixed.chosen.preference_score, bond.days, -fixed.series.frames, fixed.uid


def _rank_moving(bond: Bond) -> tuple[float, int, str]:
    moving = bond.moving
    return -moving.chosen.preference_score, -moving.series.frames, moving.uid


def _compare(winner: Candidate, loser: Candidate) -> str:
    """Say what the winner had and the loser had not."""
    more = [reason for reason in winner.chosen.reasons if reason not in loser.chosen.reasons]
    scores = f"score {winner.chosen.preference_score:g} to {loser.chosen.preference_score:g}"
    slices = f"{winner.series.frames} to {loser.series.frames} slices"
    return f"({'; '.join([*more, scores, slices])})"


def _list_keys(bonds: Iterable[Bond]) -> set[SeriesKey]:
    return {key for bond in bonds for key in (bond.fixed.key, bond.moving.key)}


def _explain_lonely(file: _PatientFile, told: Set[SeriesKey], now: datetime) -> dict[SeriesKey, str]:
    """Say of every candidate of the file that is not among ``told`` why it has no partner."""
    reasons = {}
    for role, candidates in ((Role.FIXED, file.fixed), (Role.MOVING, file.moving)):
        for one in candidates:
            if one.key not in told:
                reasons[one.key] = _explain_outbid(file, one) or _explain_waiting(file, one, role, now)
    return reasons


def _explain_outbid(file: _PatientFile, fixed: Candidate) -> str:
    """Name the fixed series that was preferred to this one; empty where nothing would have joined it at all."""
    bonds = file.list_bonds(fixed.key)
    if not bonds:
        return ""
    moving = min(bonds, key=_rank_moving).moving
    winner = min(file.list_bonds(moving.key), key=_rank_fixed)
    link = LINK_WORDS[winner.link]
    return f"fixed {winner.fixed.uid} was preferred for moving {moving.uid} ({link}) {_compare(winner.fixed, fixed)}"


def _explain_waiting(file: _PatientFile, one: Candidate, role: Role, now: datetime) -> str:
    partner = file.pipeline.moving if role is Role.FIXED else file.pipeline.fixed
    obstacles = file.list_obstacles(one.key)
    words = f"no complete {' or '.join(partner.modality)} series of this patient fits"
    if obstacles:
        words = min(obstacles, key=lambda obstacle: (-obstacle.weight, obstacle.words)).words
    hold_hours, seen = file.pipeline.pairing.hold_hours, one.series.first_seen_at
    if seen is not None and in_utc(now) - in_utc(seen) > timedelta(hours=hold_hours):
        return f"closed: no partner within {hold_hours:g} h: {words}"
    return f"no partner yet: {words}"


def _make_pair(pipeline: Pipeline, bond: Bond) -> Pair:
    fixed, moving = bond.fixed.chosen, bond.moving.chosen
    return Pair(
        pipeline=pipeline.name,
        fixed=bond.fixed.key,
        moving=bond.moving.key,
        score=bond.link * _LINK_SCORE + fixed.preference_score + moving.preference_score,
        shared_frame=bond.link is Link.FRAME,
        reasons=(
            LINK_WORDS[bond.link],
            *(f"fixed: {reason}" for reason in fixed.reasons),
            *(f"moving: {reason}" for reason in moving.reasons),
        ),
    )
