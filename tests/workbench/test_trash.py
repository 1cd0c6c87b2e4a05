"""Deleted files go out of sight by one rename, and then away."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fusionnode.errors import SpoolUnreadable
from fusionnode.flow import housekeeping
from fusionnode.workbench.trash import TrashFolder

NOW = datetime.now(UTC)


def _fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def _list_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_it_is_what_the_plot_calls_trash(tmp_path: Path) -> None:
    trash: housekeeping.Trash = TrashFolder(tmp_path)
    assert trash.empty() == 0
    assert trash.list_unusable(NOW) == trash.list_leftovers(NOW) == []


def test_files_and_folders_are_out_of_sight_first_and_gone_later(tmp_path: Path) -> None:
    _fill(tmp_path, "instances/aa/1.dcm", "instances/ab/2.dcm", "outbox/job/0001.dcm", "outbox/other/0001.dcm")
    trash = TrashFolder(tmp_path)
    trash.throw(["instances/aa/1.dcm", "outbox/job"])
    kept = ["instances/ab/2.dcm", "outbox/other/0001.dcm"]
    assert [name for name in _list_files(tmp_path) if not name.startswith("trash/")] == kept
    assert trash.empty() == 2
    assert _list_files(tmp_path) == kept


def test_what_is_gone_already_is_passed_over(tmp_path: Path) -> None:
    _fill(tmp_path, "instances/aa/1.dcm")
    trash = TrashFolder(tmp_path)
    for _ in range(2):
        trash.throw(["instances/aa/1.dcm", "instances/zz/none.dcm"])
    assert trash.empty() == 1


def test_a_place_that_cannot_be_moved_is_named_and_hinders_no_other(tmp_path: Path) -> None:
    _fill(tmp_path, "instances/aa/1.dcm", "instances/ab", "instances/ac/3.dcm")
    trash = TrashFolder(tmp_path)
    stuck = trash.throw(["instances/aa/1.dcm", "instances/ab/2.dcm", "instances/ac/3.dcm"])
    assert list(stuck) == ["instances/ab/2.dcm"]
    assert "instances/ab/2.dcm was given up and cannot be moved to the trash: Not a directory." in str(
        stuck["instances/ab/2.dcm"]
    )
    assert trash.empty() == 2
    assert _list_files(tmp_path) == ["instances/ab"]


def test_what_a_power_cut_may_bring_back_does_not_count_as_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["instances/aa/1.dcm", "instances/ab/2.dcm"]
    _fill(tmp_path, *names)
    trash = TrashFolder(tmp_path)
    trash.throw(["instances/none"])
    bad, sync = (tmp_path / "instances/aa").stat().st_ino, os.fsync

    def fail_on_one(handle: int) -> None:
        if os.fstat(handle).st_ino == bad:
            raise OSError(5, "Input/output error")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail_on_one)
    assert list(trash.throw(names)) == names[:1]
    monkeypatch.undo()
    assert not trash.throw(names)


def test_a_trash_that_is_no_folder_is_named(tmp_path: Path) -> None:
    _fill(tmp_path, "trash", "instances/aa/1.dcm")
    trash = TrashFolder(tmp_path)
    assert list(trash.throw(["instances/aa/1.dcm"])) == ["instances/aa/1.dcm"]
    with pytest.raises(SpoolUnreadable, match="trash"):
        trash.empty()


def test_only_what_is_old_is_unusable_enough_or_left_over(tmp_path: Path) -> None:
    _fill(tmp_path, "quarantine/old.dcm", "quarantine/new.dcm", "outbox/.job.1.staging/0001.dcm", "outbox/job/0001.dcm")
    for name in ("quarantine/old.dcm", "outbox/.job.1.staging", "outbox/job"):
        os.utime(tmp_path / name, (0, 0))
    trash = TrashFolder(tmp_path)
    before = NOW - timedelta(days=1)
    assert trash.list_unusable(before) == ["quarantine/old.dcm"]
    assert trash.list_leftovers(before) == ["outbox/.job.1.staging"]
