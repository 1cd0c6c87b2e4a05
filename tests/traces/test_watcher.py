"""The watcher: every instance is accounted for in the trail, whoever sent it and however that ended."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import MRImageStorage, PositronEmissionTomographyImageStorage

from fusionnode.flow.observing import RemotePeer, StoreAnswer, Subject, Transfer
from fusionnode.traces import watcher as watcher_module
from fusionnode.traces.people import AuditKey, Naming, make_pseudonym
from fusionnode.traces.trail import AuditTrail
from fusionnode.traces.watcher import Watcher
from tests.support.running import await_value
from tests.traces.test_meters import read
from tests.traces.test_trail import SlowDisk

KEY = AuditKey("secret")
SCANNER = RemotePeer("SCANNER", "NODE", "10.0.0.1")
MR = Subject("1.2", "1.2.1", "DOE-4711", "HOSPITAL")
PT = Subject("1.2", "1.2.2", "DOE-4711", "HOSPITAL")


def make_watcher(folder: Path, naming: Naming = Naming.HASH, key: AuditKey = KEY) -> Watcher:
    return Watcher("serve", RemotePeer("NODE"), AuditTrail(folder, "serve", "NODE"), naming, key, {"version": "1"})


@pytest.fixture
def watcher(tmp_path: Path) -> Watcher:
    return make_watcher(tmp_path)


def store(watcher: Watcher, subject: Subject, count: int = 1, status: int = 0, sop_class: str = MRImageStorage) -> None:
    for _ in range(count):
        watcher.instance_answered("a", StoreAnswer(sop_class, "1.2.3", status, 0.01, subject))


def list_told(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [one for one in lines if "message" in one]


def list_events(folder: Path) -> list[str]:
    return [one["event"] for one in list_told(folder)]


def test_an_association_is_told_series_by_series(watcher: Watcher, tmp_path: Path) -> None:
    watcher.association_opened("a", SCANNER)
    store(watcher, MR, 3)
    store(watcher, PT, 2, sop_class=PositronEmissionTomographyImageStorage)
    store(watcher, MR, 1)
    begun = list_events(tmp_path)
    assert begun == ["Association Opened", *["Begin Transferring DICOM Instances"] * 2]
    watcher.association_ended("a", "released")
    watcher.association_ended("a", "closed")
    told = [one["objects"] for one in list_told(tmp_path)[3:]]
    assert [(one[0]["Series Instance UID"], one[0]["instances"]) for one in told] == [("1.2.1", 4), ("1.2.2", 2)]
    assert {one[1]["Patient Number"] for one in told} == {make_pseudonym(MR, KEY.of_patients)}


def test_what_was_refused_is_told_with_its_status(watcher: Watcher, tmp_path: Path) -> None:
    watcher.association_opened("a", SCANNER)
    store(watcher, MR, 2, status=0xA700)
    watcher.association_ended("a", "aborted")
    last = list_told(tmp_path)[-1]
    assert (last["event"], last["outcome"]) == ("DICOM Instances Transferred", 8)
    assert last["why"] == "refused 2 with A700; the association was aborted"
    assert read(watcher.meters)["fusionnode_instances_received_total", (("status", "A700"),)] == 2


def test_very_many_series_in_one_association_are_told_without_waiting_for_its_end(
    watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "_SERIES_PER_ASSOCIATION", 2)
    watcher.association_opened("a", SCANNER)
    for number in range(5):
        store(watcher, Subject("1.2", f"1.2.{number + 1}"))
    watcher.association_ended("a", "released")
    ended = [one for one in list_told(tmp_path) if one["event"] == "DICOM Instances Transferred"]
    assert [one["objects"][0]["Series Instance UID"] for one in ended] == [f"1.2.{number + 1}" for number in range(5)]


@pytest.mark.parametrize(("naming", "key"), [(Naming.HASH, AuditKey("")), (Naming.NONE, KEY)])
def test_without_a_key_nobody_is_named(tmp_path: Path, naming: Naming, key: AuditKey) -> None:
    watcher = make_watcher(tmp_path, naming, key)
    watcher.association_opened("a", SCANNER)
    store(watcher, MR)
    watcher.archive_queried(SCANNER, "study", "DOE-4711", "")
    watcher.association_ended("a", "released")
    assert "Patient" not in "".join(path.read_text() for path in tmp_path.iterdir())


def test_in_clear_only_the_number_is_named(tmp_path: Path) -> None:
    watcher = make_watcher(tmp_path, Naming.CLEAR)
    watcher.archive_queried(SCANNER, "study", "DOE-4711", "")
    assert list_told(tmp_path)[0]["objects"][1] == {"Patient Number": "DOE-4711"}


def test_a_scan_of_the_port_is_told_once_and_counted(watcher: Watcher, tmp_path: Path) -> None:
    with watcher:
        for _ in range(50):
            watcher.association_refused(RemotePeer(address="10.0.0.9"), "address not allowed")
        watcher.association_refused(RemotePeer(address="10.0.0.8"), "address not allowed")
    told = [one["why"] for one in list_told(tmp_path) if one["event"].startswith("Security Alert")]
    assert told == ["address not allowed", "address not allowed", "address not allowed; 49 times more"]
    assert read(watcher.meters)["fusionnode_associations_total", (("outcome", "refused"),)] == 51


def test_a_flood_of_strangers_does_not_flood_the_trail(watcher: Watcher, tmp_path: Path) -> None:
    with watcher:
        for number in range(400):
            watcher.association_refused(RemotePeer(f"AE{number}", "NODE", f"10.0.{number % 256}.1"), "not allowed")
    alerts = [one for one in list_told(tmp_path) if one["event"].startswith("Security Alert")]
    assert len(alerts) == 101
    assert alerts[-1]["why"] == "not allowed; 300 times more, of peers that are not named"
    assert read(watcher.meters)["fusionnode_associations_total", (("outcome", "refused"),)] == 400


def test_who_is_turned_away_waits_for_no_disk_and_is_told_soon(
    watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "_MINDING_SECONDS", 600)
    with watcher:
        disk = SlowDisk(monkeypatch)
        writer = threading.Thread(target=watcher.association_opened, args=("a", SCANNER))
        writer.start()
        assert disk.reached.wait(60)
        door = threading.Thread(target=watcher.association_refused, args=(SCANNER, "not allowed"), daemon=True)
        door.start()
        door.join(10)
        held_up = door.is_alive()
        disk.go.set()
        assert not held_up, "by a disk"
        writer.join()
        await_value(lambda: "Security Alert: Node Authentication" in list_events(tmp_path), seconds=60)
        assert watcher.is_minding
    assert not watcher.is_minding


def test_what_goes_out_names_us_as_its_source(watcher: Watcher, tmp_path: Path) -> None:
    pacs = RemotePeer("PACS", address="pacs.example")
    watcher.sending_begins(pacs, Transfer(MR, {MRImageStorage: 2}, job="j1"))
    watcher.instances_sent(pacs, Transfer(MR, {MRImageStorage: 1}, "1 instances were refused", "j1"))
    first, last = list_told(tmp_path)
    assert [one["name"] for one in first["participants"]] == ["NODE", "PACS"]
    assert (last["outcome"], last["objects"][0]["job"], last["objects"][0]["instances"]) == (8, "j1", 1)


def test_the_life_of_a_process_is_told(watcher: Watcher, tmp_path: Path) -> None:
    with watcher:
        watcher.command_given("resend", "j1", {"destination": "pacs"})
    assert list_events(tmp_path) == [
        "Application Activity: Application Start",
        "Command: resend",
        "Application Activity: Application Stop",
    ]


def test_associations_at_the_same_time_are_not_mixed_up(watcher: Watcher, tmp_path: Path) -> None:
    def work(name: str) -> None:
        watcher.association_opened(name, RemotePeer(name))
        for _ in range(10):
            watcher.instance_answered(name, StoreAnswer(MRImageStorage, "1", 0, 0.0, Subject("1.2", name)))
        watcher.association_ended(name, "released")

    threads = [threading.Thread(target=work, args=(f"1.{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [one for one in list_told(tmp_path) if one["event"] == "DICOM Instances Transferred"]
    assert {(one["participants"][0]["name"], one["objects"][0]["instances"]) for one in ended} == {
        (f"1.{number}", 10) for number in range(6)
    }
    assert read(watcher.meters)["fusionnode_associations_open", ()] == 0


def test_a_sick_trail_is_told_to_whoever_asks(watcher: Watcher, tmp_path: Path) -> None:
    watcher.trail.folder = tmp_path / "file"
    watcher.trail.folder.write_text("in the way")
    watcher.association_opened("a", SCANNER)
    assert "1 records wait" in watcher.look_after()
    assert read(watcher.meters)["fusionnode_audit_ill", ()] == 1
    watcher.trail.folder.unlink()
    assert watcher.look_after() == ""
