import hashlib
import io
import os
import threading
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset, uid
from pynetdicom import Association
from pynetdicom.dimse_messages import C_ECHO_RQ
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import P_DATA

from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from fusionnode.intake import streaming
from fusionnode.intake.contexts import TRANSFER_SYNTAXES
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.intake.statuses import Status
from fusionnode.intake.streaming import StoreRequest
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


def list_incoming(spool: Spool) -> list[str]:
    return [path.name for path in spool.incoming.iterdir()]


def make_pdata(control: int, content: bytes) -> P_DATA:
    primitive = P_DATA()
    primitive.presentation_data_value_list.append((1, bytes([control]) + content))
    return primitive


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_the_header_is_what_pydicom_would_have_written(syntax: uid.UID, tmp_path: Path) -> None:
    request = StoreRequest(uid.MRImageStorage, "1.2.3", syntax, "SCANNER_1")
    (tmp_path / "f").write_bytes(streaming.encode_header(request))
    meta = pydicom.dcmread(tmp_path / "f").file_meta
    pydicom.dataset.validate_file_meta(meta)
    assert meta.FileMetaInformationGroupLength == (tmp_path / "f").stat().st_size - 144
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (uid.MRImageStorage, "1.2.3")
    assert (meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle) == (syntax, "SCANNER_1")
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME


def test_the_file_holds_the_bytes_that_were_sent(spool: Spool, ds: Dataset) -> None:
    encoded = encode_explicit(ds)
    with open_association(spool) as assoc:
        assert deliver(assoc, list_fragments(encoded, ds.SOPInstanceUID)) == Status.SUCCESS
    (stored,) = spool.list_arrivals()
    assert stored.path.read_bytes().endswith(b"DICM" + stored.path.read_bytes()[132 : -len(encoded)] + encoded)
    assert stored.sha256 == hashlib.sha256(encoded).hexdigest() == hash_dataset(stored.path)


def test_the_data_set_is_on_disk_and_not_in_memory_while_it_arrives(spool: Spool, ds: Dataset) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        assert deliver(assoc, fragments[:-1]) is None
        assert len(list_incoming(spool)) == 1
        assert assoc.dimse.message.data_set.getvalue() == b""
        assert list(spool.list_arrivals()) == []


def test_an_association_that_ends_in_the_middle_leaves_nothing(spool: Spool, ds: Dataset) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        deliver(assoc, fragments[:-1])
        assoc.dimse.close()
        assert list_incoming(spool) == []
        assert deliver(assoc, fragments[-1:]) != Status.SUCCESS
    assert list(spool.list_arrivals()) == []


def test_what_arrives_after_the_end_leaves_nothing(spool: Spool, ds: Dataset) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        assoc.dimse.close()
        deliver(assoc, fragments[:-1])
        assert list_incoming(spool) == []
        assert deliver(assoc, fragments[-1:]) != Status.SUCCESS
    assert list(spool.list_arrivals()) == []


def test_a_stream_that_is_given_up_while_its_file_begins_leaves_nothing(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    begin = streaming.InstanceStream._begin
    endings: list[threading.Thread] = []

    def begin_slowly(stream: streaming.InstanceStream) -> object:
        endings.append(threading.Thread(target=stream.discard))
        endings[0].start()
        endings[0].join(0.2)
        return begin(stream)

    monkeypatch.setattr(streaming.InstanceStream, "_begin", begin_slowly)
    with open_association(spool) as assoc:
        deliver(assoc, fragments[:-1])
        endings[0].join()
        assert list_incoming(spool) == []


def test_a_disk_that_fills_up_in_the_middle_is_answered_and_the_next_request_is_served(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        deliver(assoc, fragments[:1])
        with monkeypatch.context() as patch:
            patch.setattr(type(assoc.dimse.message.data_set), "_begin", _fail_full)
            assert deliver(assoc, fragments[1:]) == Status.OUT_OF_RESOURCES
        assert list_incoming(spool) == []
        assert deliver(assoc, fragments) == Status.SUCCESS


def _fail_full(_stream: object) -> None:
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"garbage garbage garbage",
        b"\0\0\0\1\2\0\0\0\x34\x12",
        b"\xff" * 500,
        b"\0\0\0\1\1\0\0\0\x34",
        b"\x08\0\x40\x11\xff\xff\xff\xff\x08\0",
    ],
    ids=["empty", "one", "text", "unknown command", "ones", "half a number", "a broken sequence"],
)
def test_a_malformed_command_asks_for_an_abort_and_raises_nothing(spool: Spool, content: bytes) -> None:
    with open_association(spool) as assoc:
        while not assoc.dul.event_queue.empty():
            assoc.dul.event_queue.get()
        assert deliver(assoc, [make_pdata(3, content)]) is None
        assert assoc.dul.event_queue.get_nowait() == "Evt19"


def _drain(assoc: Association) -> list[str]:
    events = []
    while not assoc.dul.event_queue.empty():
        events.append(assoc.dul.event_queue.get())
    return events


def test_a_command_set_without_an_end_asks_for_an_abort_before_it_fills_the_memory(spool: Spool) -> None:
    with open_association(spool) as assoc:
        _drain(assoc)
        for _ in range(5):
            deliver(assoc, [make_pdata(1, bytes(16000))])
        assert _drain(assoc) == ["Evt19"]


def test_requests_that_wait_for_no_answer_ask_for_an_abort(spool: Spool) -> None:
    echo = C_ECHO_RQ()
    echo.command_set.AffectedSOPClassUID = uid.UID("1.2.840.10008.1.1")
    echo.command_set.CommandField, echo.command_set.MessageID = 0x30, 1
    echo.command_set.CommandDataSetType = 0x0101
    fragments = list(echo.encode_msg(1, 16382))
    with open_association(spool) as assoc:
        _drain(assoc)
        for _ in range(16):
            deliver(assoc, fragments)
        assert _drain(assoc) == []
        deliver(assoc, fragments)
        assert _drain(assoc) == ["Evt19"]
        assert assoc.dimse._unclaimed == set(), "nothing is kept of requests without a file"


def test_instances_that_are_answered_are_never_too_many(spool: Spool, ds: Dataset) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        _drain(assoc)
        assert {deliver(assoc, fragments) for _ in range(50)} == {Status.SUCCESS}
        assert _drain(assoc) == []


def test_an_instance_larger_than_the_room_is_refused_while_it_arrives(
    spool: Spool, ds: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "_BYTES_PER_CHECK", 2000)
    fragments = list_fragments(encode_explicit(ds) + bytes(20_000), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        deliver(assoc, fragments[:3])
        (path,) = list(spool.incoming.iterdir())
        spool.reserve_bytes = 2**62
        assert deliver(assoc, fragments[3:]) == Status.OUT_OF_RESOURCES
        assert not path.exists()


def test_a_data_set_in_a_context_that_was_not_accepted_is_dropped_and_left_to_the_association(
    spool: Spool, ds: Dataset
) -> None:
    with open_association(spool) as assoc:
        assert deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID, context_id=3)) is None
        assert assoc.dimse.get_msg()[0] == 3
        assert list_incoming(spool) == []


def test_without_messages_there_is_none(spool: Spool) -> None:
    with open_association(spool) as assoc:
        assert assoc.dimse.get_msg() == (None, None)


def test_before_the_association_is_established_requests_wait_for_its_thread(spool: Spool, ds: Dataset) -> None:
    with open_association(spool) as assoc:
        assoc.is_established = False
        assert deliver(assoc, list_fragments(encode_explicit(ds), ds.SOPInstanceUID)) is None
        context_id, request = assoc.dimse.get_msg()
        assert context_id == 1
        assert request.AffectedSOPInstanceUID == ds.SOPInstanceUID


class _FullFile(io.BytesIO):
    """A file on a full disk: what it buffered cannot be written when it is closed either."""

    def write(self, _data: object, /) -> int:
        raise OSError(28, os.strerror(28))

    def close(self) -> None:
        super().close()
        raise OSError(28, os.strerror(28))


def test_a_file_that_cannot_even_be_closed_is_answered_and_deleted(spool: Spool, ds: Dataset) -> None:
    fragments = list_fragments(encode_explicit(ds), ds.SOPInstanceUID)
    with open_association(spool) as assoc:
        deliver(assoc, fragments[:3])
        stream = assoc.dimse.message.data_set
        stream._file.close()
        stream._file = _FullFile()
        assert deliver(assoc, fragments[3:]) == Status.OUT_OF_RESOURCES
        assert list_incoming(spool) == []
        assert deliver(assoc, fragments) == Status.SUCCESS
