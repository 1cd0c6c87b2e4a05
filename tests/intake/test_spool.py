import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmwrite

from fusionnode.errors import DatasetUnreadable, SettingsInvalid, SpoolFileMissing, SpoolFull
from fusionnode.flow.ports import Arrivals, StoredFile
from fusionnode.intake import spool as spool_module
from fusionnode.intake.spool import STALE_SECONDS, Spool, hash_dataset
from tests.support.datasets import Layout, make_mr_series

UID = "1.2.3.4"
SHA = hashlib.sha256(b"content").hexdigest()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", reserve_bytes=0)
    made.prepare()
    return made


def drop(spool: Spool, content: bytes = b"content", uid: str = UID, name: str = "t.part") -> StoredFile:
    temp = spool.incoming / name
    temp.write_bytes(content)
    return spool.accept(temp, uid, hashlib.sha256(content).hexdigest())


def list_names(handle: int) -> Iterator[str]:
    with os.scandir(handle) as entries:
        yield from (entry.name for entry in entries)


def list_files(spool: Spool) -> list[Path]:
    return sorted(path for path in spool.root.rglob("*") if path.is_file())


def test_the_spool_is_what_the_plot_calls_arrivals(spool: Spool) -> None:
    arrivals: Arrivals = spool
    assert list(arrivals.list_arrivals()) == []


def test_folders_are_readable_by_their_owner_only(spool: Spool) -> None:
    for folder in (spool.incoming, spool.arrivals, spool.instances, spool.quarantine, spool.associations):
        assert folder.stat().st_mode & 0o777 == 0o700
    spool.prepare()


def test_a_spool_that_cannot_be_made_is_a_misconfiguration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SettingsInvalid, match="cannot be prepared"):
        Spool(tmp_path / "file").prepare()


def test_folders_on_two_file_systems_are_a_misconfiguration(tmp_path: Path) -> None:
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to try it with")
    (tmp_path / "incoming").symlink_to("/dev/shm")
    with pytest.raises(SettingsInvalid, match="more than one file system"):
        Spool(tmp_path).prepare()


@given(uid=st.text(max_size=80))
def test_no_text_of_a_peer_becomes_a_path(uid: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), reserve_bytes=0)
    spool.prepare()
    stored = drop(spool, uid=uid)
    assert stored.path.parent == spool.arrivals
    assert list_files(spool) == [stored.path]
    assert stored.place == f"instances/{stored.path.name[:2]}/{stored.path.name}"


def test_an_accepted_file_is_where_it_says_with_the_bytes_it_had(spool: Spool) -> None:
    stored = drop(spool)
    assert stored.path.read_bytes() == b"content"
    assert stored.sha256 == SHA
    assert stored.path.name == f"{hashlib.sha256(UID.encode()).hexdigest()[:32]}-{SHA}.dcm"
    assert list(spool.list_arrivals()) == [stored]


def test_file_then_folder_are_synced_before_accept_returns(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for name in ("fdatasync", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real, name=name: (order.append(name), real(fd))[1])
    drop(spool)
    assert order == ["fdatasync", "fsync"]


def test_a_new_spool_and_its_folders_survive_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[int, set[str]] = {}
    monkeypatch.setattr(os, "fsync", lambda fd: known.update({os.fstat(fd).st_ino: set(list_names(fd))}))
    spool = Spool(tmp_path / "above" / "spool", reserve_bytes=0)
    spool.prepare()
    folders = {"incoming", "arrivals", "instances", "quarantine", "associations"}
    assert known[spool.root.stat().st_ino] == folders
    assert known[spool.root.parent.stat().st_ino] == {"spool"}
    assert known[tmp_path.stat().st_ino] == {"above"}
    known.clear()
    spool.prepare()
    assert known[spool.root.stat().st_ino] == folders, "whoever made them may have died before the sync"


def test_the_same_bytes_are_kept_once_while_waiting_and_after_indexing(spool: Spool) -> None:
    first = drop(spool)
    assert drop(spool) == first
    spool.settle_arrival(first)
    again = drop(spool)
    assert again == first, "the file it has may be about to be deleted for its age, so it arrives once more"
    assert len(list_files(spool)) == 2
    spool.settle_arrival(again)
    assert list_files(spool) == [spool.root / first.place]


def test_other_bytes_under_the_same_uid_are_kept_too(spool: Spool) -> None:
    first, second = drop(spool, b"one"), drop(spool, b"two")
    assert first.path.name[:32] == second.path.name[:32]
    assert {stored.path.read_bytes() for stored in spool.list_arrivals()} == {b"one", b"two"}


def test_below_the_reserve_nothing_is_accepted_and_the_temporary_file_is_left_to_its_owner(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=2**62)
    spool.prepare()
    with pytest.raises(SpoolFull) as caught:
        drop(spool)
    assert caught.value.facts["reserve_bytes"] == 2**62
    assert list_files(spool) == [spool.incoming / "t.part"]


def test_a_full_disk_while_syncing_is_told_as_spool_full(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(SpoolFull):
        drop(spool)
    assert list(spool.list_arrivals()) == []


def test_a_failing_disk_is_not_told_as_a_full_one(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="Input/output"):
        drop(spool)


def test_the_hash_leaves_out_preamble_and_meta_information(spool: Spool) -> None:
    ds = make_mr_series(Layout(slices=1))[0]
    digests = []
    for implementation in ("FIRST", "SECOND_VERSION"):
        ds.file_meta.ImplementationVersionName = implementation
        temp = spool.incoming / implementation
        dcmwrite(temp, ds, enforce_file_format=True)
        digests.append(hash_dataset(temp))
        spool.accept(temp, ds.SOPInstanceUID)
    assert digests[0] == digests[1]
    assert len(list_files(spool)) == 1


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(128) + b"DICM" + bytes(12)])
def test_a_file_that_is_no_dicom_cannot_be_hashed(spool: Spool, content: bytes) -> None:
    temp = spool.incoming / "t.part"
    temp.write_bytes(content)
    with pytest.raises(DatasetUnreadable):
        spool.accept(temp, UID)
    assert temp.exists()


def test_arrivals_and_instances_come_oldest_first_without_foreign_files(spool: Spool) -> None:
    stored = [drop(spool, str(n).encode(), f"1.2.{n}") for n in range(6)]
    for age, one in enumerate(stored):
        os.utime(one.path, (1000 - age, 1000 - age))
    (spool.arrivals / "readme.txt").write_text("foreign")
    assert list(spool.list_arrivals()) == stored[::-1]
    for one in stored:
        spool.settle_arrival(one)
    assert [one.place for one in spool.list_instances()] == [one.place for one in stored[::-1]]
    assert list(spool.list_arrivals()) == []


def test_settling_is_repeatable_and_a_lost_file_is_named(spool: Spool) -> None:
    stored = drop(spool)
    for _ in range(2):
        spool.settle_arrival(stored)
        assert (spool.root / stored.place).read_bytes() == b"content"
    (spool.root / stored.place).unlink()
    with pytest.raises(SpoolFileMissing):
        spool.settle_arrival(stored)


def test_quarantine_keeps_the_file_and_the_reason(spool: Spool) -> None:
    stored = drop(spool)
    for _ in range(2):
        spool.quarantine_arrival(stored, "no patient")
    kept = spool.quarantine / stored.path.name
    assert kept.read_bytes() == b"content"
    assert kept.with_name(f"{kept.name}.reason.txt").read_text() == "no patient\n"
    assert list(spool.list_arrivals()) == []


def test_evidence_appears_with_the_first_instance_and_goes_with_the_association(spool: Spool) -> None:
    stored = drop(spool)
    evidence = spool.open_evidence()
    assert spool.list_places_in_flight() == frozenset()
    evidence.add(stored)
    assert spool.list_places_in_flight() == {stored.place}
    for _ in range(2):
        evidence.close()
        evidence.add(stored)
    assert list(spool.associations.iterdir()) == []


def test_half_written_and_stale_evidence_is_ignored(spool: Spool) -> None:
    stored = drop(spool)
    note = spool.associations / "crashed"
    note.write_text(f"{stored.path.name}\n{stored.path.name[:50]}")
    assert spool.list_places_in_flight() == {stored.place}
    old = time.time() - STALE_SECONDS - 5
    os.utime(note, (old, old))
    assert spool.list_places_in_flight() == frozenset()


def test_only_what_nobody_writes_any_more_is_discarded(spool: Spool) -> None:
    old = time.time() - STALE_SECONDS - 5
    for folder in (spool.incoming, spool.associations):
        for name in ("dead", "alive"):
            (folder / name).write_bytes(b"x")
        os.utime(folder / "dead", (old, old))
    kept = drop(spool)
    os.utime(kept.path, (old, old))
    assert spool.discard_leftovers(spool.list_unfinished()) == 2
    assert {path.name for path in list_files(spool)} == {"alive", kept.path.name}


def test_a_shared_sync_never_returns_before_a_sync_that_began_after_the_call(tmp_path: Path) -> None:
    begun, may_go_on = [0], threading.Event()

    def sync_slowly(_folder: Path) -> None:
        begun[0] += 1
        may_go_on.wait(10)

    shared = spool_module._SharedSync(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool_module, "sync_folder", sync_slowly)
        threads = [threading.Thread(target=shared.sync) for _ in range(5)]
        threads[0].start()
        while not begun[0]:
            time.sleep(0.001)
        for thread in threads[1:]:
            thread.start()
        while shared._asked < 5:
            time.sleep(0.001)
        may_go_on.set()
        for thread in threads:
            thread.join(10)
    assert begun[0] == 2


def test_what_is_here_is_known_wherever_it_lies(spool: Spool) -> None:
    for uid in ("1.1", "1.2", "1.3"):
        drop(spool, uid=uid)
    first, second, _ = spool.list_arrivals()
    spool.settle_arrival(first)
    spool.quarantine_arrival(second, "unusable")
    assert spool.list_missing(["1.9", "1.1", "1.2", "1.3", "1.10"]) == ["1.9", "1.10"]
    assert spool.list_missing([]) == []
    for uid in ("1.1", "1.2", "1.3"):
        [path] = spool.find_files(uid)
        assert path.read_bytes() == b"content"
    assert spool.find_files("1.9") == []
