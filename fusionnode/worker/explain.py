"""Tells why a series was or was not paired, from the ledger and the installed pipelines; changes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fusionnode.domain.job import Job
from fusionnode.domain.series import Series
from fusionnode.domain.uids import parse_uid
from fusionnode.errors import SeriesUnknown
from fusionnode.index.store import SqlLedger, open_ledger
from fusionnode.pairing.account import Account, account_for
from fusionnode.pipeline.schema import Pipeline
from fusionnode.settings import Settings
from fusionnode.wiring import load_pipelines
from fusionnode.worker.jobs import list_remarks


def explain_uid(settings: Settings, uid: str, now: datetime) -> dict[str, Any]:
    """Return the whole account of a series, or of every series of a study, as plain JSON values.

    ``series`` has for each one its state with the evidence (``history`` is how it came to it), what every installed
    pipeline makes of it now, every reason recorded against it that stands, and its jobs with their verdict. Nothing
    in it tells who the patient is or when one was scanned; intervals are in whole days.

    Raises:
        UidMalformed: ``uid`` is no UID.
        SeriesUnknown: the ledger knows neither a series nor a study of that UID.
        Misconfigured: a pipeline file or the database schema is wrong.
        Unavailable: the database does not answer.
    """
    parse_uid(uid)
    pipelines = load_pipelines(settings, known_destinations=None)
    ledger = open_ledger(settings.ledger_url)
    try:
        named = ledger.list_named(uid)
        if not named:
            raise SeriesUnknown(
                f"The ledger knows neither a series nor a study {uid}.",
                remedy="See `fusionnode series`; what could not be read is in the spool's quarantine with its reason.",
                uid=uid,
            )
        series = [_explain_series(ledger, pipelines, one, now) for one in named]
    finally:
        ledger.close()
    kind = "series" if any(one.key.series_instance_uid == uid for one in named) else "study"
    return {"uid": uid, "kind": kind, "series": series}


def tell_explanation(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what `explain_uid` found, line by line, in plain words."""
    for one in facts["series"]:
        yield f"{one['modality'] or 'series'} {one['series_instance_uid']}#{one['generation']}, {one['frames']} frames"
        yield f"  {one['state']}" + (f": {one['reason']}" if one["reason"] else "")
        for pipeline in one["pipelines"]:
            yield from _tell_account(pipeline)
        for job in one["jobs"]:
            yield from _tell_job(job)
        for said in one["recorded"]:
            yield f"  recorded {said['decided_at']} {said['pipeline']}: {said['reason']}"


def _explain_series(
    ledger: SqlLedger, pipelines: Mapping[str, Pipeline], subject: Series, now: datetime
) -> dict[str, Any]:
    uid = subject.key.series_instance_uid
    patient = ledger.list_related([subject.key])
    # The rules are not asked about what was deleted or set aside.
    asked = pipelines.values() if subject.key in {one.key for one in patient} else ()
    accounts = [account_for(pipeline, subject, patient, now) for pipeline in asked]
    jobs = ledger.list_jobs_on([uid])
    # A better MRI or PET supersedes by a job that this series has no part in.
    later = ledger.list_jobs() if jobs else []
    return {
        "series_instance_uid": uid,
        "generation": subject.key.generation,
        "modality": subject.head.modality if subject.instances else "",
        "frames": subject.frames,
        "state": subject.state.value,
        "reason": subject.reason,
        "conflicts": [conflict.sop_instance_uid for conflict in subject.conflicts],
        "history": [
            {"at": event.at.isoformat(), "what": event.what, "detail": event.detail}
            for event in ledger.list_events(uid)
        ],
        "pipelines": [_list_account_facts(account) for account in accounts],
        "recorded": [
            {
                "pipeline": one.pipeline,
                "generation": next(key.generation for key in one.series if key.series_instance_uid == uid),
                "decided_at": one.decided_at.isoformat() if one.decided_at else "",
                "reason": one.reason,
            }
            for one in ledger.list_rejections(uid)
        ],
        "jobs": [_list_job_facts(ledger, job, later) for job in jobs],
    }


def _list_account_facts(account: Account) -> dict[str, Any]:
    facts = asdict(account)
    for partner in facts["partners"]:
        key = partner.pop("key")
        partner |= {"series_instance_uid": key["series_instance_uid"], "generation": key["generation"]}
    return facts


def _list_job_facts(ledger: SqlLedger, job: Job, later: list[Job]) -> dict[str, Any]:
    stored, owed = ledger.count_deliveries(job.id)
    because = next((event.detail for event in ledger.list_events(job.id) if event.what == "queued"), "")
    return {
        "id": job.id,
        "pipeline": f"{job.pipeline}@{job.pipeline_version}",
        "fixed": str(job.fixed),
        "moving": str(job.moving),
        "moment": job.moment.isoformat(),
        "because": because,
        "state": job.state.value,
        "error": job.error,
        "reason": job.reason,
        "remarks": list_remarks(ledger, job.id),
        "stored": stored,
        "owed": owed,
        "supersedes": job.supersedes,
        "superseded_by": [other.id for other in later if other.supersedes == job.id],
    }


def _tell_account(account: Mapping[str, Any]) -> Iterator[str]:
    role = f" as {account['role']}" if account["role"] else ""
    yield f"  {account['pipeline']}{role}, {account['outcome']}: {account['words']}"
    for one in account["unmet"]:
        yield f"    excluded by a condition on {one['attribute']}: {one['words'] or one['test']}"
    for one in account["met"]:
        yield f"    +{one['weight']:g} {one['words'] or one['test']}"
    for partner in account["partners"]:
        yield from _tell_partner(partner)


def _tell_partner(partner: Mapping[str, Any]) -> Iterator[str]:
    score = "" if partner["score"] is None else f", score {partner['score']:.10g} ({'; '.join(partner['reasons'])})"
    yield f"    partner {partner['series_instance_uid']}#{partner['generation']}: {partner['outcome']}{score}"
    if partner["words"]:
        yield f"      {partner['words']}"


def _tell_job(job: Mapping[str, Any]) -> Iterator[str]:
    yield f"  job {job['id']} of {job['moment']}: {job['state']}, {job['stored']} of {job['owed']} instances stored"
    yield f"    {job['because']}"
    yield from (f"    {remark}" for remark in job["remarks"])
    if job["reason"]:
        yield f"    {job['error']}: {job['reason']}".replace("    : ", "    ")
    if job["supersedes"]:
        yield f"    supersedes job {job['supersedes']}"
    for other in job["superseded_by"]:
        yield f"    superseded by job {other}"
