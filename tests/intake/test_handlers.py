import logging
from pathlib import Path
from typing import IO, Any

import pytest
from pydicom import Dataset, uid
from pynetdicom import Association, evt
from pynetdicom.dsutils import encode

from fusionnode.errors import SpoolFull
from fusionnode.flow.observing import RemotePeer, StoreAnswer, Unobserved
from fusionnode.intake import spool as spool_module
from fusionnode.intake.spool import AssociationEvidence, Spool
from fusionnode.intake.statuses import Status
from tests.support.datasets import make_mr_series
from tests.support.dry_association import deliver, list_fragments, open_association


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    made = Spool(tmp_path / "spool", reserve_bytes=0)
    made.prepare()
    return made


@pytest.fixture
def ds() -> Dataset:
    return make_mr_series()[0]


def encode_explicit(ds: Dataset) -> bytes:
    encoded = encode(ds, False, True)
    assert encoded is not None
    return encoded


def send(spool: Spool, encoded: bytes, uid_text: str, sop_class: str = uid.MRImageStorage) -> int | None:
    with open_association(spool) as assoc:
        return deliver(assoc, list_fragments(encoded, uid_text, sop_class))


def list_files(spool: Spool) -> list[Path]:
    return [path for path in spool.root.parent.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "unsafe", ["../../etc/passwd", "/etc/passwd", "1.2.3/../4", "1.2\\3", "1.2.3;rm", "", "1..2", "CON", "1.2.3.a"]
)
def test_an_unsafe_uid_is_refused_and_never_becomes_a_path(spool: Spool, ds: Dataset, unsafe: str) -> None:
    assert send(spool, encode_explicit(ds), unsafe) in (Status.CANNOT_UNDERSTAND, None)
    assert list_files(spool) == []


def test_an_unsafe_class_uid_is_refused(spool: Spool, ds: Dataset) -> None:
    assert send(spool, encode_explicit(ds), ds.SOPInstanceUID, "../x") == Status.CANNOT_UNDERSTAND
    assert list_files(spool) == []


def test_another_instance_than_announced_does_not_match(spool: Spool, ds: Dataset) -> None:
    assert send(spool, encode_explicit(ds), "1.2.3") == Status.DATASET_DOES_NOT_MATCH
    assert list_files(spool) == []


def test_another_class_than_announced_does_not_match(spool: Spool, ds: Dataset) -> None:
    assert send(spool, encode_explicit(ds), ds.SOPInstanceUID, uid.CTImageStorage) == Status.DATASET_DOES_NOT_MATCH
    assert list_files(spool) == []


@pytest.mark.parametrize("garbage", [b"\0" * 40, b"\xff" * 5000, b"PNG not DICOM at all"])
def test_garbage_is_not_understood(spool: Spool, garbage: bytes) -> None:
    assert send(spool, garbage, "1.2.3") == Status.CANNOT_UNDERSTAND
    assert list_files(spool) == []


def test_below_the_reserve_it_is_out_of_resources(tmp_path: Path, ds: Dataset) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=2**62)
    spool.prepare()
    assert send(spool, encode_explicit(ds), ds.SOPInstanceUID) == Status.OUT_OF_RESOURCES
    assert list_files(spool) == []


def test_a_full_disk_at_the_last_moment_is_out_of_resources(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> None:
        raise SpoolFull("full")

    monkeypatch.setattr(spool_module, "_sync_data", fail)
    assert send(spool, encode_explicit(ds), ds.SOPInstanceUID) == Status.OUT_OF_RESOURCES
    assert list_files(spool) == []


def test_a_disk_that_is_full_when_the_evidence_is_written_is_out_of_resources(
    spool: Spool, ds: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "evidence").symlink_to("/dev/full")
    with open_association(spool) as assoc:
        assoc.dimse.evidence = AssociationEvidence(tmp_path / "evidence")
        status = deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID, uid.MRImageStorage))
    assert status == Status.OUT_OF_RESOURCES
    assert len(list(spool.list_arrivals())) == 1, "it is durable; sent again it is kept once"


def test_a_disk_that_is_full_when_the_last_bytes_are_flushed_is_out_of_resources(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def open_full(path: Path, mode: str = "r", **options: int) -> IO[Any]:
        # What fits into the buffer is taken; the device says that it is full when the buffer is emptied.
        return opened(Path("/dev/full") if path.suffix == ".part" else path, mode.replace("x+", "r+"), **options)

    monkeypatch.setattr(Path, "open", open_full)
    assert send(spool, encode_explicit(ds), ds.SOPInstanceUID) == Status.OUT_OF_RESOURCES
    assert list_files(spool) == []


@pytest.mark.parametrize("failing", ["_sync_data", "sync_folder"])
def test_success_is_never_answered_when_a_sync_fails(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    def fail(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spool_module, failing, fail)
    assert send(spool, encode_explicit(ds), ds.SOPInstanceUID) == Status.PROCESSING_FAILURE
    assert "File" in caplog.text


def test_an_instance_sent_again_is_a_success_and_kept_once(spool: Spool, ds: Dataset) -> None:
    for _ in range(2):
        assert send(spool, encode_explicit(ds), ds.SOPInstanceUID) == Status.SUCCESS
    assert len(list_files(spool)) == 1


def test_other_bytes_under_the_same_uid_are_kept_and_logged(
    spool: Spool, ds: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    first = encode_explicit(ds)
    ds.SeriesDescription = "changed"
    with open_association(spool) as assoc:
        for encoded in (first, encode_explicit(ds)):
            assert deliver(assoc, list_fragments(encoded, ds.SOPInstanceUID)) == Status.SUCCESS
    assert len(list(spool.list_arrivals())) == 2
    assert "came again with other bytes" in caplog.text


def test_the_log_names_peers_and_uids_but_no_patient(
    spool: Spool, ds: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with open_association(spool) as assoc:
        evt.trigger(assoc, evt.EVT_ESTABLISHED, {})
        deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID))
        deliver(assoc, list_fragments(encode_explicit(ds), "1.2.3"))
        evt.trigger(assoc, evt.EVT_RELEASED, {})
    assert "SCANNER" in caplog.text
    for secret in (str(ds.PatientName), ds.PatientID, ds.PatientBirthDate):
        assert secret not in caplog.text


@pytest.mark.parametrize("event", [evt.EVT_RELEASED, evt.EVT_ABORTED, evt.EVT_CONN_CLOSE])
def test_however_an_association_ends_its_evidence_goes(spool: Spool, ds: Dataset, event: evt.NotificationEvent) -> None:
    with open_association(spool) as assoc:
        deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID))
        assert len(spool.list_places_in_flight()) == 1
        evt.trigger(assoc, event, {"address": ("127.0.0.1", 104)})
        assert list(spool.associations.iterdir()) == []


class Diary(Unobserved):
    def __init__(self) -> None:
        self.told: list[str] = []

    def association_opened(self, association: str, peer: RemotePeer) -> None:
        self.told.append(f"opened by {peer.ae_title}")

    def instance_answered(self, association: str, answer: StoreAnswer) -> None:
        self.told.append(f"answered {answer.status:04X}")

    def association_ended(self, association: str, how: str) -> None:
        self.told.append(how)


def test_a_peer_that_is_quicker_than_the_thread_that_lets_it_in_is_named_with_what_it_brings(
    spool: Spool, ds: Dataset
) -> None:
    diary = Diary()
    with open_association(spool, observer=diary) as assoc:
        deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID))
        evt.trigger(assoc, evt.EVT_ESTABLISHED, {})
    assert diary.told == ["opened by SCANNER", "answered 0000"]


def test_an_association_that_is_aborted_here_ends_after_the_instance_that_is_being_stored(
    spool: Spool, ds: Dataset
) -> None:
    diary = Diary()
    with open_association(spool, observer=diary) as assoc:
        evt.trigger(assoc, evt.EVT_ESTABLISHED, {})
        *most, last = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
        deliver(assoc, most)
        evt.trigger(assoc, evt.EVT_ABORTED, {})
        deliver(assoc, [last])
        for _ in range(2):
            evt.trigger(assoc, evt.EVT_CONN_CLOSE, {"address": ("127.0.0.1", 104)})
    assert diary.told[0] == "opened by SCANNER"
    assert diary.told[-1] == "aborted"
    assert diary.told.count("aborted") == 1


CLOSED = (evt.EVT_CONN_CLOSE, {"address": ("127.0.0.1", 104)})


def serve_waiting(assoc: Association) -> int:
    """Answer the request that waits for the association's thread, as that thread would; return the status."""
    context_id, request = assoc.dimse.get_msg()
    attributes = {"request": request, "context": assoc._accepted_cx[context_id].as_tuple}
    return int(evt.trigger(assoc, evt.EVT_C_STORE, attributes))


def test_a_peer_that_goes_while_the_other_thread_stores_its_instance_ends_after_that(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary, accept = Diary(), Spool.accept
    with open_association(spool, observer=diary) as assoc:
        assoc.is_established = False
        deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID))
        evt.trigger(assoc, evt.EVT_ESTABLISHED, {})

        def close_meanwhile(*arguments: Any) -> Any:
            evt.trigger(assoc, *CLOSED)
            return accept(*arguments)

        monkeypatch.setattr(Spool, "accept", close_meanwhile)
        assert serve_waiting(assoc) == Status.SUCCESS
    assert diary.told == ["opened by SCANNER", "answered 0000", "closed"]
    assert len(list(spool.list_arrivals())) == 1


@pytest.mark.parametrize("is_noted", [False, True])
def test_a_request_that_is_come_to_after_the_peer_has_gone_leaves_and_tells_nothing(
    spool: Spool, ds: Dataset, is_noted: bool
) -> None:
    diary = Diary()
    with open_association(spool, observer=diary) as assoc:
        assoc.is_established = False
        deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID))
        if is_noted:
            evt.trigger(assoc, evt.EVT_ESTABLISHED, {})
        evt.trigger(assoc, *CLOSED)
        assert serve_waiting(assoc) == Status.PROCESSING_FAILURE
        evt.trigger(assoc, evt.EVT_ESTABLISHED, {})
    assert diary.told == ["opened by SCANNER", "closed"]
    assert list_files(spool) == []
