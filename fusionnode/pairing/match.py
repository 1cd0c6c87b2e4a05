"""Which series belong together, and in words why the others do not (middle).

A pipeline's candidates are the complete series of its modalities. Each ends in a pair or in exactly one rejection:

1. The conditions of its role must hold (`select_series`), and it must be known whose it is.
2. A moving series can be joined to a fixed one of the same patient by, in this order of trust, a shared frame of
   reference (across studies for a day at most), a shared study, or acquisition times at most ``window_days`` apart.
   Where a third series agrees with one of the two but contradicts the other (an absent issuer agrees with any), the
   time window alone joins nothing: the patient is ambiguous. Nor does it for a PatientID that is a placeholder such as
   UNKNOWN.
3. Each moving series takes the fixed one with the highest score: the link first, then the preferences less the days
   between the two. Equal scores are decided by the nearest day, then the most slices, then the fewest frames, then the
   lowest UID.
4. Of the moving series of one acquisition (`acquisitions`) one is fused: that with the highest preference score, then
   the most slices, the fewest frames and the lowest UID. The others are its reconstructions with and without
   attenuation correction or with other filters, and fusing each would only bury the good one. Two tracers or two scans
   are both fused.
5. A series that is still arriving is never fused, but where it would be chosen it is waited for: the second best
   is not fused a minute before the best is whole.

The result depends on the set of series only, not on their order.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fusionnode.domain.pair import Pair, Rejection
from fusionnode.domain.series import PatientIdentity, Series, SeriesKey
from fusionnode.domain.terms import Role, SeriesState
from fusionnode.pairing.acquisitions import split_acquisitions
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
from fusionnode.pairing.patient import explain_unidentified, is_placeholder
from fusionnode.pairing.select import Chosen, foresee_series, select_series
from fusionnode.pipeline.schema import Pipeline, SeriesRule


@dataclass(frozen=True)
class Scan:
    """One acquisition of the functional scanner, of which one reconstruction is fused.

    Attributes:
        chosen: the bond to fuse, or to wait for where one of its series is still arriving.
        rivals: the bonds of the other reconstructions, each with the fixed series it fits best.
    """

    chosen: Bond
    rivals: tuple[Bond, ...] = ()


@dataclass(frozen=True)
class PatientFile:
    """Everything with one PatientID: who was scanned is matched file by file, so no file can touch another.

    Attributes:
        fixed: candidates of the fixed role, those still arriving among them.
        moving: the same of the moving role.
        joints: for each candidate what joins it to, or separates it from, each candidate of the other role.
        scans: what was chosen.
    """

    pipeline: Pipeline
    fixed: tuple[Candidate, ...]
    moving: tuple[Candidate, ...]
    joints: Mapping[SeriesKey, Mapping[SeriesKey, Bond | Obstacle]]
    scans: tuple[Scan, ...] = ()

    def list_bonds(self, key: SeriesKey) -> list[Bond]:
        """Return what joins the candidate to others."""
        return [joint for joint in self.joints[key].values() if isinstance(joint, Bond)]

    def list_obstacles(self, key: SeriesKey) -> list[Obstacle]:
        """Return what stands between the candidate and others."""
        return [joint for joint in self.joints[key].values() if isinstance(joint, Obstacle)]


@dataclass(frozen=True)
class Matching:
    """What a pipeline makes of a set of series.

    Attributes:
        pairs: in the order of their moving keys.
        rejections: one for each other complete candidate, in the order of their keys.
        files: what was weighed, in the order of the PatientIDs; for explanations.
    """

    pairs: tuple[Pair, ...]
    rejections: tuple[Rejection, ...]
    files: tuple[PatientFile, ...] = field(default=(), compare=False, repr=False)


def match_pairs(pipeline: Pipeline, series: Sequence[Series], now: datetime) -> Matching:
    """Pair what belongs together among ``series`` and say of every other candidate why it was not paired.

    Args:
        pipeline: its roles, its time window and its hold time.
        series: any series in any order; only complete ones of the pipeline's modalities are paired. The others serve
            to know what is still to come, and which patients share a PatientID.
        now: UTC; a candidate first seen more than ``hold_hours`` ago is told that its wait is over. That closes the
            account of its wait, not its chances: a partner that comes later still pairs by the same rules.

    Returns:
        The reasons hold no patient data and no elapsed time, so that the same reason recurs word for word.
    """
    newest = [one for one in _keep_newest(series) if one.instances]
    others = [one for one in newest if one.head.modality not in pipeline.fixed.modality]
    fixed, reasons = _admit(pipeline.fixed, newest)
    moving, unfit = _admit(pipeline.moving, others)
    reasons |= unfit
    files = tuple(_choose_bonds(file) for file in _open_files(pipeline, fixed, moving, newest))
    pairs = [_make_pair(file, scan) for file in files for scan in file.scans if not scan.chosen.arriving]
    paired = {key for pair in pairs for key in (pair.fixed, pair.moving)}
    for file in files:
        lonely = [one for one in (*file.fixed, *file.moving) if not one.arriving and one.key not in paired]
        reasons |= {one.key: explain_lonely(file, one, now) for one in lonely}
    rejections = (Rejection(pipeline.name, (key,), reasons[key]) for key in sorted(reasons, key=_order))
    return Matching(tuple(sorted(pairs, key=lambda pair: _order(pair.moving))), tuple(rejections), files)


def explain_lonely(file: PatientFile, one: Candidate, now: datetime) -> str:
    """Return why a complete candidate of the file that is in no pair is in none."""
    role = Role.FIXED if any(one is other for other in file.fixed) else Role.MOVING
    chosen = [scan.chosen for scan in file.scans if one.key in (scan.chosen.fixed.key, scan.chosen.moving.key)]
    if chosen:
        awaited = chosen[0].fixed if chosen[0].fixed.arriving else chosen[0].moving
        return f"waits for {awaited.uid}, which is still arriving and would be chosen ({LINK_WORDS[chosen[0].link]})"
    bonds = file.list_bonds(one.key)
    if bonds:
        return explain_loss(file, min(bonds, key=_rank_fixed if role is Role.MOVING else _rank_moving))
    return _explain_waiting(file, one, role, now)


def explain_loss(file: PatientFile, bond: Bond) -> str:
    """Return what was preferred to a bond of the file that was not chosen, and what it had that this one had not."""
    best = min(file.list_bonds(bond.moving.key), key=_rank_fixed)
    if best is not bond:
        link = LINK_WORDS[best.link]
        return f"fixed {_name(best.fixed)} was preferred for moving {bond.moving.uid} ({link}) {_compare(best, bond)}"
    winner = next(scan.chosen for scan in file.scans if any(bond is rival for rival in scan.rivals))
    return f"moving {_name(winner.moving)} of this scan was preferred {_compare(winner, bond)}"


def _order(key: SeriesKey) -> tuple[str, int]:
    return key.series_instance_uid, key.generation


def _keep_newest(series: Iterable[Series]) -> list[Series]:
    """Return one `Series` for each UID, of its highest generation, ordered by UID."""
    newest = {one.key.series_instance_uid: one for one in sorted(series, key=lambda one: _order(one.key))}
    return list(newest.values())


def _admit(rule: SeriesRule, series: Sequence[Series]) -> tuple[list[Candidate], dict[SeriesKey, str]]:
    """Return the candidates that fit ``rule``, arriving ones too, and why the other complete ones do not."""
    own = [one for one in series if one.head.modality in rule.modality]
    chosen, refused = select_series(rule, (one for one in own if one.state is SeriesState.COMPLETE))
    unidentified = {choice.series.key: explain_unidentified(choice.series) for choice in chosen}
    reasons = {one.key: reason for one, reason in refused}
    reasons |= {key: reason for key, reason in unidentified.items() if reason}
    known: list[Chosen] = [choice for choice in chosen if not unidentified[choice.series.key]]
    known += [choice for choice in foresee_series(rule, own) if not explain_unidentified(choice.series)]
    return [make_candidate(choice) for choice in known], reasons


def _open_files(
    pipeline: Pipeline, fixed: Sequence[Candidate], moving: Sequence[Candidate], known: Sequence[Series]
) -> Iterator[PatientFile]:
    crowds: dict[str, set[PatientIdentity]] = defaultdict(set)
    for identity in {one.patient for series in known for one in series.instances}:
        crowds[identity.patient_id.strip()].add(identity)
    roles: dict[str, tuple[list[Candidate], list[Candidate]]] = defaultdict(lambda: ([], []))
    for one in fixed:
        roles[one.identity.patient_id][0].append(one)
    for one in moving:
        roles[one.identity.patient_id][1].append(one)
    for patient_id, (their_fixed, their_moving) in sorted(roles.items()):
        joints: dict[SeriesKey, dict[SeriesKey, Bond | Obstacle]] = {
            one.key: {} for one in (*their_fixed, *their_moving)
        }
        for one, other in itertools.product(their_fixed, their_moving):
            joint = join_candidates(pipeline, one, other, crowds[patient_id])
            joints[one.key][other.key] = joints[other.key][one.key] = joint
        yield PatientFile(pipeline, tuple(their_fixed), tuple(their_moving), joints)


def _choose_bonds(file: PatientFile) -> PatientFile:
    """Return the file with the bonds to fuse or to wait for: of each scan one, with the fixed series it fits best."""
    best = [min(bonds, key=_rank_fixed) for one in file.moving if (bonds := file.list_bonds(one.key))]
    bonds_of = {bond.moving.key: bond for bond in best}
    acquisitions = split_acquisitions(bond.moving for bond in best)
    return replace(file, scans=tuple(_choose_bond([bonds_of[one.key] for one in group]) for group in acquisitions))


def _choose_bond(bonds: Sequence[Bond]) -> Scan:
    chosen = min(bonds, key=_rank_moving)
    return Scan(chosen, tuple(bond for bond in bonds if bond is not chosen))


def _count_slices(one: Candidate) -> float:
    """Return how many slices decide between equals; what is still arriving may have any number, so it is awaited."""
    return math.inf if one.arriving else one.slices


def _rank_fixed(bond: Bond) -> tuple[float, int, float, int, str]:
    return -bond.score, bond.days, *_rank_size(bond.fixed)


def _rank_moving(bond: Bond) -> tuple[float, float, int, str]:
    return -bond.moving.chosen.preference_score, *_rank_size(bond.moving)


def _rank_size(one: Candidate) -> tuple[float, int, str]:
    """The most slices first; of as many the fewest frames, for one volume needs no choice among time points."""
    return -_count_slices(one), one.series.frames, one.uid


def _name(one: Candidate) -> str:
    return f"{one.uid}, which is still arriving," if one.arriving else one.uid


def _compare(winner: Bond, loser: Bond) -> str:
    """Say what the winner had and the loser had not."""
    more = [reason for reason in winner.reasons if reason not in loser.reasons]
    slices = [
        f"{one.slices} to {other.slices} slices"
        for one, other in ((winner.fixed, loser.fixed), (winner.moving, loser.moving))
        if one is not other
    ]
    return f"({'; '.join([*more, f'score {winner.score:.10g} to {loser.score:.10g}', *slices])})"


def _explain_waiting(file: PatientFile, one: Candidate, role: Role, now: datetime) -> str:
    partner = file.pipeline.moving if role is Role.FIXED else file.pipeline.fixed
    obstacles = file.list_obstacles(one.key)
    words = f"no complete {' or '.join(partner.modality)} series of this patient fits"
    if is_placeholder(one.identity):
        words += "; the PatientID is a placeholder, so only its study and frame of reference count"
    if obstacles:
        words = min(obstacles, key=lambda obstacle: (-obstacle.weight, obstacle.words)).words
    hold_hours, seen = file.pipeline.pairing.hold_hours, one.series.first_seen_at
    if seen is not None and in_utc(now) - in_utc(seen) > timedelta(hours=hold_hours):
        return f"closed: no partner within {hold_hours:g} h: {words}"
    return f"no partner yet: {words}"


def _make_pair(file: PatientFile, scan: Scan) -> Pair:
    bond = scan.chosen
    return Pair(
        pipeline=file.pipeline.name,
        fixed=bond.fixed.key,
        moving=bond.moving.key,
        score=bond.score,
        shared_frame=bond.link is Link.FRAME,
        reasons=bond.reasons,
        rivals=tuple(sorted((rival.moving.key for rival in scan.rivals), key=_order)),
    )
