"""Edge: a job as a row of the ledger and back, and what is kept of the error that stopped it."""

import traceback
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from fusionnode.domain.job import Job, JobState
from fusionnode.domain.series import SeriesKey
from fusionnode.errors import FusionNodeError

_SAME = (
    "id",
    "pipeline",
    "pipeline_version",
    "shared_frame",
    "moment",
    "fence",
    "attempts",
    "supersedes",
    "reason",
    "error",
    "held",
)


def write_job(job: Job) -> dict[str, Any]:
    """Return the values of the row of a job that nobody has claimed yet."""
    return {name: getattr(job, name) for name in _SAME} | {
        "state": job.state,
        "fixed_uid": job.fixed.series_instance_uid,
        "fixed_generation": job.fixed.generation,
        "moving_uid": job.moving.series_instance_uid,
        "moving_generation": job.moving.generation,
        "not_before": None,
        "lease_until": None,
        "worker": "",
        "changed_at": job.moment,
        "discarded_at": None,
    }


def read_job(row: RowMapping) -> Job:
    """Return the job that ``row`` holds."""
    return Job(
        **{name: row[name] for name in _SAME},
        state=JobState(row["state"]),
        fixed=SeriesKey(row["fixed_uid"], row["fixed_generation"]),
        moving=SeriesKey(row["moving_uid"], row["moving_generation"]),
    )


def describe_cause(cause: Exception | str | None) -> tuple[str, str]:
    """Return (reason, error) to keep with a job: words for a human, and the name of the error.

    The words of an error that is not of this project's tree may quote the data, and with it the patient; of those only
    the place is kept, and the log has the traceback.
    """
    if cause is None or isinstance(cause, str):
        return cause or "", ""
    if isinstance(cause, FusionNodeError):
        return str(cause), cause.code
    frames = traceback.extract_tb(cause.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"A defect: {type(cause).__name__}{place}. The log has the traceback.", type(cause).__name__
