"""What an operator asks of the ledger: list, try again, send again, rebuild."""

from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from fusionnode.domain.consignment import Consignment
from fusionnode.domain.job import JobEvent
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.flow.housekeeping import end_deletions
from fusionnode.index.header import read_header
from fusionnode.index.rebuild import rebuild_index
from fusionnode.index.store import SqlLedger, migrate, open_ledger
from fusionnode.settings import Settings
from fusionnode.wiring import open_spool
from fusionnode.workbench.trash import TrashFolder
from fusionnode.worker.commanded import commanded


def list_job_facts(settings: Settings) -> list[dict[str, Any]]:
    """Return every job, newest first, as plain JSON values; no patient attribute is among them.

    Raises:
        Unavailable: the database does not answer.
    """
    ledger = open_ledger(settings.ledger_url)
    facts = []
    for job in ledger.list_jobs():
        stored, owed = ledger.count_deliveries(job.id)
        facts.append(
            {
                "id": job.id,
                "state": job.state.value,
                "pipeline": f"{job.pipeline}@{job.pipeline_version}",
                "fixed": str(job.fixed),
                "moving": str(job.moving),
                "moment": job.moment.isoformat(),
                "attempts": job.attempts,
                "supersedes": job.supersedes,
                "error": job.error,
                "reason": job.reason,
                "remarks": list_remarks(ledger, job.id),
                "stored": stored,
                "owed": owed,
                "statuses": ledger.count_statuses(job.id),
                "destinations": [_tell_consignment(one) for one in ledger.list_consignments(job.id)],
            }
        )
    ledger.close()
    return facts


def list_remarks(ledger: SqlLedger, job_id: str) -> list[str]:
    """Return what its finished steps noted of a job, each once."""
    details = [event.detail for event in ledger.list_events(job_id) if event.what == JobEvent.FINISHED]
    # What happened stands before the first full stop.
    return list(dict.fromkeys(remark for detail in details if (remark := detail.partition(". ")[2])))


def _tell_consignment(consignment: Consignment) -> dict[str, Any]:
    not_before = consignment.not_before
    return {
        "name": consignment.destination,
        "owed": consignment.total,
        "stored": consignment.stored,
        "committed": consignment.committed,
        "refused": consignment.refused,
        "attempts": consignment.attempts,
        "requests": consignment.requests,
        "not_before": not_before.isoformat() if not_before else None,
        "dead": consignment.dead,
        "error": consignment.error,
        "reason": consignment.reason,
    }


def list_series_facts(settings: Settings) -> list[dict[str, Any]]:
    """Return every series with its state and why it was not paired, by UID; no patient attribute is among them.

    Raises:
        Unavailable: the database does not answer.
    """
    ledger = open_ledger(settings.ledger_url)
    series = ledger.list_series(tuple(SeriesState))
    rejections = ledger.list_rejections()
    ledger.close()
    reasons: defaultdict[SeriesKey, list[str]] = defaultdict(list)
    for rejection in rejections:
        for key in rejection.series:
            reasons[key].append(f"{rejection.pipeline}: {rejection.reason}")
    return [
        {
            "series_instance_uid": one.key.series_instance_uid,
            "generation": one.key.generation,
            "modality": one.head.modality if one.instances else "",
            "frames": one.frames,
            "state": one.state.value,
            "reason": one.reason,
            "not_paired": reasons[one.key],
        }
        for one in series
    ]


def retry_job(settings: Settings, job_id: str) -> str:
    """Put a refused or failed job back at its beginning and return its state.

    Raises:
        JobUnknown: there is no such job.
        TransitionForbidden: the job is neither refused nor failed.
    """
    ledger = open_ledger(settings.ledger_url)
    with closing(ledger), commanded(settings, "retry", job_id):
        return ledger.retry_job(job_id, datetime.now(UTC)).state.value


def resend_job(settings: Settings, job_id: str, destination: str = "", *, everything: bool = False) -> int:
    """Have what a job published sent again at once; return how many instances are owed now.

    ``destination`` restricts it to one; ``everything`` includes what is stored already.

    Raises:
        JobUnknown: there is no such job.
        TransitionForbidden: nothing was published for that destination, or a worker has the job at this moment.
    """
    ledger = open_ledger(settings.ledger_url)
    facts = {"destination": destination or "all", "instances": "all" if everything else "outstanding"}
    with closing(ledger), commanded(settings, "resend", job_id, facts):
        ledger.resend_job(job_id, datetime.now(UTC), destination, everything=everything)
        return len(ledger.list_undelivered(job_id, destination))


def migrate_ledger(settings: Settings) -> None:
    """Bring the database to this version's schema; on a new node this makes it, and the spool it lies in by default."""
    open_spool(settings)
    migrate(settings.ledger_url)


def reindex_spool(settings: Settings) -> int:
    """Enter every instance of the spool that the ledger does not know; return how many it was shown.

    A deletion that was broken off is ended first: half of what was given up must not come back as a series.
    """
    migrate_ledger(settings)
    told = commanded(settings, "reindex", str(settings.spool.absolute()))
    with closing(open_ledger(settings.ledger_url)) as ledger, told:
        end_deletions(ledger, TrashFolder(settings.spool))
        return _enter_instances(ledger, settings)


def reindex_restored(settings: Settings) -> None:
    """Enter every instance of a spool that was put back from a backup, then end the deletions the ledger speaks of.

    In this order, for what lies here although it was given up may have come again after the ledger was copied. And to
    the end, for whatever a human brings in later is wanted.
    """
    with closing(open_ledger(settings.ledger_url)) as ledger:
        _enter_instances(ledger, settings)
        end_deletions(ledger, TrashFolder(settings.spool))


def _enter_instances(ledger: SqlLedger, settings: Settings) -> int:
    counts = rebuild_index(ledger, open_spool(settings).list_instances(), read_header, datetime.now(UTC))
    return sum(counts.values())
