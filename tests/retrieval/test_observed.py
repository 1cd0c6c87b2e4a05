"""What an archive is asked for and what came of it is told; and fetching is what it was."""

from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.dimse.node import Patience
from fusionnode.errors import ArchiveUnreachable
from fusionnode.flow.observing import RemotePeer
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dimse import DimseArchive
from fusionnode.retrieval.observed import ObservedArchive
from fusionnode.retrieval.wishes import Wish
from tests.support.archives import ArchivePeer, make_inbox
from tests.support.datasets import Layout, make_mr_series
from tests.support.witness import Witness


@pytest.fixture
def datasets() -> list[Dataset]:
    return make_mr_series(Layout(slices=4, rows=8, columns=8))


def observe(port: int, witness: Witness) -> ObservedArchive:
    address = Peer("pacs", "ARCHIVE", "127.0.0.1", port, "NODE")
    return ObservedArchive(DimseArchive(address, patience=Patience(5, 5, 5)), RemotePeer("ARCHIVE"), witness)


def test_every_question_and_every_series_is_told(datasets: list[Dataset], tmp_path: Path) -> None:
    witness, inbox = Witness(), make_inbox(Spool(tmp_path, reserve_bytes=0))
    with ArchivePeer(datasets) as peer:
        archive = observe(peer.port, witness)
        assert archive.name == "pacs"
        [study] = archive.find_studies(Wish(patient_id=datasets[0].PatientID))
        [series] = archive.find_series(study.study_instance_uid)
        instances = archive.find_instances(series)
        archive.fetch(series, instances, inbox, whole=True)
    assert witness.queries == [("study", datasets[0].PatientID, ""), ("series", "", ""), ("instance", "", "")]
    [fetched] = witness.fetched
    assert (fetched.subject.series_instance_uid, fetched.trouble) == (datasets[0].SeriesInstanceUID, "")
    assert sum(fetched.classes.values()) == 4


def test_what_did_not_come_is_told(datasets: list[Dataset], tmp_path: Path) -> None:
    witness, inbox = Witness(), make_inbox(Spool(tmp_path, reserve_bytes=0))
    with ArchivePeer(datasets, withheld={datasets[0].SOPInstanceUID: 1}) as peer:
        archive = observe(peer.port, witness)
        [series] = archive.find_series(datasets[0].StudyInstanceUID)
        archive.fetch(series, archive.find_instances(series), inbox, whole=True)
    assert [one.trouble for one in witness.fetched] == ["3 of 4 instances came"]


def test_silence_is_told_by_its_name(datasets: list[Dataset]) -> None:
    witness = Witness()
    with pytest.raises(ArchiveUnreachable):
        observe(1, witness).find_studies(Wish(patient_id="A"))
    assert witness.queries == [("study", "A", "ArchiveUnreachable")]
