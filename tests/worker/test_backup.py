"""Back up a node while it works, wipe it, restore it: jobs and history are there, and what waited finishes."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import BackupIncomplete, OutputOccupied
from fusionnode.wiring import build_sweeper
from fusionnode.worker import backup
from fusionnode.worker.backup import back_up, restore
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
