"""A spool on a small disk of its own that fills up: everybody waits, nothing is lost, and it goes on by itself."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pynetdicom.dsutils import split_dataset

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import JobState
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import BackupFailed, DestinationUnreachable, LedgerUnavailable, SpoolFull, Unavailable
from fusionnode.settings import QuotaSettings
from fusionnode.wiring import Node, build_listener, build_sweeper
from fusionnode.worker.backup import back_up
from fusionnode.worker.housekeeping import Housekeeping
from fusionnode.worker.steps import StepRunner
from tests.support.datasets import Identity, Layout, make_mr_series
from tests.support.ledgers import free_leases
from tests.support.nodes import (
    MOMENT,
    Clock,
    make_pair,
    make_settings,
    open_test_node,
    put_in_spool,
    send_series,
    storage_pacs,
)

MIB = 1 << 20


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """Mount a file system in memory; root only."""
    folder.mkdir()
    options = ("-t", "tmpfs", "-o", f"size={mebibytes}m", "fusionnode-test", str(folder))
    mounted = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here, which root may: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(node: Node, leave: int) -> None:
    """Fill the disk until ``leave`` bytes are free; 0 fills it to the last page."""
    with (node.spool.root / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while node.spool.free_bytes() > leave:
            file.write(bytes(min(MIB, max(node.spool.free_bytes() - leave, 1))))
        while not leave:
            file.write(bytes(4096))


def _list_visible(node: Node) -> dict[str, int]:
    """Number of files that the next step, or the sender, would take for whole ones."""
    names = ("prepared", "outbox", "arrivals", "instances", "incoming", "quarantine")
    files = {name: [one for one in (node.spool.root / name).rglob("*") if one.is_file()] for name in names}
    return {name: len([one for one in found if not one.name.startswith(".")]) for name, found in files.items()}


def _try(work: object) -> None:
    with suppress(Unavailable):
        work()  # type: ignore[operator]


def _read_dataset_bytes(path: Path) -> bytes:
    """Return what follows the file meta information."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


@pytest.mark.system
def test_a_backup_onto_a_disk_that_fills_up_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    put_in_spool(node, make_pair()[0], tmp_path / "sent")
    before = sorted(node.spool.root.rglob("*"))
    ledger_bytes = sum(path.stat().st_size for path in node.settings.list_ledger_files())
    with small_disk(tmp_path / "target", 8) as target:
        for free, trouble in ((ledger_bytes + 4 * 4096, BackupFailed), (4 * 4096, LedgerUnavailable)):
            (target / "ballast").write_bytes(b"")
            (target / "ballast").write_bytes(bytes(shutil.disk_usage(target).free - free))
            with pytest.raises(trouble, match=r"full|No space"):
                back_up(node.settings, target / "backup")
            assert [path.name for path in target.iterdir()] == ["ballast"]
    assert sorted(node.spool.root.rglob("*")) == before


@pytest.mark.system
def test_a_disk_that_fills_up_makes_everybody_wait_and_nothing_is_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path / "spool", 24), storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs, spool_reserve_mb=4, quota=QuotaSettings(waiting_jobs=100))
        listener = build_listener(node.settings)
        listener.start()
        try:
            _run(node, listener.port, tmp_path)
        finally:
            listener.stop()
        [job] = node.ledger.list_jobs()
        assert (job.state, job.attempts) == (JobState.STORED, 0)
        assert len(pacs.fetch_series(FusedIdentity(job.id).series_uid)) == 10


def _run(node: Node, port: int, tmp_path: Path) -> None:
    clock, sweeper = Clock(), build_sweeper(node)
    runner = StepRunner(node, "worker", clock)
    fixed, moving = make_pair()
    housekeeping = Housekeeping(node)
    late = make_mr_series(Layout(slices=5, rows=24, columns=20), Identity(series_number=9))
    acknowledged = [*fixed, *moving]
    settings = make_settings(tmp_path)
    assert set(send_series(settings, port, acknowledged, tmp_path / "sent")) == {"0000"}

    _fill(node, 3 * MIB)
    assert set(send_series(settings, port, late, tmp_path / "late")) == {"A700"}, "the reserve is for what is here"
    _fill(node, MIB // 2)
    with pytest.raises(DestinationUnreachable, match="emporary"):
        send_series(settings, port, late[:1], tmp_path / "not_at_all")
    _fill(node, 0)
    for monotonic in range(4):
        _try(lambda monotonic=monotonic: sweeper.sweep(MOMENT, 100.0 * monotonic))
    with pytest.raises(SpoolFull, match="cannot be noted"):
        housekeeping.go_round(MOMENT, 0.0)
    assert not list(node.spool.root.glob(".*")), "something half-written lies about"
    assert _list_visible(node)["quarantine"] == 0

    _fill(node, 0)
    _make_room(node, 3 * MIB)
    for monotonic in range(4, 8):
        sweeper.sweep(MOMENT, 100.0 * monotonic)
    [job] = node.ledger.list_jobs()
    for step in (Step.PREPARE, Step.FUSE, Step.SEND):
        _fill(node, 0)
        _wait_in_vain(node, runner, clock, step)
        _make_room(node, 3 * MIB)
        clock.advance(60)
        free_leases(node.ledger, clock())
        _advance(runner, clock, step)

    (node.spool.root / "ballast").unlink()
    assert set(send_series(settings, port, late, tmp_path / "again")) == {"0000"}
    sweeper.sweep(MOMENT, 1000.0)
    _expect_bytes(node, [path for name in ("sent", "again") for path in (tmp_path / name).glob("*.dcm")])
    assert job.id == node.ledger.list_jobs()[0].id


def _wait_in_vain(node: Node, runner: StepRunner, clock: Clock, step: Step) -> None:
    """Try ``step`` on the full disk more often than it may fail."""
    before = _list_visible(node)
    for _ in range(2 * node.settings.work.max_attempts):
        clock.advance(60)
        _try(lambda: free_leases(node.ledger, clock()))
        _try(lambda: runner.run_step(step))
        [job] = node.ledger.list_jobs()
        assert job.state not in {JobState.FAILED, JobState.REFUSED}
        if step is not Step.SEND:
            assert _list_visible(node) == before, "something half-written is visible"


def _make_room(node: Node, wanted: int) -> None:
    ballast = node.spool.root / "ballast"
    with ballast.open("r+b") as file:
        file.truncate(max(ballast.stat().st_size - wanted, 0))


def _advance(runner: StepRunner, clock: Clock, step: Step) -> None:
    for _ in range(4):
        clock.advance(60)
        runner.run_step(step)


def _expect_bytes(node: Node, sent: list[Path]) -> None:
    """Every acknowledged instance is in the spool, its data set as it was sent, bit for bit."""
    kept = sorted(map(_read_dataset_bytes, (node.spool.root / "instances").rglob("*.dcm")))
    assert kept == sorted(map(_read_dataset_bytes, sent))
    assert not list(node.spool.incoming.iterdir())
    assert not list(node.spool.arrivals.iterdir())
    assert len(node.ledger.list_series(tuple(SeriesState))) == 3
