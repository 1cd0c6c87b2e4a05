"""Queries and C-GET against an archive that behaves as real ones do: badly, now and then."""

from dataclasses import replace
from pathlib import Path

import pynetdicom
import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import service_class

from fusionnode.dimse.node import Patience
from fusionnode.errors import ArchiveUnreachable, RetrievalIncomplete, SpoolFull
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dimse import DimseArchive, Method
from fusionnode.retrieval.retrieve import Perseverance, retrieve_series
from fusionnode.retrieval.wishes import Wish, read_range
from tests.support.archives import ECHO, FIND, GET, ArchivePeer, make_inbox
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series

SMALL = Layout(slices=4, rows=8, columns=8)


def _make(patient_id: str, date: str = "20240305") -> list[Dataset]:
    return make_mr_series(SMALL, Identity(patient_id, study_date=date))


def _open(peer: ArchivePeer) -> DimseArchive:
    address = Peer("pacs", "ARCHIVE", "127.0.0.1", peer.port, "NODE")
    return DimseArchive(address, patience=Patience(5, 5, 5))


def test_an_archive_that_ignores_keys_returns_more_and_only_what_was_asked_for_is_kept() -> None:
    with ArchivePeer([*_make("A"), *_make("B"), *_make("A2", "20250101")], hidden=["ModalitiesInStudy"]) as peer:
        archive = _open(peer)
        [study] = archive.find_studies(Wish(dates=read_range("-20241231"), patient_id="A"))
        assert (study.patient.patient_id, study.modalities) == ("A", ())
        dated = archive.find_studies(Wish(dates=read_range("-20241231")))
        assert {one.patient.patient_id for one in dated} == {"A", "B"}


def test_an_id_with_letters_of_the_world_is_asked_for_in_utf_8() -> None:
    with ArchivePeer(_make("A")) as peer:
        assert _open(peer).find_studies(Wish("Müller")) == []
        assert peer.identifiers[-1].SpecificCharacterSet == "ISO_IR 192"
        assert peer.identifiers[-1].PatientID == "Müller"


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001])
def test_a_query_that_fails_is_no_empty_answer(status: int) -> None:
    told = pytest.raises(ArchiveUnreachable, match=f"{status:04X}")
    with ArchivePeer(_make("A"), find_status=status) as peer, told:
        _open(peer).find_studies(Wish("A"))


@pytest.mark.parametrize("logged", [False, True], ids=["decoded by us", "decoded for the log"])
def test_an_answer_that_cannot_be_read_is_not_passed_over(monkeypatch: pytest.MonkeyPatch, logged: bool) -> None:
    monkeypatch.setattr(pynetdicom._config, "LOG_RESPONSE_IDENTIFIERS", logged)
    monkeypatch.setattr(service_class, "encode", lambda *_: b"\x20\x00\x0d\x00US\x03\x00123")
    with ArchivePeer(_make("A")) as peer, pytest.raises(ArchiveUnreachable, match="cannot be read"):
        _open(peer).find_studies(Wish())


def test_a_probe_says_which_service_is_missing_or_fails_and_takes_no_patient() -> None:
    with ArchivePeer(_make("A")) as peer:
        assert _open(peer).probe() == "C-ECHO and C-FIND, takes C-GET"
        assert "PatientID" not in peer.identifiers[0]
        with pytest.raises(ArchiveUnreachable, match="C-MOVE"):
            replace(_open(peer), method=Method.MOVE).probe()
    with ArchivePeer(_make("A"), services=(FIND, GET)) as peer, pytest.raises(ArchiveUnreachable, match="C-ECHO"):
        _open(peer).probe()
    with ArchivePeer(_make("A"), services=(ECHO, GET)) as peer, pytest.raises(ArchiveUnreachable, match="services"):
        _open(peer).probe()
    with ArchivePeer(_make("A"), find_status=0xA900) as peer, pytest.raises(ArchiveUnreachable, match="A900"):
        _open(peer).probe()


def test_an_archive_that_cuts_its_answers_is_told_apart_from_one_that_has_no_more(tmp_path: Path) -> None:
    with ArchivePeer([*_make("A"), *_make("B"), *_make("C")], limit=2, tells=True) as peer:
        archive = _open(peer)
        with pytest.raises(ArchiveUnreachable, match="first 2 only"):
            archive.find_studies(Wish(dates=read_range("20240305")))
        [study] = archive.find_studies(Wish("A"))
        [series] = archive.find_series(study.study_instance_uid)
        inbox = make_inbox(Spool(tmp_path, reserve_bytes=0))
        assert retrieve_series(archive, series, inbox, Perseverance(1)) == 4, "the series says how many there are"
        with pytest.raises(ArchiveUnreachable, match="first 2 only"):
            archive.find_instances(replace(series, instances=None))


@pytest.mark.parametrize("status", [0xA701, 0xA900, 0xC000])
def test_a_retrieval_that_is_refused_altogether_is_told_with_its_status(tmp_path: Path, status: int) -> None:
    with ArchivePeer(_make("A"), get_status=status) as peer:
        archive = _open(peer)
        [study] = archive.find_studies(Wish("A"))
        [series] = archive.find_series(study.study_instance_uid)
        with pytest.raises(ArchiveUnreachable, match=f"{status:04X}"):
            archive.fetch(series, [], make_inbox(Spool(tmp_path, reserve_bytes=0)), whole=True)


def test_what_an_archive_could_not_send_is_missing_and_the_rest_is_kept(tmp_path: Path) -> None:
    datasets = _make("A")
    odd = datasets[1]
    # An instance of a class that nobody expects in such a series: B000, one sub-operation failed.
    odd.SOPClassUID = odd.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    with ArchivePeer(datasets, hidden=["SOPClassUID"]) as peer:
        archive = _open(peer)
        [study] = archive.find_studies(Wish("A"))
        [series] = archive.find_series(study.study_instance_uid)
        spool = Spool(tmp_path, reserve_bytes=0)
        with pytest.raises(RetrievalIncomplete, match="1 of 4") as caught:
            retrieve_series(archive, series, make_inbox(spool), Perseverance(2, 0))
        assert caught.value.facts["missing"] == [odd.SOPInstanceUID]
        assert len(list(spool.list_arrivals())) == 3


@pytest.mark.parametrize("with_class", [True, False])
def test_a_series_comes_as_it_is_stored_whether_its_class_is_known_or_not(tmp_path: Path, with_class: bool) -> None:
    datasets = make_pt_series(SMALL)
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with ArchivePeer(datasets, hidden=[] if with_class else ["SOPClassUID"]) as peer:
        archive, spool = _open(peer), Spool(tmp_path, reserve_bytes=0)
        [series] = archive.find_series(datasets[0].StudyInstanceUID)
        assert (series.modality, series.instances) == ("PT", 4)
        instances = archive.find_instances(series)
        assert bool(instances[0].sop_class_uid) == with_class
        inbox = make_inbox(spool)
        assert archive.fetch(series, instances[:1], inbox, whole=False) == 1
        assert inbox.list_missing(one.sop_instance_uid for one in instances) == [
            one.sop_instance_uid for one in instances[1:]
        ]
        assert archive.fetch(series, instances, inbox, whole=True) == 4
        arrivals = list(spool.list_arrivals())
    assert len(arrivals) == 4
    assert all(hash_dataset(stored.path) == stored.sha256 for stored in arrivals)


def test_a_full_spool_ends_the_retrieval_and_is_not_the_archive_s_fault(tmp_path: Path) -> None:
    with ArchivePeer(_make("A")) as peer:
        archive = _open(peer)
        [study] = archive.find_studies(Wish("A"))
        [series] = archive.find_series(study.study_instance_uid)
        inbox = make_inbox(Spool(tmp_path, reserve_bytes=1 << 60))
        with pytest.raises(SpoolFull):
            archive.fetch(series, archive.find_instances(series), inbox, whole=True)
    assert not list((tmp_path / "incoming").iterdir())
