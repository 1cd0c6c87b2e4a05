"""Batches from a real Orthanc: by C-FIND with C-GET and C-MOVE, by QIDO-RS with WADO-RS; one is killed half way."""

import csv
import json
import random
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from fusionnode.batch.request import BatchRequest, Existing
from fusionnode.batch.run import run_batch
from fusionnode.demo.pacs import OrthancPacs
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.retrieve import retrieve_series
from fusionnode.retrieval.wishes import Wish, read_range
from fusionnode.settings import load_settings
from fusionnode.wiring import build_archive
from tests.support.archives import make_inbox
from tests.support.pacs import find_dicomweb_root, find_free_port, running_orthanc
from tests.support.repackaged import Patient, make_patient, repackage_patient, upload
from tests.support.running import FUSIONNODE, await_value

SAMPLES = Path(__file__).resolve().parents[2] / "dicom_samples" / "head"
REAL = (
    ("aanlib/pet_axial/mr", "aanlib/pet_axial/pt"),
    ("aanlib/pet_hybrid/mr", "aanlib/pet_hybrid/pt"),
    ("aanlib/spect_a/mr", "aanlib/spect_a/nm"),
    ("sts_pet_mr/STS_003/MR_T1", "sts_pet_mr/STS_003/PET"),
)
PAIRS = 12

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Site:
    """A running Orthanc and a site file that knows it as the archives get, move and web, and as a destination."""

    orthanc: OrthancPacs
    path: Path
    move_port: int


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    port = find_free_port()
    with running_orthanc(
        tmp_path / "orthanc", {"DicomModalities": {"node": ["FUSIONNODE", "127.0.0.1", port]}}
    ) as pacs:
        dicom = f'ae_title = "{pacs.ae_title}"\nhost = "127.0.0.1"\nport = {pacs.port}\n'
        path = tmp_path / "site.toml"
        path.write_text(
            f"port = {port}\nspool_reserve_mb = 1\n[destinations.pacs]\n{dicom}[archives.get]\n{dicom}"
            f'[archives.move]\n{dicom}retrieve = "move"\n[archives.web]\nurl = "{find_dicomweb_root(pacs)}"\n'
        )
        yield Site(pacs, path, port)


def test_every_way_of_asking_and_fetching_brings_the_same_bytes(site: Site, tmp_path: Path) -> None:
    patients = [make_patient(1), make_patient(2), make_patient(3, lonely=True)]
    upload(site.orthanc, patients)
    brought = {}
    for name in ("get", "move", "web"):
        archive = build_archive(load_settings(site.path), name)
        spool = Spool(tmp_path / name, reserve_bytes=0)
        listener = Listener("FUSIONNODE", "127.0.0.1", site.move_port, spool)
        listener.start()
        dated = archive.find_studies(Wish(dates=read_range("20240301-20240331"), modalities=("PT",)))
        assert {study.patient.patient_id for study in dated} == {"BATCH-1", "BATCH-2"}
        [study] = archive.find_studies(Wish(patient_id="BATCH-1"))
        assert archive.find_studies(Wish(patient_id="BATCH-?")) == []
        assert archive.find_studies(Wish(dates=read_range("19990101"))) == []
        series = archive.find_series(study.study_instance_uid)
        assert {one.modality: retrieve_series(archive, one, make_inbox(spool)) for one in series} == {
            "MR": 10,
            "PT": 10,
        }
        listener.stop()
        brought[name] = {(stored.path.name, stored.sha256) for stored in spool.list_arrivals()}
    assert len(brought["get"]) == 20
    assert brought["get"] == brought["move"] == brought["web"]


@pytest.mark.slow
def test_a_killed_batch_is_gone_on_with_and_no_pair_is_fused_twice(site: Site, tmp_path: Path) -> None:
    patients = [make_patient(number) for number in range(4)]
    upload(site.orthanc, [*patients, make_patient(8, lonely=True)])
    out = tmp_path / "batch"
    arguments = [*_list_patients(tmp_path, [*patients, make_patient(8)], "NOBODY"), "--archive", "get"]
    arguments += ["--pipeline", "mr-pt", "--network", "laplacian", "--workers", "2"]
    killed = _kill_half_way(site, out, arguments, pairs=2)
    done = _run(site, out, arguments)
    assert done.returncode == 0, done.stderr
    summary = _read_summary(out)
    assert summary["verdicts"] == {"written": 4, "unpaired": 1, "not found": 1}
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert rows == summary["rows"]
    fetched = [note["study"] for note in _read_journal(out) if note["what"] == "fetched"]
    assert len(fetched) == len(set(fetched)) == 5
    assert set(killed.fetched) < set(fetched), "it was killed while there was still something to fetch"
    _require_each_once(out, summary)
    texts = [path.read_text() for path in out.iterdir() if path.is_file()]
    assert not [text for text in [*texts, done.stderr, done.stdout, killed.output] if "BATCH-" in text]

    before = _list_finished(out)
    again = BatchRequest(out, "get", patients=tmp_path / "patients.csv", pipeline="mr-pt", network="laplacian")
    assert run_batch(again, load_settings(site.path), lambda _: None) == summary
    assert _list_finished(out) == before, "what was done was done again"


def test_what_was_fused_before_is_passed_over_superseded_or_added_to(site: Site, tmp_path: Path) -> None:
    patient = make_patient(1)
    upload(site.orthanc, [patient])
    patients = Path(_list_patients(tmp_path, [patient])[-1])
    request = BatchRequest(
        tmp_path / "1", "web", patients, pipeline="mr-pt", network="laplacian", destinations=("pacs",)
    )
    first = _run_here(site, request)
    assert (first["verdict"], first["stored"]) == ("stored", "10")

    other = replace(request, network="maximum")
    skipped = _run_here(site, replace(other, out=tmp_path / "2"))
    assert (skipped["verdict"], skipped["fused"]) == ("skipped", first["fused"])

    second = _run_here(site, replace(other, out=tmp_path / "3", archive="get", existing=Existing.SUPERSEDE))
    assert (second["verdict"], second["supersedes"]) == ("stored", first["fused"])
    stored = site.orthanc.fetch_series(second["fused"])
    assert all(f"Supersedes series {first['fused']}" in ds.ImageComments for ds in stored)

    same = _run_here(site, replace(other, out=tmp_path / "4", archive="move", existing=Existing.ADD))
    assert (same["verdict"], same["fused"]) == ("skipped", second["fused"]), "the very same is never made twice"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twelve_pairs_killed_half_way_end_with_twelve_verdicts(site: Site, tmp_path: Path, real_data: Path) -> None:
    folders = [(SAMPLES / "mr", SAMPLES / moving) for moving in ("pt", "nm")]
    folders += [(real_data / fixed, real_data / moving) for fixed, moving in REAL]
    patients = [repackage_patient(f"BATCH-{n}", *folders[n % len(folders)]) for n in range(PAIRS)]
    upload(site.orthanc, patients)
    out = tmp_path / "batch"
    arguments = [*_list_patients(tmp_path, patients), "--archive", "move", "--to", "pacs", "--workers", "2"]
    _kill_half_way(site, out, arguments, pairs=PAIRS // 2)
    done = _run(site, out, arguments)
    summary = _read_summary(out)
    assert done.returncode == 0, done.stderr
    assert len(summary["rows"]) == PAIRS
    assert set(summary["verdicts"]) <= {"stored", "refused"}
    assert len({(row["fixed"], row["moving"]) for row in summary["rows"]}) == PAIRS
    stored = [row for row in summary["rows"] if row["verdict"] == "stored"]
    for row in stored:
        assert len(site.orthanc.list_instances(row["fused"])) > 0
    fused = [uid for uid in site.orthanc.list_series() if uid in {row["fused"] for row in stored}]
    assert len(fused) == len(set(fused)) == len(stored)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_batch_killed_again_and_again_loses_and_doubles_nothing(site: Site, tmp_path: Path) -> None:
    patients = [make_patient(number) for number in range(6)]
    upload(site.orthanc, patients)
    out = tmp_path / "batch"
    arguments = [*_list_patients(tmp_path, patients), "--archive", "get", "--pipeline", "mr-pt"]
    arguments += ["--network", "laplacian", "--workers", "2"]
    chance = random.Random(1)
    kills = 0
    while not _run_for(chance.uniform(2, 12), site, out, arguments):
        kills += 1
    assert kills > 0
    summary = _read_summary(out)
    assert summary["verdicts"] == {"written": 6}, kills
    _require_each_once(out, summary)


def _run_for(seconds: float, site: Site, out: Path, arguments: Sequence[str]) -> bool:
    """Run a batch, and kill it ``seconds`` after it began to work; returns whether it ended before that."""
    (out / "lock").unlink(missing_ok=True)
    process = subprocess.Popen(_make_command(site, out, arguments), stderr=subprocess.DEVNULL)
    await_value(lambda: process.poll() is not None or (out / "lock").exists(), seconds=120)
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return False


@dataclass(frozen=True)
class Killed:
    """What a batch had done when it was killed."""

    fetched: list[str]
    output: str


def _kill_half_way(site: Site, out: Path, arguments: Sequence[str], pairs: int) -> Killed:
    """Run a batch and kill it with SIGKILL once ``pairs`` of its jobs have ended."""
    log = out.with_name("killed.log")
    with log.open("wb") as stream:
        process = subprocess.Popen(_make_command(site, out, arguments), stdout=stream, stderr=stream)
    try:
        await_value(lambda: process.poll() is not None or _count_ended(out) >= pairs, seconds=1800, pause=0.02)
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "summary.json").exists()
    return Killed([note["study"] for note in _read_journal(out) if note["what"] == "fetched"], log.read_text())


def _require_each_once(out: Path, summary: dict[str, Any]) -> None:
    """Every job took each of its steps to an end once, and lies in the folder as one series of its slices."""
    written = [row for row in summary["rows"] if row["verdict"] == "written"]
    assert set(_list_finished(out).values()) == {3}
    assert sorted(_list_finished(out)) == sorted(row["job"] for row in written)
    folders = [folder for study in (out / "results").iterdir() for folder in study.iterdir()]
    assert {folder.name for folder in folders} == {row["fused"] for row in written}
    for folder in folders:
        slices = [pydicom.dcmread(path) for path in folder.iterdir()]
        assert sorted(int(ds.InstanceNumber) for ds in slices) == list(range(1, 11))


def _query(out: Path, sql: str) -> list[Any]:
    ledger = out / "node" / "ledger.sqlite"
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:
        # Not there yet, or just being made.
        return []


def _count_ended(out: Path) -> int:
    return len(_query(out, "SELECT id FROM jobs WHERE state IN ('stored', 'refused', 'failed')"))


def _list_finished(out: Path) -> dict[str, int]:
    """How many steps of each job were brought to an end."""
    return dict(_query(out, "SELECT subject, count(*) FROM events WHERE what = 'finished' GROUP BY subject"))


def _read_journal(out: Path) -> list[dict[str, Any]]:
    path = out / "journal.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _read_summary(out: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def _run_here(site: Site, request: BatchRequest) -> dict[str, str]:
    """Run a batch of one pair in this process and return its row."""
    [row] = run_batch(request, load_settings(site.path), lambda _: None)["rows"]
    return dict(row)


def _list_patients(folder: Path, patients: Sequence[Patient], *others: str) -> list[str]:
    path = folder / "patients.csv"
    path.write_text("\n".join(["PatientID", *(one.patient_id for one in patients), *others]) + "\n")
    return ["--patients", str(path)]


def _make_command(site: Site, out: Path, arguments: Sequence[str]) -> list[str]:
    return [FUSIONNODE, "batch", "--site", str(site.path), "--out", str(out), *arguments]


def _run(site: Site, out: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = _make_command(site, out, arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=3000)
