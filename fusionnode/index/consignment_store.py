"""Edge: the account of each job with each of its destinations, and what their commitment reports change in it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, delete, func, insert, or_, select, update

from fusionnode.domain.consignment import Consignment
from fusionnode.domain.job import WAITING, WORKING, Job, JobEvent, JobState
from fusionnode.domain.terms import Step
from fusionnode.flow.ports import CommitmentReport, ReportFate
from fusionnode.index.consignment_rows import match_consignment
from fusionnode.index.database import CHUNK, Store
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.job_store import Move, find_row, move_job, require_fence
from fusionnode.index.tables import CommitmentRow, ConsignmentRow, DeliveryRow, JobRow

_AT_WORK = (WORKING[Step.SEND], WORKING[Step.COMMIT])
_WAITING = (WAITING[Step.SEND], WAITING[Step.COMMIT])
_KEPT = ("attempts", "requests", "not_before", "dead", "reason", "error")


class ConsignmentStore(Store):
    """Reads and settles consignments, and asks for and enters commitments."""

    def list_consignments(self, job_id: str) -> list[Consignment]:
        """Return the accounts of the job, by destination."""
        refused = func.count(case((DeliveryRow.dead.is_(True), 1)))
        counts = (func.count(), func.count(DeliveryRow.stored_at), func.count(DeliveryRow.committed_at), refused)
        same = and_(DeliveryRow.job_id == ConsignmentRow.job_id, DeliveryRow.destination == ConsignmentRow.destination)
        kept = tuple(getattr(ConsignmentRow, name) for name in _KEPT)
        query = (
            select(ConsignmentRow.destination, *kept, *counts)
            .join(DeliveryRow, same)
            .where(ConsignmentRow.job_id == job_id)
            .group_by(ConsignmentRow.job_id, ConsignmentRow.destination)
            .order_by(ConsignmentRow.destination)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Consignment(job_id, destination, total, stored, committed, refused, **dict(zip(_KEPT, values, strict=True)))
            for destination, *values, total, stored, committed, refused in rows
        ]

    def save_consignment(self, job: Job, consignment: Consignment, now: datetime) -> None:
        """Keep how the last try ended, if and only if ``job.fence`` is still the current one.

        The numbers of instances are not kept from here: `record_outcome` and `record_report` count them.

        Raises:
            JobUnknown: there is no such job.
            LeaseLost: the job was claimed again or moved on since.
        """
        values = {name: getattr(consignment, name) for name in _KEPT}
        mine = match_consignment(ConsignmentRow, job.id, consignment.destination)
        with self._database.write() as connection:
            require_fence(connection, job)
            connection.execute(update(ConsignmentRow).where(mine).values(values))
            if consignment.dead:
                detail = f"{consignment.destination}: {consignment.reason}"
                append_event(connection, Event(now, job.id, "given up", detail))

    def open_commitment(self, job: Job, destination: str, transaction_uid: str, now: datetime) -> None:
        """Make a transaction known before it is asked for, so that its report finds its job whenever it comes.

        Raises:
            JobUnknown: there is no such job.
            LeaseLost: the job was claimed again or moved on since.
        """
        values = {"transaction_uid": transaction_uid, "job_id": job.id, "destination": destination, "asked_at": now}
        with self._database.write() as connection:
            require_fence(connection, job)
            connection.execute(insert(CommitmentRow).values(values))

    def record_report(self, report: CommitmentReport, now: datetime, again: Callable[[int], datetime]) -> ReportFate:
        """Enter what a destination reports: what it committed to is safe, what it lost is owed again.

        ``again`` gives, from the number of requests so far, when what was lost is sent again.
        """
        asked = select(CommitmentRow.job_id, CommitmentRow.destination, CommitmentRow.asked_at)
        with self._database.write() as connection:
            found = connection.execute(asked.where(CommitmentRow.transaction_uid == report.transaction_uid)).first()
            if found is None:
                return ReportFate.UNKNOWN
            job_id, destination, asked_at = found
            job = find_row(connection, job_id, lock=True)
            if job.state not in _WAITING:
                return ReportFate.BUSY if job.state in _AT_WORK else ReportFate.UNKNOWN
            _enter_report(connection, job_id, destination, report, now)
            consignment = match_consignment(ConsignmentRow, job_id, destination)
            # What is safe is due since it was asked for: a clock ahead would keep it from workers whose is right.
            due = again(_count_requests(connection, consignment)) if report.lost else min(now, asked_at)
            connection.execute(update(ConsignmentRow).where(consignment).values(not_before=due))
            told = f"{destination} committed to {len(report.committed)} instances and lost {len(report.lost)}."
            append_event(connection, Event(now, job_id, "commitment", told))
            if report.lost and job.state is JobState.STORED:
                move_job(connection, job, Move(JobEvent.RESENT, now, told, not_before=due))
            else:
                _look_earlier(connection, job, due)
        return ReportFate.ENTERED


def _look_earlier(connection: Connection, job: Job, due: datetime) -> None:
    """Have the job gone on with at ``due`` if it would not be sooner; FUSED without a time is due already."""
    later = JobRow.not_before > due
    resting = or_(later, JobRow.not_before.is_(None)) if job.state is JobState.STORED else later
    connection.execute(update(JobRow).where(JobRow.id == job.id, resting).values(not_before=due))


def _enter_report(
    connection: Connection, job_id: str, destination: str, report: CommitmentReport, now: datetime
) -> None:
    mine = match_consignment(DeliveryRow, job_id, destination)
    _update_instances(
        connection, mine, report.committed, {"committed_at": func.coalesce(DeliveryRow.committed_at, now)}
    )
    for uid, reason in report.lost.items():
        lost = {"stored_at": None, "committed_at": None, "last_status": f"lost-{reason:04X}"}
        _update_instances(connection, mine, [uid], lost)
    # A transaction is answered once; a second report of it has nothing to add.
    connection.execute(delete(CommitmentRow).where(CommitmentRow.transaction_uid == report.transaction_uid))


def _count_requests(connection: Connection, consignment: Any) -> int:
    return connection.execute(select(ConsignmentRow.requests).where(consignment)).scalar_one()


def _update_instances(connection: Connection, mine: Any, uids: Any, values: dict[str, Any]) -> None:
    """Change those of ``uids`` that the destination had accepted."""
    listed = sorted(uids)
    for start in range(0, len(listed), CHUNK):
        chosen = DeliveryRow.sop_instance_uid.in_(listed[start : start + CHUNK])
        connection.execute(update(DeliveryRow).where(mine, chosen, DeliveryRow.stored_at.is_not(None)).values(values))
