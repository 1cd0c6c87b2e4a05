"""Edge: what the transactions of several stores do to consignments."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, update

from fusionnode.index.tables import CommitmentRow, ConsignmentRow, DeliveryRow

AT_THE_BEGINNING: dict[str, Any] = {
    "attempts": 0,
    "requests": 0,
    "not_before": None,
    "dead": False,
    "reason": "",
    "error": "",
}
"""What a consignment is that nobody has tried yet."""


def match_consignment(
    table: type[ConsignmentRow | DeliveryRow | CommitmentRow], job_id: str, destination: str
) -> ColumnElement[bool]:
    """Return the condition for the rows of one job and one destination, or of all of them when it is empty."""
    of_job = table.job_id == job_id
    return and_(of_job, table.destination == destination) if destination else of_job


def revive_consignments(connection: Connection, job_id: str, destination: str = "", *, everything: bool = False) -> int:
    """Begin consignments anew, with ``everything`` owed again or only what is not stored; return how many there are.

    Reports on what was asked before do not count any more: they would speak of instances that are sent again.
    """
    _revive_instances(connection, job_id, destination)
    beginning = update(ConsignmentRow).where(match_consignment(ConsignmentRow, job_id, destination))
    if everything:
        owed = update(DeliveryRow).where(match_consignment(DeliveryRow, job_id, destination))
        connection.execute(owed.values(stored_at=None, committed_at=None))
    connection.execute(delete(CommitmentRow).where(match_consignment(CommitmentRow, job_id, destination)))
    return connection.execute(beginning.values(**AT_THE_BEGINNING)).rowcount


def _revive_instances(connection: Connection, job_id: str, destination: str) -> None:
    refused = update(DeliveryRow).where(match_consignment(DeliveryRow, job_id, destination))
    connection.execute(refused.values(refusals=0, dead=False))
