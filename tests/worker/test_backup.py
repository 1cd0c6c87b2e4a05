"""Back up a node while it works, wipe it, restore it: jobs and history are there, and what waited finishes."""

import os
import shutil
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import JobState
from fusionnode.domain.retention import RetentionLimits
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import BackupFailed, BackupIncomplete, OutputOccupied
from fusionnode.settings import AuditSettings
from fusionnode.wiring import build_sweeper
from fusionnode.workbench.trash import TrashFolder
from fusionnode.worker import backup
from fusionnode.worker.backup import back_up, restore
from fusionnode.worker.jobs import reindex_spool
from fusionnode.worker.steps import StepRunner
from tests.support.nodes import MOMENT, Clock, make_pair, open_test_node, put_in_spool, queue_job, storage_pacs


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_node_that_was_wiped_goes_on_where_its_backup_was_taken(tmp_path: Path, done: int) -> None:
    clock = Clock()
    with storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs)
        job = queue_job(node, tmp_path)
        steps = (Step.PREPARE, Step.FUSE, Step.SEND)
        for step in steps[:done]:
            StepRunner(node, "worker", clock).run_step(step)
        assert node.ledger.claim_job(steps[done], clock(), 30, "doomed", job.id) is not None
        events = node.ledger.list_events(job.id)  # type: ignore[attr-defined]
        back_up(node.settings, tmp_path / "backup")
        shutil.rmtree(node.settings.spool)
        restore(node.settings, tmp_path / "backup")

        node = open_test_node(tmp_path, pacs)
        assert node.ledger.list_events(job.id)[: len(events)] == events  # type: ignore[attr-defined]
        again = node.ledger.find_job(job.id)
        assert again.state is (JobState.FUSED if done == 2 else JobState.QUEUED)
        clock.advance(3600 * 24 * 365)
        runner = StepRunner(node, "worker", clock)
        for step in steps:
            runner.run_step(step)
        assert node.ledger.find_job(job.id).state is JobState.STORED
        assert len(pacs.fetch_series(FusedIdentity(job.id).series_uid)) == 10


def test_what_came_between_the_ledger_and_the_files_is_entered_when_it_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, fixed, tmp_path / "first")
    sweeper = build_sweeper(node)
    sweeper.sweep(MOMENT, 0.0)
    save = backup.save_ledger

    def save_and_receive(url: str, folder: Path) -> str:
        name = save(url, folder)
        put_in_spool(node, moving, tmp_path / "second")
        sweeper.sweep(MOMENT, 1.0)
        put_in_spool(node, moving[:1], tmp_path / "third")
        return name

    monkeypatch.setattr(backup, "save_ledger", save_and_receive)
    facts = back_up(node.settings, tmp_path / "backup")
    assert (facts["files"]["arrivals"], facts["files"]["instances"]) == (1, 20)
    shutil.rmtree(node.settings.spool)
    restore(node.settings, tmp_path / "backup")
    node = open_test_node(tmp_path)
    sweeper = build_sweeper(node)
    assert [len(sweeper.sweep(MOMENT, 100.0 * number).queued) for number in range(3)].count(1) == 1


def test_what_was_being_deleted_when_the_ledger_was_copied_is_kept_and_so_is_what_is_brought_in_later(
    tmp_path: Path,
) -> None:
    node = open_test_node(tmp_path)
    put_in_spool(node, make_pair()[0], tmp_path / "sent")
    sweeper = build_sweeper(node)
    for monotonic in range(3):
        sweeper.sweep(MOMENT, 100.0 * monotonic)
    [series] = node.ledger.list_series((SeriesState.COMPLETE,))
    day = timedelta(days=1)
    limits, later = RetentionLimits(day, day, day), MOMENT + 2 * day
    assert node.holdings.discard_series(series.key.series_instance_uid, limits, later).discard
    place = series.instances[0].path
    TrashFolder(node.spool.root).throw([place])
    [thrown] = (node.spool.root / "trash").iterdir()
    thrown.rename(tmp_path / "sent again")
    back_up(node.settings, tmp_path / "backup")
    shutil.rmtree(node.settings.spool)
    restore(node.settings, tmp_path / "backup")
    assert len(list(node.spool.instances.rglob("*.dcm"))) == 9
    (node.spool.root / place).parent.mkdir(exist_ok=True)
    (tmp_path / "sent again").rename(node.spool.root / place)
    assert reindex_spool(node.settings) == 10
    assert len(list(node.spool.instances.rglob("*.dcm"))) == 10


def test_a_trail_outside_the_spool_is_held_and_put_back_only_where_it_was_lost(tmp_path: Path) -> None:
    trail = tmp_path / "trail"
    node = open_test_node(tmp_path, audit=AuditSettings(folder=trail))
    trail.mkdir()
    (trail / "a.jsonl").write_text("old")
    assert back_up(node.settings, tmp_path / "backup")["files"]["audit"] == 1
    for name, words in (("a.jsonl", "old and new"), ("b.jsonl", "newer")):
        (trail / name).write_text(words)
    shutil.rmtree(node.settings.spool)
    restore(node.settings, tmp_path / "backup")
    assert {path.name: path.read_text() for path in trail.iterdir()} == {"a.jsonl": "old and new", "b.jsonl": "newer"}
    for folder in (node.settings.spool, trail):
        shutil.rmtree(folder)
    restore(node.settings, tmp_path / "backup")
    assert {path.name: path.read_text() for path in trail.iterdir()} == {"a.jsonl": "old"}


def test_of_two_backups_to_one_name_one_ends_well_and_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = open_test_node(tmp_path)
    put_in_spool(node, make_pair()[0], tmp_path / "sent")
    save, out = backup.save_ledger, tmp_path / "backup"

    def save_and_begin_another(url: str, folder: Path) -> str:
        name = save(url, folder)
        monkeypatch.setattr(backup, "save_ledger", save)
        back_up(node.settings, out)
        return name

    monkeypatch.setattr(backup, "save_ledger", save_and_begin_another)
    with pytest.raises(OutputOccupied):
        back_up(node.settings, out)
    assert not list(tmp_path.glob(".*"))
    shutil.rmtree(node.settings.spool)
    assert restore(node.settings, out)["files"]["arrivals"] == 10


@pytest.mark.parametrize("work", ["back_up", "restore"])
def test_a_disk_that_fills_up_is_named_and_leaves_no_half_backup(
    tmp_path: Path, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    put_in_spool(node, make_pair()[0], tmp_path / "sent")
    if work == "restore":
        back_up(node.settings, tmp_path / "backup")
        shutil.rmtree(node.settings.spool)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(BackupFailed, match="No space left on device"):
        (back_up if work == "back_up" else restore)(node.settings, tmp_path / "backup")
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "backup").exists() is (work == "restore")


def test_a_backup_is_on_the_disk_to_its_last_folder_before_it_is_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    put_in_spool(node, make_pair()[0], tmp_path / "sent")
    build_sweeper(node).sweep(MOMENT, 0.0)
    out = tmp_path / "above" / "backup"
    synced: dict[int, tuple[bool, set[str]]] = {}
    sync = os.fsync

    def note(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced[os.fstat(handle).st_ino] = (out.exists(), set(os.listdir(handle)) if is_folder else set())
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    back_up(node.settings, out)
    for path in out.rglob("*"):
        # SQLite syncs its own file.
        if path.name != "ledger.sqlite":
            assert synced[path.stat().st_ino] == (
                False,
                {one.name for one in path.iterdir()} if path.is_dir() else set(),
            )
    assert synced[out.stat().st_ino] == (False, {"backup.json", "ledger.sqlite", "spool"})
    assert synced[out.parent.stat().st_ino] == (True, {"backup"})
    assert "above" in synced[tmp_path.stat().st_ino][1]


def test_nothing_is_overwritten_and_half_a_backup_is_none(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    put_in_spool(node, make_pair()[0], tmp_path / "sent")
    back_up(node.settings, tmp_path / "backup")
    with pytest.raises(OutputOccupied):
        back_up(node.settings, tmp_path / "backup")
    with pytest.raises(OutputOccupied, match="ledger"):
        restore(node.settings, tmp_path / "backup")
    (node.settings.spool / "ledger.sqlite").unlink()
    with pytest.raises(OutputOccupied, match="not empty"):
        restore(node.settings, tmp_path / "backup")
    shutil.rmtree(node.settings.spool)
    next((tmp_path / "backup" / "spool" / "arrivals").iterdir()).unlink()
    with pytest.raises(BackupIncomplete):
        restore(node.settings, tmp_path / "backup")
    with pytest.raises(BackupIncomplete):
        restore(node.settings, tmp_path / "nowhere")


def test_a_file_that_is_moved_on_while_it_is_copied_is_whole_in_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    fixed, _ = make_pair()
    put_in_spool(node, fixed, tmp_path / "first")
    copy = shutil.copyfileobj

    def move_and_copy(source: Any, target: Any) -> None:
        path = Path(source.name)
        if path.parent == node.spool.arrivals:
            path.rename(node.spool.quarantine / path.name)
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfileobj", move_and_copy)
    back_up(node.settings, tmp_path / "backup")
    monkeypatch.undo()
    shutil.rmtree(node.settings.spool)
    restore(node.settings, tmp_path / "backup")
    assert len({path.name for path in node.spool.root.rglob("*.dcm")}) == len(fixed)
