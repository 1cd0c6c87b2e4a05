"""The housekeeping on a real node: a real spool, a real ledger, real files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fusionnode.demo.pacs import StoragePacs
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.retention import RetentionLimits
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import LedgerUnavailable, SpoolFull, SpoolUnreadable
from fusionnode.faults import FaultPoint
from fusionnode.flow.observing import UNOBSERVED
from fusionnode.settings import QuotaSettings
from fusionnode.wiring import Node, build_housekeeper, build_sweeper
from fusionnode.workbench.clock import ClockFile
from fusionnode.worker.explain import explain_uid, tell_explanation
from fusionnode.worker.housekeeping import Housekeeping, clean_spool, repeat_housekeeping
from fusionnode.worker.jobs import list_series_facts, reindex_spool
from fusionnode.worker.steps import StepRunner
from tests.chaos.account import count_half_written
from tests.chaos.victim import VARIABLE, Fault
from tests.support.nodes import (
    MOMENT,
    Clock,
    make_pair,
    open_test_node,
    put_in_spool,
    queue_job,
    storage_pacs,
    trust_clock,
)

DAY = timedelta(days=1)
MONTHS = MOMENT + 60 * DAY
YEARS = MOMENT + 4000 * DAY


def _list_files(node: Node, *folders: str) -> list[Path]:
    root = node.spool.root
    return sorted(path for folder in folders for path in (root / folder).rglob("*") if path.is_file())


def _count_told_deletions(node: Node) -> int:
    trail = "".join(path.read_text() for path in (node.spool.root / "audit").iterdir())
    return trail.count('"event":"DICOM Study Deleted"')


def _keep_house(node: Node, now: datetime) -> None:
    """Let an hour go by until ``now``, on a clock that has gone evenly for ages."""
    trust_clock(node, now)
    housekeeping = Housekeeping(node)
    housekeeping.go_round(now - timedelta(hours=1), 0)
    housekeeping.go_round(now, 3600)


def _deliver(folder: Path, pacs: StoragePacs | None = None, now: datetime = MOMENT) -> tuple[Node, Job]:
    node = open_test_node(folder, pacs)
    job = queue_job(node, folder, now)
    runner = StepRunner(node, "worker", Clock(now))
    for step in (Step.PREPARE, Step.FUSE, Step.SEND):
        runner.run_step(step)
    return node, node.ledger.find_job(job.id)


def test_what_was_delivered_goes_and_coming_again_it_is_kept_but_not_fused_twice(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node, job = _deliver(tmp_path, pacs)
        assert job.state is JobState.STORED
        _keep_house(node, MOMENT + 29 * DAY)
        assert len(_list_files(node, "instances", "outbox")) == 30
        _keep_house(node, MONTHS)
        assert _list_files(node, "instances", "outbox", "trash") == []
        assert {fact["state"] for fact in list_series_facts(node.settings)} == {"discarded"}
        assert reindex_spool(node.settings) == 0
        [told] = explain_uid(node.settings, job.fixed.series_instance_uid, MONTHS)["series"]
        assert (told["state"], told["pipelines"], told["jobs"][0]["state"]) == ("discarded", [], "stored")
        assert list(tell_explanation({"series": [told]}))

        fixed, moving = make_pair()
        put_in_spool(node, [*fixed, *moving], tmp_path / "again")
        sweeper = build_sweeper(node)
        for monotonic in range(3):
            assert not sweeper.sweep(MONTHS, 100.0 * monotonic).queued
        assert len(_list_files(node, "instances")) == 20
        assert [one.id for one in node.ledger.list_jobs()] == [job.id]
        assert node.ledger.find_job(job.id).state is JobState.STORED


def test_a_folder_that_cannot_be_moved_from_stops_no_other_deletion_and_is_ended_once_it_can(
    tmp_path: Path, delivered: tuple[Path, Job], caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(delivered[0] / "spool", tmp_path / "spool")
    node = open_test_node(tmp_path)
    bad = _list_files(node, "instances")[0].parent
    kept = len(list(bad.iterdir()))
    bad.rename(tmp_path / "aside")
    bad.touch()
    _keep_house(node, MONTHS)
    assert _list_files(node, "instances", "outbox", "trash") == [bad]
    assert f"{kept} places could not be cleared. The first: instances/{bad.name}/" in caplog.text
    with pytest.raises(SpoolUnreadable, match=f"instances/{bad.name}/"):
        reindex_spool(node.settings)
    bad.unlink()
    (tmp_path / "aside").rename(bad)
    assert reindex_spool(node.settings) == 0, "half of what was given up came back"
    assert _list_files(node, "instances", "trash") == []


def test_where_nothing_can_be_deleted_the_clock_is_watched_and_the_quota_measured(tmp_path: Path) -> None:
    node = open_test_node(tmp_path, quota=QuotaSettings(spool_gb=1, waiting_jobs=1))
    trust_clock(node, MOMENT)
    housekeeping = Housekeeping(node)
    housekeeping.go_round(MOMENT, 0)
    queue_job(node, tmp_path)
    (node.spool.root / "trash").touch()
    hour = timedelta(hours=1)
    with pytest.raises(SpoolUnreadable, match="trash"):
        housekeeping.go_round(MOMENT + hour, 3600)
    with pytest.raises(SpoolFull, match="1 jobs waiting"):
        node.spool.check_space()
    known = ClockFile(node.spool.root).recall()
    assert known is not None
    assert known[1] == MOMENT + hour


def test_what_no_destination_took_is_there_after_years(tmp_path: Path) -> None:
    node, job = _deliver(tmp_path)
    assert job.state is JobState.FUSED
    _keep_house(node, YEARS)
    assert len(_list_files(node, "instances", "outbox")) == 30


def test_an_instance_acknowledged_between_the_two_halves_of_a_deletion_is_in_the_spool(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node, job = _deliver(tmp_path, pacs)
    before = {path.name: path.read_bytes() for path in _list_files(node, "instances")}
    limits = RetentionLimits(DAY, DAY, DAY)
    for key in (job.fixed, job.moving):
        assert node.holdings.discard_series(key.series_instance_uid, limits, MONTHS).discard
    fixed, moving = make_pair()
    put_in_spool(node, fixed, tmp_path / "early")
    sweeper = build_sweeper(node)
    sweeper.sweep(MONTHS, 0.0)
    put_in_spool(node, moving, tmp_path / "late")
    trust_clock(node, MONTHS)
    build_housekeeper(node.settings, node.pipelines, node.holdings).clean(MONTHS, UNOBSERVED)
    sweeper.sweep(MONTHS, 1.0)
    assert {path.name: path.read_bytes() for path in _list_files(node, "instances")} == before
    assert not node.ledger.list_series((SeriesState.DISCARDED,))


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """The folder of a node with one job that was delivered long ago, for copies of it."""
    folder = tmp_path_factory.mktemp("delivered")
    with storage_pacs(folder) as pacs:
        node, job = _deliver(folder, pacs)
    trust_clock(node, datetime.now(UTC))
    return folder, job


@pytest.mark.parametrize(
    ("fault", "decided", "told", "moved"),
    [
        (Fault(FaultPoint.DISCARD_DECIDED, 1), 1, 1, 0),
        (Fault(FaultPoint.DISCARD_BEGUN, 7), 2, 3, 7),
        (Fault(FaultPoint.DISCARD_BEGUN, 21), 2, 3, 30),
    ],
    ids=str,
)
def test_killed_in_a_deletion_nothing_half_deleted_is_visible_and_the_next_round_ends_it(
    tmp_path: Path, delivered: tuple[Path, Job], fault: Fault, decided: int, told: int, moved: int
) -> None:
    shutil.copytree(delivered[0] / "spool", tmp_path / "spool")
    node, job = open_test_node(tmp_path), delivered[1]
    site = tmp_path / "site.toml"
    site.write_text(f'spool = "{node.spool.root}"\n[destinations.pacs]\nae_title = "A"\nhost = "127.0.0.1"\nport = 1\n')
    command = [sys.executable, "-m", "tests.chaos.victim", "clean", "--site", str(site)]
    killed = subprocess.run(command, env={**os.environ, VARIABLE: str(fault)}, check=False, timeout=100)
    assert killed.returncode == -signal.SIGKILL
    assert len(_list_files(node, "instances", "outbox")) == 30 - moved
    assert [fact["state"] for fact in list_series_facts(node.settings)].count("discarded") == decided
    assert _count_told_deletions(node) == told, "the files go at the next round, and that one tells nothing"
    assert count_half_written(node.spool, slices=10) == 0
    kept = 10 * (2 - decided)
    assert reindex_spool(node.settings) == kept, "half of what was given up came back"
    assert len(_list_files(node, "instances")) == kept
    _keep_house(node, MONTHS + 60 * DAY)
    assert len(_list_files(node, "instances")) == kept, "entered again, it counts as received now"
    assert not _list_files(node, "outbox", "trash")
    assert node.ledger.find_job(job.id).state is JobState.STORED


def test_a_clock_that_is_wrong_or_jumps_years_deletes_nothing(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node, _ = _deliver(tmp_path, pacs)
    wrong = Housekeeping(node)
    wrong.go_round(YEARS, 0)
    wrong.go_round(MOMENT, 10)
    wrong.go_round(MOMENT + timedelta(hours=1), 3610)
    assert len(_list_files(node, "instances", "outbox")) == 30
    housekeeping = Housekeeping(node)
    housekeeping.go_round(MOMENT, 0)
    housekeeping.go_round(YEARS, 7200)
    assert len(_list_files(node, "instances", "outbox")) == 30


def test_what_came_while_the_clock_was_in_1970_stays_its_time_after_it_was_put_right(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node, _ = _deliver(tmp_path, pacs, datetime(1970, 1, 1, tzinfo=UTC))
    Housekeeping(node).go_round(datetime(1970, 1, 1, 1, tzinfo=UTC), 0)
    # The node is started anew, or a day has passed since the jump: nothing but the dates could tell of it.
    housekeeping = Housekeeping(node)
    for hours in range(0, 32 * 24, 12):
        housekeeping.go_round(MOMENT + timedelta(hours=hours), 3600.0 * hours)
        assert hours >= 30 * 24 or len(_list_files(node, "instances", "outbox")) == 30
    assert _list_files(node, "instances", "outbox", "trash") == []


def test_the_command_tells_what_would_go_and_then_deletes_it(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node, job = _deliver(tmp_path, pacs)
    trust_clock(node, datetime.now(UTC))
    told = clean_spool(node.settings, dry_run=True)
    assert {(fact["kind"], fact["goes"]) for fact in told} == {("series", True), ("results", True)}
    assert {fact["name"] for fact in told} == {job.id, job.fixed.series_instance_uid, job.moving.series_instance_uid}
    assert len(_list_files(node, "instances", "outbox")) == 30
    assert len(clean_spool(node.settings, dry_run=False)) == 3
    assert _list_files(node, "instances", "outbox", "trash") == []
    assert clean_spool(node.settings, dry_run=True) == []
    assert _count_told_deletions(node) == 3


def test_a_quota_stops_the_listener_and_lets_it_go_on(tmp_path: Path) -> None:
    node = open_test_node(tmp_path, quota=QuotaSettings(spool_gb=1, waiting_jobs=1))
    housekeeping = Housekeeping(node)
    housekeeping.go_round(MOMENT, 0)
    node.spool.check_space()
    job = queue_job(node, tmp_path)
    housekeeping.go_round(MOMENT, 10)
    with pytest.raises(SpoolFull, match="1 jobs waiting"):
        node.spool.check_space()
    StepRunner(node, "worker", Clock()).run_step(Step.PREPARE, job.id)
    StepRunner(node, "worker", Clock()).run_step(Step.FUSE, job.id)
    housekeeping.go_round(MOMENT, 400)
    node.spool.check_space()
    load = json.loads((node.spool.root / "load.json").read_text())
    assert load["spool_bytes"] > sum(path.stat().st_size for path in _list_files(node, "instances", "outbox"))


@pytest.mark.parametrize("trouble", [LedgerUnavailable("away"), ZeroDivisionError()])
def test_trouble_ends_a_round_and_not_the_housekeeping(
    tmp_path: Path, trouble: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    stop, rounds = threading.Event(), []

    def go_round(*_: object) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise trouble
        stop.set()

    monkeypatch.setattr(Housekeeping, "go_round", go_round)
    monkeypatch.setattr("fusionnode.worker.housekeeping._PAUSE_SECONDS", 0.01)
    repeat_housekeeping(node, stop)
    assert len(rounds) == 2
