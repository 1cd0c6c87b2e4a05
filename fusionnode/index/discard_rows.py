"""Edge: what the transactions of several stores must know of what was given up for deletion."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, delete, select

from fusionnode.domain.job import Job
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import TransitionForbidden
from fusionnode.index.database import CHUNK, insert_new
from fusionnode.index.tables import DiscardRow, GenerationRow, JobRow, SeriesRow


def give_up(connection: Connection, paths: Collection[str], decided_at: datetime) -> None:
    """Give files or folders of the spool up for deletion."""
    insert_new(connection, DiscardRow, [{"path": path, "decided_at": decided_at} for path in sorted(paths)])


def claim_back(connection: Connection, path: str) -> None:
    """Keep what lies, or will lie, at ``path`` from being deleted; nothing happens where it was not given up."""
    connection.execute(delete(DiscardRow).where(DiscardRow.path == path))


def name_results(job_id: str) -> str:
    """Return where the results of a job lie, relative to the spool's root."""
    return f"outbox/{job_id}"


def list_discarded(connection: Connection, keys: Collection[SeriesKey]) -> list[SeriesKey]:
    """Return those of ``keys`` whose files were given up, and let nobody give up the others until the end.

    A generation before the one that was given up went with it.
    """
    gone: list[SeriesKey] = []
    for key in sorted(keys, key=lambda key: key.series_instance_uid):
        uid = key.series_instance_uid
        lock = select(SeriesRow.generation).where(SeriesRow.series_instance_uid == uid)
        connection.execute(lock.with_for_update(read=True)).first()
        given_up = and_(GenerationRow.series_instance_uid == uid, GenerationRow.state == SeriesState.DISCARDED)
        later = select(GenerationRow.generation).where(given_up, GenerationRow.generation >= key.generation)
        if connection.execute(later).first() is not None:
            gone.append(key)
    return gone


def require_sources(connection: Connection, job: Job) -> None:
    """Return if the files a job was made from are kept.

    Raises:
        TransitionForbidden: they were deleted.
    """
    gone = list_discarded(connection, (job.fixed, job.moving))
    if gone:
        raise TransitionForbidden(
            f"The files of series {', '.join(map(str, gone))} were deleted, so job {job.id} cannot begin again.",
            remedy="Send the series again; once it is complete and paired, try again.",
            state=job.state,
        )


def require_results(connection: Connection, job: Job) -> None:
    """Return if what a job published is kept.

    Raises:
        TransitionForbidden: it was deleted.
    """
    if connection.execute(select(JobRow.discarded_at).where(JobRow.id == job.id)).scalar_one() is not None:
        raise TransitionForbidden(
            f"The results of job {job.id} were deleted after they were delivered, so they cannot be sent again.",
            remedy="Fetch them from another destination that has them.",
            state=job.state,
        )


def split_values(values: Collection[str]) -> list[list[str]]:
    """Return ``values`` in order, in pieces that fit into an IN list."""
    ordered = sorted(values)
    return [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]
