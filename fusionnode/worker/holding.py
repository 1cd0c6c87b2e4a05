"""Sets a job or a series aside for a human to look at, and lets it go on."""

from contextlib import closing
from datetime import UTC, datetime

from fusionnode.errors import JobUnknown
from fusionnode.index.store import open_ledger
from fusionnode.settings import Settings
from fusionnode.worker.commanded import commanded


def set_aside(settings: Settings, subject: str) -> str:
    """Set aside the job with the id ``subject``, or else the series with that UID; return what was done, in words.

    Raises:
        SeriesUnknown: there is neither.
        Unavailable: the database does not answer.
    """
    ledger, now = open_ledger(settings.ledger_url), datetime.now(UTC)
    with closing(ledger), commanded(settings, "quarantine", subject):
        try:
            ledger.hold_job(subject, now)
        except JobUnknown:
            jobs = ledger.hold_series(subject, now)
            return f"series {subject} is set aside with {len(jobs)} jobs"
        return f"job {subject} is set aside"


def let_go_on(settings: Settings, subject: str) -> str:
    """Let the job with the id ``subject``, or else the series with that UID, go on; return what was done, in words.

    Raises:
        SeriesUnknown: there is neither.
        Unavailable: the database does not answer.
    """
    ledger, now = open_ledger(settings.ledger_url), datetime.now(UTC)
    with closing(ledger), commanded(settings, "release", subject):
        try:
            ledger.release_job(subject, now)
        except JobUnknown:
            jobs = ledger.release_series(subject, now)
            return f"series {subject} goes on with {len(jobs)} jobs"
        return f"job {subject} goes on"
