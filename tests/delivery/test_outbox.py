"""A job's results are published whole or not at all, and publishing twice leaves one folder."""

import dataclasses
import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from fusionnode.delivery.outbox import SpoolOutbox
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.series import SeriesKey
from fusionnode.errors import LeaseLost, SpoolFull, SpoolUnreadable
from tests.support.datasets import Layout, make_mr_series

JOB = Job(
    id="ab12cd34",
    pipeline="head",
    pipeline_version="1",
    fixed=SeriesKey("1.2.3", 1),
    moving=SeriesKey("1.2.4", 1),
    shared_frame=False,
    state=JobState.FUSING,
    moment=datetime(2025, 3, 10, tzinfo=UTC),
    fence=3,
)


@pytest.fixture
def objects() -> list[Dataset]:
    return make_mr_series(Layout(slices=4, rows=8, columns=8))


def _list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _fail_at(call: int, problem: BaseException) -> Callable[[int], None]:
    calls = 0
    real = os.fdatasync

    def fdatasync(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise problem
        real(handle)

    return fdatasync


def test_every_object_is_published_under_the_path_that_is_returned(tmp_path: Path, objects: list[Dataset]) -> None:
    published = SpoolOutbox(tmp_path).publish(JOB, objects)
    assert [ds for ds, _ in published] == objects
    for ds, place in published:
        assert not Path(place).is_absolute()
        assert dcmread(tmp_path / place).SOPInstanceUID == ds.SOPInstanceUID
        assert dcmread(tmp_path / place).PixelData == ds.PixelData


def test_publishing_again_leaves_one_untouched_folder(tmp_path: Path, objects: list[Dataset]) -> None:
    outbox = SpoolOutbox(tmp_path)
    first = outbox.publish(JOB, objects)
    before = [(tmp_path / place).stat().st_ino for _, place in first]
    second = outbox.publish(dataclasses.replace(JOB, fence=4), objects)
    assert [place for _, place in second] == [place for _, place in first]
    assert [(tmp_path / place).stat().st_ino for _, place in second] == before
    assert _list_names(tmp_path / "outbox") == [JOB.id]


def test_another_result_replaces_the_earlier_one_whole(
    tmp_path: Path, objects: list[Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    outbox = SpoolOutbox(tmp_path)
    outbox.publish(JOB, objects)
    changed = make_mr_series(Layout(slices=3, rows=8, columns=8), seed=5)
    published = outbox.publish(JOB, changed)
    assert _list_names(tmp_path / "outbox") == [JOB.id]
    assert _list_names(tmp_path / "outbox" / JOB.id) == [Path(place).name for _, place in published]
    assert dcmread(tmp_path / published[0][1]).PixelData == changed[0].PixelData
    assert "other bytes" in caplog.text


def test_the_same_names_with_one_flipped_bit_are_another_result(tmp_path: Path, objects: list[Dataset]) -> None:
    outbox = SpoolOutbox(tmp_path)
    place = outbox.publish(JOB, objects)[2][1]
    torn = bytearray((tmp_path / place).read_bytes())
    torn[-1] ^= 1
    (tmp_path / place).write_bytes(torn)
    outbox.publish(JOB, objects)
    assert dcmread(tmp_path / place).PixelData == objects[2].PixelData


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", [1, 3])
def test_a_full_disk_publishes_nothing_and_leaves_nothing(
    tmp_path: Path, objects: list[Dataset], monkeypatch: pytest.MonkeyPatch, code: int, call: int
) -> None:
    monkeypatch.setattr("os.fdatasync", _fail_at(call, OSError(code, os.strerror(code))))
    with pytest.raises(SpoolFull):
        SpoolOutbox(tmp_path).publish(JOB, objects)
    assert _list_names(tmp_path / "outbox") == []


def test_a_crash_in_the_middle_shows_nothing_and_the_next_try_clears_it_away(
    tmp_path: Path, objects: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = SpoolOutbox(tmp_path)
    with monkeypatch.context() as crash:
        crash.setattr("os.fdatasync", _fail_at(3, KeyboardInterrupt("power cut")))
        with pytest.raises(KeyboardInterrupt, match="power cut"):
            outbox.publish(JOB, objects)
    assert not (tmp_path / "outbox" / JOB.id).exists()
    assert _list_names(tmp_path / "outbox") != []
    outbox.publish(dataclasses.replace(JOB, fence=4), objects)
    assert _list_names(tmp_path / "outbox") == [JOB.id]


def test_a_disk_that_fails_is_waited_for_and_leaves_nothing(
    tmp_path: Path, objects: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fdatasync", _fail_at(2, OSError(errno.EIO, "Input/output error")))
    with pytest.raises(SpoolUnreadable, match="Input/output"):
        SpoolOutbox(tmp_path).publish(JOB, objects)
    assert _list_names(tmp_path / "outbox") == []


def test_every_file_and_folder_is_synced_before_it_is_visible(
    tmp_path: Path, objects: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real_data, real_folder = os.fdatasync, os.fsync

    def note_data(handle: int) -> None:
        seen.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        assert not (tmp_path / "outbox" / JOB.id).exists()
        real_data(handle)

    def note_folder(handle: int) -> None:
        seen.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real_folder(handle)

    monkeypatch.setattr("os.fdatasync", note_data)
    monkeypatch.setattr("os.fsync", note_folder)
    SpoolOutbox(tmp_path).publish(JOB, objects)
    assert seen == [
        tmp_path.name, "0001.dcm", "0002.dcm", "0003.dcm", "0004.dcm", f".{JOB.id}.3.staging", "outbox"
    ]  # fmt: skip


def test_other_jobs_and_later_workers_are_left_alone(tmp_path: Path, objects: list[Dataset]) -> None:
    outbox = SpoolOutbox(tmp_path)
    other, later = tmp_path / "outbox" / ".ff00.1.staging", tmp_path / "outbox" / f".{JOB.id}.9.staging"
    earlier = tmp_path / "outbox" / f".{JOB.id}.2.replaced"
    for folder in (other, later, earlier):
        folder.mkdir(parents=True)
    outbox.publish(JOB, objects)
    assert _list_names(tmp_path / "outbox") == sorted([other.name, later.name, JOB.id])


def test_a_worker_whose_staging_folder_is_taken_away_has_lost_its_lease(
    tmp_path: Path, objects: list[Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, real = SpoolOutbox(tmp_path), os.fdatasync
    later = dataclasses.replace(JOB, fence=4)

    def overtake(handle: int) -> None:
        monkeypatch.setattr("os.fdatasync", real)
        outbox.publish(later, objects)

    monkeypatch.setattr("os.fdatasync", overtake)
    with pytest.raises(LeaseLost):
        outbox.publish(JOB, objects)
    assert _list_names(tmp_path / "outbox") == [JOB.id]
    assert len(_list_names(tmp_path / "outbox" / JOB.id)) == len(objects)
