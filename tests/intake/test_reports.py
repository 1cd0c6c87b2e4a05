"""Commitment reports are durable before they are answered, and come back as they were."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.errors import SpoolFull
from fusionnode.flow.ports import CommitmentReport
from fusionnode.intake.reports import ReportFolder

REPORT = CommitmentReport("1.2.3", frozenset({"1.2.4"}), {"1.2.5": 0x0112})
UIDS = st.integers(1, 10**9).map(lambda number: f"1.2.{number}")


@pytest.fixture
def folder(tmp_path: Path) -> ReportFolder:
    made = ReportFolder(tmp_path)
    made.prepare()
    made.prepare()
    return made


@given(committed=st.frozensets(UIDS), lost=st.dictionaries(UIDS, st.integers(0, 0xFFFF)))
def test_a_report_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, committed: frozenset[str], lost: dict[str, int]
) -> None:
    made = ReportFolder(tmp_path_factory.mktemp("reports"))
    made.prepare()
    made.keep_report(CommitmentReport("1.2.3", committed, lost))
    [(name, report)] = made.list_reports()
    assert report == CommitmentReport("1.2.3", committed, lost)
    made.discard_report(name)
    made.discard_report(name)
    assert list(made.list_reports()) == []


def test_they_come_in_the_order_of_arrival_and_the_same_one_twice_is_kept_twice(folder: ReportFolder) -> None:
    for number in range(5):
        folder.keep_report(CommitmentReport(f"1.2.{number % 4}", frozenset(), {}))
        for moment, path in enumerate(sorted(folder.folder.glob("*.json"), key=lambda one: one.stat().st_mtime_ns)):
            os.utime(path, ns=(moment, moment))
    assert [report.transaction_uid for _, report in folder.list_reports()] == [
        "1.2.0",
        "1.2.1",
        "1.2.2",
        "1.2.3",
        "1.2.0",
    ]


def test_a_disk_that_is_full_is_told_and_leaves_nothing(folder: ReportFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(SpoolFull):
        folder.keep_report(REPORT)
    assert list(folder.folder.iterdir()) == []


def test_it_is_synced_before_it_is_visible_and_the_folder_after(
    folder: ReportFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def count() -> int:
        return len(list(folder.folder.glob("*.json")))

    monkeypatch.setattr(os, "fdatasync", lambda _: seen.append(("data", count())))
    monkeypatch.setattr("fusionnode.intake.reports.sync_folder", lambda _: seen.append(("folder", count())))
    folder.keep_report(REPORT)
    assert seen == [("data", 0), ("folder", 1)]


def test_one_that_a_disk_spoilt_is_set_aside_and_holds_up_no_other(folder: ReportFolder) -> None:
    (folder.folder / "0.json").write_text("{")
    (folder.folder / "1.json").write_text('{"transaction_uid": "1.2.3"}')
    folder.keep_report(REPORT)
    assert [report for _, report in folder.list_reports()] == [REPORT]
    assert sorted(path.name for path in folder.folder.glob("*.unreadable")) == ["0.unreadable", "1.unreadable"]
