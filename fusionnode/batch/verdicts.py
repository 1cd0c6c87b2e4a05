"""What became of each pair, of each series without one, and of what never came: the rows of the summary. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.pair import Pair
from fusionnode.domain.series import Series
from fusionnode.domain.terms import SeriesState
from fusionnode.pairing.account import account_for
from fusionnode.pipeline.schema import Pipeline


class Verdict(StrEnum):
    """How a pair, or what might have become one, ended."""

    WRITTEN = "written"
    STORED = "stored"
    REFUSED = "refused"
    UNPAIRED = "unpaired"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    NOT_FETCHED = "not fetched"
    NOT_FOUND = "not found"
    WAITING = "waiting"


FINAL = frozenset(Verdict) - {Verdict.FAILED, Verdict.NOT_FETCHED, Verdict.WAITING}
"""Those that running the batch again does not change."""

_STATES = {
    JobState.REFUSED: Verdict.REFUSED,
    JobState.FAILED: Verdict.FAILED,
    JobState.SUPERSEDED: Verdict.SUPERSEDED,
    JobState.STORED: Verdict.STORED,
    JobState.COMMITTING: Verdict.STORED,
    JobState.COMMITTED: Verdict.STORED,
}


@dataclass(frozen=True)
class Row:
    """One line of the summary; numbers are empty text where they are not known.

    Attributes:
        patient: the batch's own pseudonym, or empty.
        study: Study Instance UID of the MRI, or of the series without a partner.
        fixed, moving: Series Instance UIDs.
        fused: Series Instance UID of the fused series.
        stored, owed: objects that the destinations have of those that they are to get, all destinations together.
        seconds: for how long workers had the job.
    """

    verdict: Verdict
    reason: str = ""
    patient: str = ""
    study: str = ""
    fixed: str = ""
    moving: str = ""
    pipeline: str = ""
    network: str = ""
    job: str = ""
    fused: str = ""
    supersedes: str = ""
    stored: str = ""
    owed: str = ""
    seconds: str = ""
    rotation_deg: str = ""
    displacement_mm: str = ""
    overlap: str = ""


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True)
class Evidence:
    """What is known at the end of a batch.

    Attributes:
        series: all of them, by UID.
        pseudonyms: of the patients, by Series Instance UID.
        skipped: for each pair passed over (UIDs fixed, moving) the fused series that is there.
        torn: reason by UID of the series that did not come whole.
    """

    pipelines: Mapping[str, Pipeline]
    series: Mapping[str, Series]
    jobs: Sequence[Job]
    pseudonyms: Mapping[str, str]
    skipped: Mapping[tuple[str, str], str]
    torn: Mapping[str, str]
    written: bool
    now: datetime


def list_rows(evidence: Evidence) -> list[Row]:
    """Return a row for each job, each pair passed over and each functional series in none of them.

    An MRI has a row of its own only where nothing functional of its patient came along.
    """
    rows = [_tell_job(evidence, job) for job in sorted(evidence.jobs, key=lambda job: (job.moment, job.id))]
    rows += [_tell_skipped(evidence, *pair, there) for pair, there in sorted(evidence.skipped.items())]
    told = {uid for row in rows for uid in (row.fixed, row.moving)}
    rows += [_tell_lonely(evidence, one) for one in _list_lonely(evidence, told)]
    return rows


def count_verdicts(rows: Iterable[Row]) -> dict[str, int]:
    """Return how many rows have each verdict, in the order of `Verdict`, without those that none has."""
    counts = Counter(row.verdict for row in rows)
    return {verdict.value: counts[verdict] for verdict in Verdict if counts[verdict]}


def name_pair(pair: Pair) -> tuple[str, str]:
    """Return the UIDs of a pair, fixed and moving."""
    return pair.fixed.series_instance_uid, pair.moving.series_instance_uid


def _tell_job(evidence: Evidence, job: Job) -> Row:
    fixed, moving = job.fixed.series_instance_uid, job.moving.series_instance_uid
    verdict = _STATES.get(job.state, Verdict.WAITING)
    made = verdict is Verdict.STORED
    if made and evidence.written:
        verdict = Verdict.WRITTEN
    pipeline = evidence.pipelines.get(job.pipeline)
    return Row(
        verdict,
        reason=job.reason,
        patient=evidence.pseudonyms.get(fixed, ""),
        study=_find_study(evidence, fixed),
        fixed=fixed,
        moving=moving,
        pipeline=f"{job.pipeline}@{job.pipeline_version}",
        network=pipeline.fusion.model if pipeline else "",
        job=job.id,
        fused=str(FusedIdentity(job.id).series_uid) if made else "",
        supersedes=job.supersedes,
    )


def _tell_skipped(evidence: Evidence, fixed: str, moving: str, there: str) -> Row:
    return Row(
        Verdict.SKIPPED,
        reason=f"fused before: series {there}",
        patient=evidence.pseudonyms.get(fixed, ""),
        study=_find_study(evidence, fixed),
        fixed=fixed,
        moving=moving,
        fused=there,
    )


def _list_lonely(evidence: Evidence, told: set[str]) -> Iterator[Series]:
    moving = {modality for one in evidence.pipelines.values() for modality in one.moving.modality}
    fixed = {modality for one in evidence.pipelines.values() for modality in one.fixed.modality}
    functional = {evidence.pseudonyms.get(uid) for uid, one in evidence.series.items() if one.head.modality in moving}
    for uid, one in sorted(evidence.series.items()):
        if uid in told:
            continue
        modality = one.head.modality
        if modality in moving or (modality in fixed and evidence.pseudonyms.get(uid) not in functional):
            yield one


def _tell_lonely(evidence: Evidence, one: Series) -> Row:
    uid = one.key.series_instance_uid
    is_fixed = any(one.head.modality in each.fixed.modality for each in evidence.pipelines.values())
    verdict, reason = _judge_lonely(evidence, one)
    row = Row(verdict, reason, evidence.pseudonyms.get(uid, ""), one.head.study_instance_uid)
    return replace(row, fixed=uid) if is_fixed else replace(row, moving=uid)


def _judge_lonely(evidence: Evidence, one: Series) -> tuple[Verdict, str]:
    uid = one.key.series_instance_uid
    if uid in evidence.torn:
        return Verdict.NOT_FETCHED, evidence.torn[uid]
    if one.state is not SeriesState.COMPLETE:
        return Verdict.UNPAIRED, f"the series is {one.state}: {one.reason}"
    patient = [
        other
        for name, other in evidence.series.items()
        if evidence.pseudonyms.get(name) == evidence.pseudonyms.get(uid)
    ]
    accounts = [account_for(pipeline, one, patient, evidence.now) for pipeline in evidence.pipelines.values()]
    partners = {partner.key.series_instance_uid for account in accounts for partner in account.partners}
    lost = sorted(partners & evidence.torn.keys())
    if lost:
        return Verdict.NOT_FETCHED, f"its partner {lost[0]} did not come whole: {evidence.torn[lost[0]]}"
    words = [f"{account.pipeline}: {account.words}" for account in accounts if account.role is not None]
    return Verdict.UNPAIRED, "; ".join(words) or "no pipeline of the batch fuses its modality"


def _find_study(evidence: Evidence, uid: str) -> str:
    return evidence.series[uid].head.study_instance_uid if uid in evidence.series else ""
