"""Named moments at which a test lets a process die, to prove that nothing is lost or doubled there.

Nothing outside the tests arms them: no setting, no environment variable and no peer can. Unarmed, a point costs one
comparison.
"""

from collections.abc import Callable
from enum import StrEnum


class FaultPoint(StrEnum):
    """Where a crash would hurt most: between two writes that belong together. In the order a slice passes them."""

    INSTANCE_RECEIVED = "instance received, not yet durable"
    INSTANCE_RENAMED = "instance renamed, folder not yet synced"
    INSTANCE_DURABLE = "instance durable, sender not yet told"
    INSTANCE_RECORDED = "instance in the ledger, file not yet moved"
    SERIES_SETTLED = "series closed, not yet paired"
    JOB_ENTERED = "job in the ledger, nobody told"
    STEP_CLAIMED = "step claimed, nothing done"
    PREPARED_WRITTEN = "prepared pair written, not yet visible"
    PREPARED_SAVED = "prepared pair visible, ledger not yet told"
    RESULT_HALF_WRITTEN = "one object of a result written"
    RESULT_WRITTEN = "result written, not yet visible"
    RESULT_PUBLISHED = "result visible, deliveries not yet entered"
    DELIVERIES_ENTERED = "deliveries entered, step not yet ended"
    STEP_ADVANCED = "step ended in the ledger, leftovers not yet deleted"
    INSTANCE_SENT = "instance accepted by the destination, not yet accounted for"
    OUTCOME_RECORDED = "instance accounted for, others still to send"
    COMMITMENT_OPENED = "commitment transaction in the ledger, not yet asked"
    COMMITMENT_ASKED = "commitment asked, account not yet kept"
    DESTINATION_ACCOUNTED = "destination's account kept, step not yet ended"
    REPORT_DURABLE = "commitment report durable, destination not yet told"
    REPORT_ENTERED = "commitment report in the ledger, file not yet deleted"
    DISCARD_DECIDED = "files given up in the ledger, all still in place"
    DISCARD_BEGUN = "one given-up file or folder out of sight, others still in place"


_strike: Callable[[FaultPoint], None] | None = None


def arm(strike: Callable[[FaultPoint], None] | None) -> None:
    """Have ``strike`` called whenever this process reaches a point; None disarms."""
    global _strike  # noqa: PLW0603 - one switch for the whole process is what it is
    _strike = strike


def reach(point: FaultPoint) -> None:
    """Say that this process is at ``point``."""
    if _strike is not None:
        _strike(point)
