"""Whole batches from a folder tree, in this process: what is done stays done, what failed is tried again."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.batch import run as run_module
from fusionnode.batch.folder import open_batch
from fusionnode.batch.request import BatchRequest, Existing, Progress
from fusionnode.batch.run import run_batch
from fusionnode.domain.job import JobEvent, JobState
from fusionnode.errors import DatasetUnreadable, ListInvalid, OutputOccupied, SettingsInvalid
from fusionnode.index.store import open_ledger
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.retrieve import Perseverance
from fusionnode.settings import Settings
from fusionnode.wiring import open_node
from fusionnode.worker.inline import EmbeddedNode
from tests.support.archives import ArchivePeer, make_inbox
from tests.support.files import write_series
from tests.support.nodes import make_settings, storage_pacs
from tests.support.pacs import StoragePeer, find_free_port
from tests.support.repackaged import make_patient

PATIENTS = [make_patient(1), make_patient(2, lonely=True)]


@pytest.fixture
def request_(tmp_path: Path) -> BatchRequest:
    for patient in PATIENTS:
        for series in (patient.fixed, patient.moving):
            if series:
                write_series(tmp_path / "tree" / patient.patient_id / series[0].Modality, series)
    return BatchRequest(
        tmp_path / "batch", folders=(tmp_path / "tree",), pipeline="mr-pt", network="laplacian", workers=2
    )


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = {"max_attempts": 2, "max_send_attempts": 2, "retry_seconds": 0.2, "retry_cap_seconds": 0.2}
    monkeypatch.setattr(run_module, "_PERSISTENT", patience)


def _run(request: BatchRequest, settings: Settings) -> tuple[dict[str, int], list[Progress]]:
    told: list[Progress] = []
    summary = run_batch(request, settings, told.append)
    return summary["verdicts"], told


def test_a_folder_tree_ends_with_a_verdict_for_each_and_running_again_changes_nothing(
    request_: BatchRequest, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path)
    verdicts, told = _run(request_, settings)
    assert verdicts == {"written": 1, "unpaired": 1}
    assert told[-1] == Progress(fetched=30, found=30, ended=1, pairs=1)
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "batch" / "results").rglob("*.dcm")}
    assert len(results) == 10
    assert _run(request_, settings)[0] == verdicts
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "batch" / "results").rglob("*.dcm")} == results
    assert not settings.spool.exists(), "the site's own node was not touched"
    held = {str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
    assert not [one for one in held if one.startswith(str(tmp_path))], "no ledger, lock or file stays open"
    (tmp_path / "tree").rename(tmp_path / "gone")
    assert _run(request_, settings)[0] == verdicts, "what was brought is not asked for again"


def test_what_lies_fused_in_the_tree_is_not_fused_again(request_: BatchRequest, tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    _run(request_, settings)
    (tmp_path / "batch" / "results").rename(tmp_path / "tree" / "fused")
    second = replace(request_, out=tmp_path / "second", network="maximum")
    assert _run(second, settings)[0] == {"unpaired": 1, "skipped": 1}
    third = replace(second, out=tmp_path / "third", existing=Existing.ADD)
    assert _run(third, settings)[0] == {"written": 1, "unpaired": 1}


@pytest.mark.usefixtures("hasty")
def test_a_pacs_that_is_away_fails_the_pair_today_and_not_tomorrow(request_: BatchRequest, tmp_path: Path) -> None:
    request = replace(request_, destinations=("pacs",))
    port = find_free_port()
    facts = {"pacs": {"ae_title": "TESTPACS", "host": "127.0.0.1", "port": port}}
    settings = make_settings(tmp_path, destinations=facts)
    assert _run(request, settings)[0] == {"unpaired": 1, "failed": 1}
    with StoragePeer() as peer:
        facts["pacs"]["port"] = peer.port
        assert _run(request, make_settings(tmp_path, destinations=facts))[0] == {"stored": 1, "unpaired": 1}
        assert len(peer.uids) == len(set(peer.uids)) == 10
    with closing(open_ledger(make_settings(tmp_path, spool=tmp_path / "batch" / "node").ledger_url)) as ledger:
        [job] = ledger.list_jobs()
        states = [one.detail.partition(",")[0] for one in ledger.list_events(job.id) if one.what == JobEvent.CLAIMED]
    assert (states.count("fusing"), states[-1]) == (1, "sending"), "what is made already is only sent"


@pytest.mark.parametrize(
    ("withheld", "verdicts"),
    [
        pytest.param(PATIENTS[0].fixed[-1:], {"not fetched": 1}, id="a slice"),
        pytest.param(PATIENTS[0].moving, {"unpaired": 1, "not fetched": 1}, id="a series"),
    ],
)
def test_nothing_is_fused_from_a_series_that_did_not_come_whole_until_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, withheld: list[Dataset], verdicts: dict[str, int]
) -> None:
    patient = PATIENTS[0]
    never = dict.fromkeys((str(ds.SOPInstanceUID) for ds in withheld), 100)
    with ArchivePeer([*patient.fixed, *patient.moving], withheld=never) as peer:
        archives = {"a": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": peer.port}}
        settings = make_settings(tmp_path, archives=archives)
        patients = tmp_path / "list.csv"
        patients.write_text("PatientID\nBATCH-1\n")
        request = BatchRequest(
            tmp_path / "batch", archive="a", patients=patients, pipeline="mr-pt", network="laplacian"
        )
        monkeypatch.setattr(run_module, "_PERSEVERANCE", Perseverance(attempts=2, pause_seconds=0))
        assert _run(request, settings)[0] == verdicts
        peer.withheld.clear()
        assert _run(request, settings)[0] == {"written": 1}


def test_another_request_in_the_same_folder_is_refused(request_: BatchRequest, tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    _run(request_, settings)
    with pytest.raises(OutputOccupied, match="network"):
        _run(replace(request_, network="maximum"), settings)


def test_a_destination_or_archive_that_the_site_does_not_know_is_told(request_: BatchRequest, tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with pytest.raises(SettingsInvalid, match="nowhere"):
        _run(replace(request_, destinations=("nowhere",)), settings)
    with pytest.raises(SettingsInvalid, match="nowhere"):
        _run(replace(request_, out=tmp_path / "o", folders=(), archive="nowhere", dates="20240301"), settings)


def test_what_cannot_be_asked_begins_no_folder_so_that_the_mended_request_may(tmp_path: Path) -> None:
    patients = tmp_path / "list.csv"
    patients.write_text("PatientID;Name\nA;B\n")
    archives = {"a": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 1}}
    settings = make_settings(tmp_path, archives=archives)
    asked = BatchRequest(tmp_path / "batch", archive="a", patients=patients, pipeline="mr-pt")
    wrong = [
        (asked, ListInvalid),
        (replace(asked, patients=tmp_path / "missing.csv"), ListInvalid),
        (replace(asked, patients=None, dates="March"), ListInvalid),
        (replace(asked, patients=None, dates="20240301", archive="b"), SettingsInvalid),
        (BatchRequest(tmp_path / "batch", folders=(tmp_path / "missing",)), DatasetUnreadable),
    ]
    for request, error in wrong:
        with pytest.raises(error):
            _run(request, settings)
        assert not request.out.exists()


def test_a_batch_of_its_own_asks_no_destination_to_commit_because_it_could_not_hear_the_answer(
    request_: BatchRequest, tmp_path: Path
) -> None:
    with storage_pacs(tmp_path) as pacs:
        settings = make_settings(tmp_path, pacs)
        committing = settings.destinations["pacs"].model_copy(update={"commitment": True})
        settings = settings.model_copy(update={"destinations": {"pacs": committing}})
        assert _run(replace(request_, destinations=("pacs",)), settings)[0] == {"stored": 1, "unpaired": 1}
    with open_batch(tmp_path / "batch", replace(request_, destinations=("pacs",)).describe()) as folder:
        [job] = open_node(make_settings(tmp_path, spool=folder.node)).ledger.list_jobs(limit=9)
    assert job.state is JobState.STORED


def test_the_site_s_own_node_does_the_work_where_it_is_asked_to(tmp_path: Path) -> None:
    patient = PATIENTS[0]
    patients = tmp_path / "list.csv"
    patients.write_text("PatientID\nBATCH-1\n")
    with storage_pacs(tmp_path) as pacs, ArchivePeer([*patient.fixed, *patient.moving]) as peer:
        archives = {"a": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": peer.port}}
        settings = make_settings(tmp_path, pacs, archives=archives)
        node = EmbeddedNode(open_node(settings))
        node.start()
        request = BatchRequest(tmp_path / "batch", archive="a", patients=patients, into_node=True)
        try:
            verdicts, told = _run(request, settings)
            assert verdicts == {"stored": 1}
            assert told[-1] == Progress(1, 1, 1, 1)
            assert _run(replace(request, out=tmp_path / "again"), settings)[0] == verdicts
        finally:
            node.stop()
    assert peer.gets == 2, "what the node has is not fetched again"
    assert not (tmp_path / "batch" / "node").exists()


def test_what_a_kill_left_half_fetched_is_completed_before_anything_is_made_of_it(tmp_path: Path) -> None:
    patients = [make_patient(number) for number in (1, 2, 3)]
    everything = [ds for patient in patients for ds in (*patient.fixed, *patient.moving)]
    names = tmp_path / "list.csv"
    names.write_text("PatientID\nBATCH-1\nBATCH-2\nBATCH-3\n")
    request = BatchRequest(tmp_path / "batch", archive="a", patients=names, pipeline="mr-pt", network="laplacian")
    with open_batch(request.out, request.describe()) as folder:
        for patient in patients:
            study = patient.fixed[0].StudyInstanceUID
            folder.note("found", study=study, patient=folder.make_pseudonym(patient.patient_id), row=0)
        folder.note("searched")
        inbox = make_inbox(Spool(folder.node, reserve_bytes=0))
        # The PET is here, and so much of the MRI that nothing tells that it is not the whole of it.
        folder.note("begun", study=patients[2].fixed[0].StudyInstanceUID)
        for path in write_series(tmp_path / "part", [*patients[2].moving, *patients[2].fixed[:8]]):
            with path.open("rb") as file:
                inbox.keep_file(file, "ARCHIVE")
    with ArchivePeer(everything) as peer:
        settings = make_settings(
            tmp_path, archives={"a": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": peer.port}}
        )
        summary = run_batch(request, settings, lambda _: None)
    assert summary["verdicts"] == {"written": 3}
    assert {row["owed"] for row in summary["rows"]} == {"10"}
