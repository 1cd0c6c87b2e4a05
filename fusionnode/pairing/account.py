"""The whole account of one series before one pipeline: its role, its partners, and what was decided of each (middle).

Nothing is decided here a second time: it tells what `match_pairs` did with the same series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fusionnode.domain.series import Series, SeriesKey
from fusionnode.domain.terms import UNSETTLED, Role
from fusionnode.pairing.links import Obstacle
from fusionnode.pairing.match import Matching, PatientFile, explain_loss, match_pairs
from fusionnode.pairing.patient import explain_unidentified
from fusionnode.pairing.select import explain_unfit, find_unmet, list_unmet, spell_test
from fusionnode.pipeline.schema import Condition, Pipeline, Preference, SeriesRule


class Outcome(StrEnum):
    """What became of a series, or of it together with one possible partner."""

    PAIRED = "paired"
    WAITING = "waiting"
    OUTBID = "outbid"
    ALONE = "alone"
    EXCLUDED = "excluded"


@dataclass(frozen=True)
class Partner:
    """One series of the other role and the same PatientID.

    Attributes:
        days: whole days between the acquisitions; None where the two cannot be joined.
        score: of the pair they would make; None where they cannot be joined.
        reasons: what makes up the score.
        words: why the two are not paired; empty where they are.
    """

    key: SeriesKey
    outcome: Outcome
    words: str = ""
    days: int | None = None
    score: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Criterion:
    """A condition or a preference of a rule: attribute, expressions, its own words, its weight if it has one."""

    attribute: str
    test: str
    words: str
    weight: float | None = None


@dataclass(frozen=True)
class Account:
    """One series before one pipeline.

    Attributes:
        pipeline: ``name@version``.
        role: the one its modality has in the pipeline, or None.
        outcome: EXCLUDED where it does not fit its role, ALONE where nothing could be joined with it, WAITING where it
            or the partner to be chosen is still arriving.
        words: the decision in one sentence.
        unmet: conditions of its role that do not hold; one is enough to exclude it.
        met: preferences of its role that hold, with their weights.
        missed: preferences of its role that do not hold.
        partners: the chosen first, then by score, then the excluded by UID.
    """

    pipeline: str
    role: Role | None
    outcome: Outcome
    words: str
    unmet: tuple[Criterion, ...] = ()
    met: tuple[Criterion, ...] = ()
    missed: tuple[Criterion, ...] = ()
    partners: tuple[Partner, ...] = ()


def account_for(pipeline: Pipeline, subject: Series, series: Sequence[Series], now: datetime) -> Account:
    """Tell what ``pipeline`` makes of ``subject`` among ``series``, which hold it and all of the same PatientID.

    The words hold no patient data. ``now`` (UTC) decides whether its wait is over, as in `match_pairs`.
    """
    role = _find_role(pipeline, subject)
    if role is None:
        wanted = " or ".join((*pipeline.fixed.modality, *pipeline.moving.modality))
        words = f"modality is {subject.head.modality or '(none)'}; this pipeline fuses {wanted}"
        return Account(pipeline.identifier, None, Outcome.EXCLUDED, words)
    rule = pipeline.fixed if role is Role.FIXED else pipeline.moving
    matching = match_pairs(pipeline, series, now)
    file = _find_file(matching, subject.key)
    outcome, words = _tell_outcome(rule, subject, matching, file)
    missed = list_unmet(rule.prefer, subject)
    return Account(
        pipeline=pipeline.identifier,
        role=role,
        outcome=outcome,
        words=words,
        unmet=tuple(_tell_criterion(one) for one in list_unmet(rule.where, subject)),
        met=tuple(_tell_criterion(one) for one in rule.prefer if one not in missed),
        missed=tuple(_tell_criterion(one) for one in missed),
        partners=_list_partners(pipeline, role, subject, series, file),
    )


def _find_role(pipeline: Pipeline, subject: Series) -> Role | None:
    modality = subject.head.modality
    if modality in pipeline.fixed.modality:
        return Role.FIXED
    return Role.MOVING if modality in pipeline.moving.modality else None


def _find_file(matching: Matching, key: SeriesKey) -> PatientFile | None:
    return next((file for file in matching.files if key in file.joints), None)


def _tell_outcome(
    rule: SeriesRule, subject: Series, matching: Matching, file: PatientFile | None
) -> tuple[Outcome, str]:
    key = subject.key
    partners = [
        _name_other(pair.fixed, pair.moving, key) for pair in matching.pairs if key in (pair.fixed, pair.moving)
    ]
    if partners:
        return Outcome.PAIRED, f"the partner is {', '.join(partners)}"
    if subject.state in UNSETTLED:
        return Outcome.WAITING, f"is {subject.state}, so it is not paired yet"
    words = next((one.reason for one in matching.rejections if one.series == (key,)), explain_unfit(rule, subject))
    if file is None:
        return Outcome.EXCLUDED, words
    if any(key in (scan.chosen.fixed.key, scan.chosen.moving.key) for scan in file.scans):
        return Outcome.WAITING, words
    return (Outcome.OUTBID if file.list_bonds(key) else Outcome.ALONE), words


def _name_other(fixed: SeriesKey, moving: SeriesKey, key: SeriesKey) -> str:
    return (moving if key == fixed else fixed).series_instance_uid


def _tell_criterion(condition: Condition) -> Criterion:
    weight = condition.weight if isinstance(condition, Preference) else None
    return Criterion(condition.attribute, spell_test(condition), condition.because, weight)


def _list_partners(
    pipeline: Pipeline, role: Role, subject: Series, series: Sequence[Series], file: PatientFile | None
) -> tuple[Partner, ...]:
    patient_id = subject.head.patient.patient_id.strip()
    wanted = Role.MOVING if role is Role.FIXED else Role.FIXED
    rule = pipeline.moving if wanted is Role.MOVING else pipeline.fixed
    others = [one for one in series if one.instances and _find_role(pipeline, one) is wanted]
    related = [one for one in others if patient_id and one.head.patient.patient_id.strip() == patient_id]
    partners = [_tell_partner(rule, subject.key, one, file) for one in related]
    return tuple(sorted(partners, key=_rank_partner))


def _tell_partner(rule: SeriesRule, key: SeriesKey, other: Series, file: PatientFile | None) -> Partner:
    unfit = find_unmet(rule.where, other) if other.state in UNSETTLED else explain_unfit(rule, other)
    words = unfit or explain_unidentified(other)
    if file is None or other.key not in file.joints[key]:
        return Partner(other.key, Outcome.EXCLUDED, words or "the other of the two does not fit its role")
    joint = file.joints[key][other.key]
    if isinstance(joint, Obstacle):
        return Partner(other.key, Outcome.EXCLUDED, joint.words)
    if not any(joint is scan.chosen for scan in file.scans):
        return Partner(other.key, Outcome.OUTBID, explain_loss(file, joint), joint.days, joint.score, joint.reasons)
    words = "one of the two is still arriving" if joint.arriving else ""
    outcome = Outcome.WAITING if joint.arriving else Outcome.PAIRED
    return Partner(other.key, outcome, words, joint.days, joint.score, joint.reasons)


def _rank_partner(partner: Partner) -> tuple[int, float, str]:
    return list(Outcome).index(partner.outcome), -(partner.score or 0.0), partner.key.series_instance_uid
