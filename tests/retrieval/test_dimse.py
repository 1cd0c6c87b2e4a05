"""Queries and C-GET against an archive that behaves as real ones do: badly, now and then."""

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from fusionnode.errors import ArchiveUnreachable, SpoolFull
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.retrieval.association import Patience, Peer
from fusionnode.retrieval.dimse import DimseArchive
from fusionnode.retrieval.wishes import Wish, read_range
from tests.support.archives import ArchivePeer, make_inbox
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series

SMALL = Layout(slices=4, rows=8, columns=8)


def _make(patient_id: str, date: str = "20240305") -> list[Dataset]:
    return make_mr_series(SMALL, Identity(patient_id, study_date=date))


def _open(peer: ArchivePeer) -> DimseArchive:
    address = Peer("pacs", "ARCHIVE", "127.0.0.1", peer.port, "NODE")
    return DimseArchive(address, patience=Patience(connection_seconds=5, answer_seconds=5))


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


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC001, 0xFE00])
def test_a_query_that_fails_is_no_empty_answer(status: int) -> None:
    told = pytest.raises(ArchiveUnreachable, match=f"{status:04X}")
    with ArchivePeer(_make("A"), find_status=status) as peer, told:
        _open(peer).find_studies(Wish("A"))


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
