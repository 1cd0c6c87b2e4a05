"""The trail on disk: appended to, whole after trouble, and never silently short of a record."""

import json
import logging
import os
import stat
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fusionnode.traces import trail as trail_module
from fusionnode.traces.message import AuditEvent, Code, Participant
from fusionnode.traces.trail import AuditTrail
from fusionnode.traces.verify import verify_trail
from tests.support.nodes import Clock
from tests.support.running import await_value

KEY = b"key"


def make_event(name: str = "A") -> AuditEvent:
    return AuditEvent(Code("x", "Something"), "E", (Participant(name, None, requests=True),))


def read_records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]


def list_messages(folder: Path) -> list[dict[str, Any]]:
    return [one for one in read_records(folder) if "message" in one]


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit", "serve", "NODE", KEY)


class FullDisk:
    """Stands before `os.write`: takes only so many more bytes, as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(trail_module.os, "write", self)

    def __call__(self, handle: int, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        done = self._write(handle, data[: self.room])
        self.room -= done
        return done


def test_a_record_is_on_disk_when_it_was_told_and_for_its_owner_only(trail: AuditTrail, tmp_path: Path) -> None:
    trail.record(make_event())
    [path] = (tmp_path / "audit").iterdir()
    assert [one.get("event") for one in read_records(tmp_path / "audit")] == [None, "Something"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    trail.close()
    trail.close()


def test_many_threads_make_one_whole_chain(trail: AuditTrail, tmp_path: Path) -> None:
    threads = [threading.Thread(target=lambda: [trail.record(make_event()) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trail.close()
    verdict = verify_trail(tmp_path / "audit", KEY)
    assert (verdict.sound, verdict.records, trail.written) == (True, 161, 160)


class SlowDisk:
    """Stands before `os.fdatasync`: the first one waits until it is let go; all are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.reached = threading.Event(), threading.Event()
        self.synced: list[int] = []
        self._sync = os.fdatasync
        monkeypatch.setattr(trail_module.os, "fdatasync", self)

    def __call__(self, handle: int) -> None:
        self.synced.append(os.fstat(handle).st_ino)
        self.reached.set()
        assert self.go.wait(60)
        self._sync(handle)


class CountingClock(Clock):
    """Counts how often it was read."""

    reads = 0

    def __call__(self) -> datetime:
        self.reads += 1
        return super().__call__()


def test_records_that_come_while_the_disk_works_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, clock = SlowDisk(monkeypatch), CountingClock()
    trail = AuditTrail(tmp_path / "audit", "serve", "NODE", KEY, clock=clock)
    threads = [threading.Thread(target=trail.record, args=(make_event(),)) for _ in range(21)]
    threads[0].start()
    assert disk.reached.wait(60)
    before = clock.reads
    for thread in threads[1:]:
        thread.start()
    await_value(lambda: clock.reads == before + 20, seconds=60)
    disk.go.set()
    for thread in threads:
        thread.join()
    assert (trail.written, len(disk.synced)) == (21, 3), "the opening, the first record, and all others"
    trail.close()
    assert verify_trail(tmp_path / "audit", KEY).sound


def test_what_is_queued_waits_for_no_disk_and_is_written_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    trail = AuditTrail(tmp_path / "audit", "serve", "NODE", KEY)
    writer = threading.Thread(target=trail.record, args=(make_event("FIRST"),))
    writer.start()
    assert disk.reached.wait(60)
    stranger = threading.Thread(target=trail.queue, args=(make_event("SECOND"),), daemon=True)
    stranger.start()
    stranger.join(10)
    held_up = stranger.is_alive()
    disk.go.set()
    assert not held_up, "by a disk"
    writer.join()
    trail.record(make_event("THIRD"))
    trail.close()
    told = [one["participants"][0]["name"] for one in list_messages(tmp_path / "audit")]
    assert told == ["FIRST", "SECOND", "THIRD"]


def test_after_a_full_disk_very_many_records_take_few_syncs(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, 0)
    for _ in range(1000):
        trail.queue(make_event())
    trail.flush()
    assert "1000 records wait" in trail.trouble
    disk.room = 1 << 30
    slow = SlowDisk(monkeypatch)
    slow.go.set()
    trail.flush()
    assert (trail.trouble, trail.written) == ("", 1000)
    assert len(slow.synced) < 10
    trail.close()
    assert verify_trail(tmp_path / "audit", KEY).sound


def test_what_another_process_wrote_is_durable_before_it_is_named(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail.record(make_event())
    [first] = (tmp_path / "audit").iterdir()
    disk = SlowDisk(monkeypatch)
    disk.go.set()
    other = AuditTrail(tmp_path / "audit", "sweep", "NODE", KEY)
    other.record(make_event())
    assert disk.synced[0] == first.stat().st_ino
    trail.close()
    other.close()


@pytest.mark.parametrize("room", [0, 1, 200, 700, 1000])
def test_a_full_disk_keeps_nobody_from_work_and_loses_no_record(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(monkeypatch, room)
    for number in range(5):
        trail.record(make_event(f"PEER{number}"))
    assert "No space" in trail.trouble or "cut off" in trail.trouble
    assert verify_trail(tmp_path / "audit", KEY).sound
    disk.room = 1 << 20
    trail.flush()
    assert (trail.trouble, trail.written, trail.lost) == ("", 5, 0)
    trail.close()
    assert verify_trail(tmp_path / "audit", KEY).sound
    told = [one["message"] for one in list_messages(tmp_path / "audit")]
    assert [f"PEER{number}" in text for number, text in enumerate(told)] == [True] * 5
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


def test_a_record_that_cannot_be_encoded_is_counted_and_the_next_one_is_written(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trail_module, "encode_message", lambda *_: "\udcff".encode())
        trail.record(make_event("ODD"))
    trail.record(make_event("PEER"))
    trail.close()
    records = read_records(tmp_path / "audit")
    assert [one.get("event") for one in records] == [None, None, "Something"]
    assert [one["lost"] for one in records if "lost" in one] == [trail.lost] == [1]
    assert verify_trail(tmp_path / "audit", KEY).sound


def test_what_does_not_fit_into_memory_is_counted_and_the_trail_says_so(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "_KEPT_IN_MEMORY", 3)
    disk = FullDisk(monkeypatch, 0)
    for number in range(5):
        trail.record(make_event(f"PEER{number}"))
    assert (trail.lost, "2 are lost" in trail.trouble) == (2, True)
    disk.room = 1 << 20
    trail.record(make_event("PEER5"))
    trail.close()
    assert [one["lost"] for one in read_records(tmp_path / "audit") if "lost" in one] == [3]
    verdict = verify_trail(tmp_path / "audit", KEY)
    assert verdict.sound
    assert any("could not be kept" in one.words for one in verdict.findings)


def test_who_writes_while_a_surplus_is_dropped_comes_to_an_end(
    trail: AuditTrail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "_KEPT_IN_MEMORY", 3)
    for number in range(3):
        trail.queue(make_event(f"PEER{number}"))
    writer, drop = threading.Thread(target=trail.flush, daemon=True), trail._drop_surplus

    def drop_slowly() -> None:
        monkeypatch.setattr(trail, "_drop_surplus", drop)
        writer.start()
        writer.join(0.2)
        drop()

    monkeypatch.setattr(trail, "_drop_surplus", drop_slowly)
    trail.queue(make_event("PEER3"))
    writer.join(10)
    ended = not writer.is_alive()
    trail.queue(make_event("PEER4"))
    assert ended, "only when somebody brought another record"
    trail.close()
    assert [one["participants"][0]["name"] for one in list_messages(tmp_path / "audit")] == [
        f"PEER{number}" for number in range(1, 5)
    ]


def test_what_waits_at_the_end_is_told_in_the_log(
    trail: AuditTrail, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    FullDisk(monkeypatch, 0)
    trail.record(make_event())
    trail.close()
    assert "1 audit records could not be written" in caplog.text


def test_a_new_day_and_a_full_file_begin_another_that_names_the_one_before(tmp_path: Path) -> None:
    clock = Clock()
    trail = AuditTrail(tmp_path / "audit", "serve", "NODE", KEY, max_bytes=1500, clock=clock)
    trail.record(make_event())
    clock.now += timedelta(days=1)
    for _ in range(4):
        clock.advance(1)
        trail.record(make_event())
    trail.close()
    names = sorted(path.name for path in (tmp_path / "audit").iterdir())
    assert len(names) >= 3
    openings = [one for one in read_records(tmp_path / "audit") if "begun" in one]
    assert [sorted(one["after"]) for one in openings] == [names[:number] for number in range(len(names))]
    assert verify_trail(tmp_path / "audit", KEY).sound
