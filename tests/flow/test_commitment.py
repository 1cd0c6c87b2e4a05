"""Requests and reports of storage commitment say what the Standard's tables say, and none is lost on its way."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pynetdicom.dsutils import encode

from fusionnode.errors import DatasetUnreadable, LedgerUnavailable
from fusionnode.flow.commitment import (
    MAX_REPORT_BYTES,
    MAX_REPORT_ITEMS,
    build_request,
    collect_reports,
    read_report,
    require_bounded,
)
from fusionnode.flow.ports import CommitmentReport, Delivery, ReportFate

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UIDS = st.integers(1, 10**9).map(lambda number: f"1.2.{number}")


def _item(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.4", uid
    if reason is not None:
        item.FailureReason = reason
    return item


@given(committed=st.frozensets(UIDS), lost=st.dictionaries(UIDS, st.integers(0, 0xFFFF)))
def test_a_report_says_of_each_instance_what_became_of_it(committed: frozenset[str], lost: dict[str, int]) -> None:
    ds = Dataset()
    ds.TransactionUID = "1.2.3"
    ds.ReferencedSOPSequence = [_item(uid) for uid in sorted(committed)]
    if lost:
        ds.FailedSOPSequence = [_item(uid, reason) for uid, reason in lost.items()]
    assert read_report(ds) == CommitmentReport("1.2.3", committed, lost)


@pytest.mark.parametrize("damage", ["no transaction", "bad transaction", "no instance", "bad instance", "bad reason"])
def test_a_report_without_sense_is_refused(damage: str) -> None:
    ds = Dataset()
    ds.TransactionUID = "1.2.3"
    ds.ReferencedSOPSequence = [_item("1.2.5")]
    match damage:
        case "no transaction":
            del ds.TransactionUID
        case "bad transaction":
            ds.TransactionUID = ""
        case "no instance":
            del ds.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        case "bad instance":
            ds.FailedSOPSequence = [_item("", 1)]
        case "bad reason":
            ds.FailedSOPSequence = [_item("1.2.5", 1)]
            ds.FailedSOPSequence[0].FailureReason = [1, 2]
    with pytest.raises(DatasetUnreadable):
        read_report(ds)


@pytest.mark.parametrize("little", [True, False])
def test_a_report_on_the_most_there_may_be_is_read_and_one_with_an_item_more_is_not(little: bool) -> None:
    ds = Dataset()
    ds.ReferencedSOPSequence = [_item(f"2.25.{10**38 + number}") for number in range(MAX_REPORT_ITEMS)]
    require_bounded(BytesIO(encode(ds, False, little) or b""))
    ds.FailedSOPSequence = [Dataset()]
    with pytest.raises(DatasetUnreadable, match="items"):
        require_bounded(BytesIO(encode(ds, False, little) or b""))


def test_a_report_is_bounded_in_bytes_and_need_not_be_there() -> None:
    require_bounded(None)
    require_bounded(BytesIO(bytes(MAX_REPORT_BYTES)))
    with pytest.raises(DatasetUnreadable, match="bytes"):
        require_bounded(BytesIO(bytes(MAX_REPORT_BYTES + 1)))


def test_a_request_names_transaction_class_and_instance() -> None:
    ds = build_request(
        "1.2.3", [Delivery("j", "pacs", "1.2.4", "1.2.5", "x"), Delivery("j", "pacs", "1.2.4", "1.2.6", "y")]
    )
    assert ds.TransactionUID == "1.2.3"
    named = [(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID) for one in ds.ReferencedSOPSequence]
    assert named == [("1.2.4", "1.2.5"), ("1.2.4", "1.2.6")]


class _Waiting:
    """Reports in memory."""

    def __init__(self, *transactions: str) -> None:
        self.waiting = {uid: CommitmentReport(uid, frozenset(), {}) for uid in transactions}

    def list_reports(self) -> Iterator[tuple[str, CommitmentReport]]:
        yield from list(self.waiting.items())

    def discard_report(self, name: str) -> None:
        del self.waiting[name]


class _Book:
    """Answers with the fates it was given, by transaction."""

    def __init__(self, fates: dict[str, ReportFate | Exception]) -> None:
        self.fates = fates

    def record_report(self, report: CommitmentReport, *_: object) -> ReportFate:
        fate = self.fates[report.transaction_uid]
        if isinstance(fate, Exception):
            raise fate
        return fate


def test_reports_leave_when_they_were_entered_or_are_of_no_use_and_stay_while_a_worker_is_busy() -> None:
    reports = _Waiting("1.1", "1.2", "1.3")
    book = _Book({"1.1": ReportFate.ENTERED, "1.2": ReportFate.BUSY, "1.3": ReportFate.UNKNOWN})
    assert collect_reports(book, reports, NOW, lambda _: NOW) == 1  # type: ignore[arg-type]
    assert list(reports.waiting) == ["1.2"]


def test_a_ledger_that_is_away_loses_no_report() -> None:
    reports = _Waiting("1.1", "1.2")
    with pytest.raises(LedgerUnavailable):
        collect_reports(_Book({"1.1": LedgerUnavailable("away")}), reports, NOW, lambda _: NOW)  # type: ignore[arg-type]
    assert list(reports.waiting) == ["1.1", "1.2"]
