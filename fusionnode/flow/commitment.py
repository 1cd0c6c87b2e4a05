"""Storage commitment (PS3.4 annex J): what is asked, what is reported, and how reports reach the ledger."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID

from fusionnode.domain.uids import parse_uid
from fusionnode.errors import DatasetUnreadable, UidMalformed
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.ports import CommitmentReport, Delivery, Ledger, ReportFate, Reports

logger = logging.getLogger(__name__)

MAX_REPORT_BYTES = 1 << 20
"""Of an encoded report. An item takes 96 bytes with UIDs of ours, 180 with the longest there may be, and a consignment
of two stacks of 512 slices has about a thousand of them: room for five times as many."""
MAX_REPORT_ITEMS = 10_000
"""Of a report: as many as fit with UIDs in them. An empty one has eight bytes and takes a hundredfold of memory."""

_ITEM_TAGS = (bytes.fromhex("fffe e000"), bytes.fromhex("feff 00e0"))


def build_request(transaction_uid: str, deliveries: Sequence[Delivery]) -> Dataset:
    """Return the Action Information that asks for these instances (PS3.4 table J.3-1)."""
    ds = Dataset()
    ds.TransactionUID = UID(transaction_uid)
    ds.ReferencedSOPSequence = [_refer(one) for one in deliveries]
    return ds


def require_bounded(information: BytesIO | None) -> None:
    """Refuse an Event Information beyond all need, before it is decoded; as it came, and not deflated.

    Raises:
        DatasetUnreadable: it has more than `MAX_REPORT_BYTES`, or what looks like more than `MAX_REPORT_ITEMS` items
            (PS3.5 section 7.5) in either byte order.
    """
    encoded = information.getvalue() if information is not None else b""
    if len(encoded) > MAX_REPORT_BYTES or sum(encoded.count(tag) for tag in _ITEM_TAGS) > MAX_REPORT_ITEMS:
        raise DatasetUnreadable(
            f"A storage commitment report has more than {MAX_REPORT_BYTES} bytes or {MAX_REPORT_ITEMS} items.",
            remedy="No consignment of this node has that many instances; ask whoever runs the archive what it reports.",
        )


def read_report(information: Dataset) -> CommitmentReport:
    """Return what an Event Information says (PS3.4 table J.3-3).

    Raises:
        DatasetUnreadable: it names no transaction, or an item of it no instance.
    """
    try:
        return CommitmentReport(
            transaction_uid=parse_uid(str(information.TransactionUID)),
            committed=frozenset(_read_uid(item) for item in information.get("ReferencedSOPSequence") or ()),
            lost={
                _read_uid(item): int(item.get("FailureReason") or 0)
                for item in information.get("FailedSOPSequence") or ()
            },
        )
    except (AttributeError, TypeError, ValueError, UidMalformed) as problem:
        raise DatasetUnreadable("A storage commitment report lacks a UID, or one of them is none.") from problem


def collect_reports(ledger: Ledger, reports: Reports, now: datetime, again: Callable[[int], datetime]) -> int:
    """Enter every waiting report; return how many were entered. One whose job a worker holds is left for later.

    ``again`` gives, from the number of requests so far, when what a destination lost is sent again.

    Raises:
        LedgerUnavailable: the others are still where they were.
    """
    entered = 0
    for name, report in reports.list_reports():
        fate = ledger.record_report(report, now, again)
        if fate is ReportFate.BUSY:
            continue
        if fate is ReportFate.UNKNOWN:
            logger.warning("a commitment report on a transaction that nobody waits for: %s", report.transaction_uid)
        entered += fate is ReportFate.ENTERED
        reach(FaultPoint.REPORT_ENTERED)
        reports.discard_report(name)
    return entered


def _refer(delivery: Delivery) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(delivery.sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(delivery.sop_instance_uid)
    return item


def _read_uid(item: Dataset) -> str:
    return parse_uid(str(item.ReferencedSOPInstanceUID))
