"""What goes out is told series by series, also when it is broken off; and sending is what it was."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.observed import ObservedSender
from fusionnode.delivery.sender import AssociationSender
from fusionnode.errors import DestinationUnreachable
from fusionnode.flow.observing import NOBODY, RemotePeer
from fusionnode.flow.ports import Delivery
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.pacs import StoragePeer
from tests.support.witness import Witness

SMALL = Layout(slices=3, rows=8, columns=8)


@pytest.fixture
def datasets() -> list[Dataset]:
    return [*make_mr_series(SMALL), *make_pt_series(SMALL, Identity(series_number=2))]


def owe(folder: Path, datasets: Sequence[Dataset]) -> list[Delivery]:
    paths = write_series(folder, datasets)
    return [
        Delivery("j1", "pacs", ds.SOPClassUID, ds.SOPInstanceUID, path.name)
        for ds, path in zip(datasets, paths, strict=True)
    ]


def observe(folder: Path, port: int, witness: Witness) -> ObservedSender:
    sender = AssociationSender(folder, {"pacs": Destination("pacs", "TESTPACS", "127.0.0.1", port, "NODE")})
    return ObservedSender(sender, folder, {"pacs": RemotePeer("TESTPACS", address="127.0.0.1")}, witness)


def test_every_series_is_told_at_its_beginning_and_its_end(tmp_path: Path, datasets: list[Dataset]) -> None:
    witness = Witness()
    with StoragePeer() as peer:
        outcomes = list(observe(tmp_path, peer.port, witness).send("pacs", owe(tmp_path, datasets)))
    assert [one.stored for one in outcomes] == [True] * 6
    expected = sorted((ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.PatientID) for ds in datasets[::3])
    for told in (witness.begun, [one for _, one in witness.sent]):
        subjects = [one.subject for one in told]
        assert sorted((one.series_instance_uid, one.study_instance_uid, one.patient_id) for one in subjects) == expected
        assert [(sum(one.classes.values()), one.trouble, one.job) for one in told] == [(3, "", "j1")] * 2
    assert {name for name, _ in witness.sent} == {"TESTPACS"}


def test_what_was_refused_is_not_counted_as_sent(tmp_path: Path, datasets: list[Dataset]) -> None:
    witness = Witness()
    with StoragePeer(answers={datasets[0].SOPInstanceUID: 0xA700}) as peer:
        list(observe(tmp_path, peer.port, witness).send("pacs", owe(tmp_path, datasets[:3])))
    [(_, sent)] = witness.sent
    assert (sum(sent.classes.values()), sent.trouble) == (2, "1 instances were refused")


def test_a_destination_that_is_away_is_an_end_without_a_beginning(tmp_path: Path, datasets: list[Dataset]) -> None:
    witness = Witness()
    with pytest.raises(DestinationUnreachable):
        list(observe(tmp_path, 1, witness).send("pacs", owe(tmp_path, datasets[:3])))
    assert witness.begun == []
    assert [(one.classes, one.trouble) for _, one in witness.sent] == [({}, "DestinationUnreachable")]


def test_one_that_breaks_off_leaves_what_was_stored_until_then(tmp_path: Path, datasets: list[Dataset]) -> None:
    witness = Witness()
    with StoragePeer(abort_after=1) as peer, pytest.raises(DestinationUnreachable):
        list(observe(tmp_path, peer.port, witness).send("pacs", owe(tmp_path, datasets[:3])))
    [(_, sent)] = witness.sent
    assert (sum(sent.classes.values()), sent.trouble) == (1, "DestinationUnreachable")


def test_a_worker_that_leaves_off_is_told_too(tmp_path: Path, datasets: list[Dataset]) -> None:
    witness = Witness()
    with StoragePeer() as peer:
        sending = observe(tmp_path, peer.port, witness).send("pacs", owe(tmp_path, datasets[:3]))
        next(sending)
        sending.close()  # type: ignore[attr-defined]
    assert [one.trouble for _, one in witness.sent] == ["left off"]


@pytest.mark.parametrize("left", [0, 140, 155])
def test_a_file_that_is_gone_or_spoilt_is_told_without_its_subject(
    tmp_path: Path, datasets: list[Dataset], left: int
) -> None:
    witness = Witness()
    owed = owe(tmp_path, datasets[:3])
    (tmp_path / owed[0].path).unlink()
    spoilt = tmp_path / owed[1].path
    spoilt.write_bytes(spoilt.read_bytes()[:left])
    with StoragePeer() as peer:
        outcomes = list(observe(tmp_path, peer.port, witness).send("pacs", owed))
    assert sorted(one.stored for one in outcomes) == [False, False, True]
    assert sorted((one.subject == NOBODY, sum(one.classes.values())) for _, one in witness.sent) == [
        (False, 1),
        (True, 0),
    ]


def test_the_rest_is_asked_of_the_sender_that_does_the_work(tmp_path: Path) -> None:
    with StoragePeer() as peer:
        observed = observe(tmp_path, peer.port, Witness())
        assert observed.echo("pacs") == "0000"
        assert not observed.offers_commitment("pacs")
