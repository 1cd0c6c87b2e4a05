"""Makes what a ledger is fed with: instance headers and jobs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fusionnode.domain.job import Job, JobState, derive_job_id
from fusionnode.domain.series import InstanceHeader, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.domain.uids import derive_uid
from fusionnode.flow.ports import Ledger
from fusionnode.index.store import SqlLedger
from tests.support.series_headers import Stack, make_series

NOW = datetime(2024, 3, 5, 12, 30, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)


def make_headers(name: str = "mr", slices: int = 3) -> list[InstanceHeader]:
    """The headers of a series; the same ``name`` always has the same UIDs."""
    return list(make_series(name, stack=Stack(slices=slices)).instances)


def change_bytes(header: InstanceHeader) -> InstanceHeader:
    """The same SOP instance with other content, as a sender that edits and sends again makes it."""
    return replace(header, sha256="f" * 64, path=f"{header.path}-again")


def free_leases(ledger: Ledger, now: datetime) -> list[Job]:
    """Take every worker for silent: what the sweep does once it has seen a lease unrenewed for long enough."""
    return ledger.release_leases(ledger.list_leases(), now)


def enter_series(ledger: SqlLedger, name: str, at: datetime = NOW) -> SeriesKey:
    """Put a complete series of three slices into a ledger, received at ``at``."""
    headers = make_headers(name)
    for header in headers:
        ledger.record_instance(header, at)
    key = SeriesKey(headers[0].series_instance_uid, 1)
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    return key


def make_job(
    fixed_generation: int = 1,
    moving_generation: int = 1,
    name: str = "a",
    minute: int = 0,
    fixed: SeriesKey | None = None,
) -> Job:
    """A queued job on ``fixed`` or the series ``name``-mr, and ``name``-pt, made ``minute`` minutes after `NOW`."""
    fixed = fixed or SeriesKey(derive_uid(name, "mr"), fixed_generation)
    moving = SeriesKey(derive_uid(name, "pt"), moving_generation)
    return Job(
        id=derive_job_id("brain", "1", str(fixed), str(moving)),
        pipeline="brain",
        pipeline_version="1",
        fixed=fixed,
        moving=moving,
        shared_frame=False,
        state=JobState.QUEUED,
        moment=NOW + timedelta(minutes=minute),
    )
