"""What an operator asks of the ledger: list, try again, rebuild."""

from datetime import UTC, datetime
from typing import Any

from fusionnode.index.header import read_header
from fusionnode.index.rebuild import rebuild_index
from fusionnode.index.store import SqlLedger, migrate, open_ledger
from fusionnode.settings import Settings
from fusionnode.wiring import open_spool


def list_job_facts(settings: Settings) -> list[dict[str, Any]]:
    """Return every job, newest first, as plain JSON values; no patient attribute is among them.

    Raises:
        Unavailable: the database does not answer.
    """
    ledger = _open(settings)
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
                "stored": stored,
                "owed": owed,
            }
        )
    ledger.close()
    return facts


def retry_job(settings: Settings, job_id: str) -> str:
    """Put a refused or failed job back at its beginning and return its state.

    Raises:
        JobUnknown: there is no such job.
        TransitionForbidden: the job is neither refused nor failed.
    """
    ledger = _open(settings)
    job = ledger.retry_job(job_id, datetime.now(UTC))
    ledger.close()
    return job.state.value


def reindex_spool(settings: Settings) -> int:
    """Enter every instance of the spool that the ledger does not know; return how many it was shown."""
    ledger = _open(settings)
    counts = rebuild_index(ledger, open_spool(settings).list_instances(), read_header, datetime.now(UTC))
    ledger.close()
    return sum(counts.values())


def _open(settings: Settings) -> SqlLedger:
    open_spool(settings)  # the database lies in it by default
    migrate(settings.ledger_url)
    return open_ledger(settings.ledger_url)
