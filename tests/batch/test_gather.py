"""Finding and fetching, with an archive that fails now and then."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import DataElement, Dataset
from pydicom.config import IGNORE

from fusionnode.batch.folder import BatchFolder, open_batch
from fusionnode.batch.gather import Gatherer
from fusionnode.batch.summary import list_torn
from fusionnode.dimse.node import Patience
from fusionnode.errors import ArchiveUnreachable
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dimse import DimseArchive
from fusionnode.retrieval.retrieve import Perseverance
from fusionnode.retrieval.wishes import Wish, read_range
from tests.support.archives import ArchivePeer, make_inbox
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.pacs import find_free_port

SMALL = Layout(slices=3, rows=8, columns=8)


def _make(patient_id: str, date: str = "20240305") -> list[Dataset]:
    identity = Identity(patient_id, study_date=date)
    return [
        *make_mr_series(SMALL, identity),
        *make_pt_series(SMALL, Identity(patient_id, study_date=date, series_number=2)),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[BatchFolder]:
    with open_batch(tmp_path / "batch", {}) as opened:
        yield opened


def _open(port: int, folder: BatchFolder, tmp_path: Path, **changes: Any) -> tuple[Gatherer, Spool]:
    archive = DimseArchive(Peer("pacs", "ARCHIVE", "127.0.0.1", port, "NODE"), patience=Patience(5, 5, 5))
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    hasty = Perseverance(attempts=2, pause_seconds=0, sleep=lambda _: None)
    gatherer = Gatherer(archive, make_inbox(spool), folder, {"MR", "PT"}, 30.0, lambda *_: None, hasty)
    return gatherer, spool


def test_each_study_is_fetched_once_however_often_it_runs(folder: BatchFolder, tmp_path: Path) -> None:
    with ArchivePeer([*_make("A"), *_make("B")]) as peer:
        for _ in range(2):
            gatherer, spool = _open(peer.port, folder, tmp_path)
            gatherer.search([Wish("A", row=1), Wish("B", row=2), Wish("B", row=3), Wish("C", row=4)])
            assert len(list(gatherer.fetch())) == 2
        assert peer.gets == 4
    assert len(list(spool.list_arrivals())) == 12
    assert len(folder.list_notes("fetched")) == 2
    assert {note["row"]: note["studies"] for note in folder.list_notes("asked")} == {1: 1, 2: 1, 3: 1, 4: 0}
    assert not any(name in (folder.root / "journal.jsonl").read_text() for name in ('"A"', '"B"', '"C"'))


def test_what_the_patients_have_near_is_taken_along(folder: BatchFolder, tmp_path: Path) -> None:
    pet = make_pt_series(SMALL, Identity("A", study_uid="1.1", study_date="20240305"))
    near = make_mr_series(SMALL, Identity("A", study_uid="1.2", study_date="20240310", series_number=3))
    far = make_mr_series(SMALL, Identity("A", study_uid="1.3", study_date="20220310", series_number=4))
    other = make_mr_series(SMALL, Identity("B", study_uid="1.4", study_date="20240310", series_number=5))
    with ArchivePeer([*pet, *near, *far, *other]) as peer:
        gatherer, _ = _open(peer.port, folder, tmp_path)
        gatherer.search([Wish(dates=read_range("20240305"))])
    assert {note["study"] for note in folder.list_notes("found")} == {"1.1", "1.2"}


@pytest.mark.parametrize("date", ["", "20240231", "05.03.24"])
def test_a_study_whose_date_says_nothing_takes_everything_of_its_patient_along(
    folder: BatchFolder, tmp_path: Path, date: str
) -> None:
    undated = make_pt_series(SMALL, Identity("A", study_uid="1.1"))
    for ds in undated:
        ds["StudyDate"] = DataElement("StudyDate", "DA", date, validation_mode=IGNORE)
    old = make_mr_series(SMALL, Identity("A", study_uid="1.2", study_date="20120310", series_number=3))
    with ArchivePeer([*undated, *old]) as peer:
        gatherer, _ = _open(peer.port, folder, tmp_path)
        gatherer.search([Wish(study_instance_uid="1.1", row=1)])
    assert {note["study"] for note in folder.list_notes("found")} == {"1.1", "1.2"}


def test_a_series_that_never_comes_whole_is_torn_until_it_does(folder: BatchFolder, tmp_path: Path) -> None:
    datasets = _make("A")
    with ArchivePeer(datasets, withheld={datasets[0].SOPInstanceUID: 100}) as peer:
        gatherer, _ = _open(peer.port, folder, tmp_path)
        gatherer.search([Wish("A")])
        list(gatherer.fetch())
        assert list(list_torn(folder)) == [datasets[0].SeriesInstanceUID]
        assert folder.list_notes("fetched") == []
        peer.withheld.clear()
        list(gatherer.fetch())
    assert list_torn(folder) == {}
    assert len(folder.list_notes("fetched")) == 1


def test_an_archive_that_answers_no_query_ends_the_batch(folder: BatchFolder, tmp_path: Path) -> None:
    gatherer, _ = _open(find_free_port(), folder, tmp_path)
    with pytest.raises(ArchiveUnreachable):
        gatherer.search([Wish("A")])
    assert folder.list_notes("searched") == []


def test_what_was_asked_before_a_kill_is_not_asked_again(folder: BatchFolder, tmp_path: Path) -> None:
    wishes = [Wish("NOBODY", row=1), Wish("A", row=2), Wish("C", row=3)]

    def until_killed() -> Iterator[Wish]:
        yield from wishes[:2]
        raise KeyboardInterrupt

    with ArchivePeer(_make("A")) as peer:
        gatherer, _ = _open(peer.port, folder, tmp_path)
        with pytest.raises(KeyboardInterrupt):
            gatherer.search(until_killed())
        gatherer.search(wishes)
        assert [one.PatientID for one in peer.identifiers] == ["NOBODY", "A", "C"]
    assert [(note["row"], note["studies"]) for note in folder.list_notes("asked")] == [(1, 0), (2, 1), (3, 0)]


def test_an_archive_that_is_away_for_a_moment_costs_no_study(folder: BatchFolder, tmp_path: Path) -> None:
    with ArchivePeer([*_make("A"), *_make("B")]) as peer:
        gatherer, _ = _open(peer.port, folder, tmp_path)
        gatherer.search([Wish("A"), Wish("B")])
        peer.find_status = 0xA700
        gatherer.perseverance = Perseverance(2, 0, sleep=lambda _: setattr(peer, "find_status", 0))
        assert len(list(gatherer.fetch())) == 2
    assert folder.list_notes("torn") == []
    assert len(folder.list_notes("fetched")) == 2


def test_an_archive_that_goes_silent_is_not_asked_for_every_study(folder: BatchFolder, tmp_path: Path) -> None:
    for number in range(9):
        folder.note("found", study=f"1.{number + 1}", patient=str(number), row=0)
    gatherer, _ = _open(find_free_port(), folder, tmp_path)
    list(gatherer.fetch())
    assert gatherer.stopped
    assert len(folder.list_notes("torn")) == 3
