"""Real associations on the loopback interface, with pynetdicom and with DCMTK as senders."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, uid
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, Association
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from fusionnode.intake.access import AllowedPeer, AllowList
from fusionnode.intake.door import OPEN, Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.intake.statuses import Status
from tests.support.datasets import Identity, Layout, make_mr_series, make_nm_recon, make_pt_series
from tests.support.files import write_series
from tests.support.tools import require_tool

REPOSITORY = Path(__file__).resolve().parents[2]
UNCOMPRESSED = [
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
]
PATIENT_SECRETS = re.compile("Nobody|TEST-1|19700101")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", reserve_bytes=0)


@pytest.fixture
def listener(spool: Spool) -> Iterator[Listener]:
    with listening(spool) as running:
        yield running


@contextmanager
def listening(spool: Spool, entrance: Entrance = OPEN) -> Iterator[Listener]:
    running = Listener("NODE", "127.0.0.1", 0, spool, entrance)
    running.start()
    try:
        yield running
    finally:
        running.stop(grace_seconds=2)
        assert not [thread for thread in threading.enumerate() if "Acceptor" in thread.name]


@contextmanager
def associated(
    port: int, *classes: uid.UID, syntax: uid.UID | None = None, title: str = "NODE"
) -> Iterator[Association]:
    entity = AE("SCANNER")
    for sop_class in classes or (uid.MRImageStorage,):
        entity.add_requested_context(sop_class, syntax or uid.ExplicitVRLittleEndian)
    assoc = entity.associate("127.0.0.1", port, ae_title=title)
    transport = assoc.dul.socket.socket if assoc.dul.socket else None
    keep_answers(assoc)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()
        if assoc.is_alive():
            assoc.join(20)
        if transport is not None:
            # pynetdicom as a sender forgets to, when the peer was quicker.
            transport.close()


def keep_answers(assoc: Association) -> None:
    """Keep the sender's own loop from now and then swallowing an answer that `send_c_store` waits for."""
    really_get = assoc.dimse.get_msg
    assoc.dimse.get_msg = lambda block=False: really_get(True) if block else (None, None)  # type: ignore[method-assign]


def send(assoc: Association, ds: Dataset) -> int:
    answer = assoc.send_c_store(ds)
    assert "Status" in answer, "no answer"
    return int(answer.Status)


def encode_in(ds: Dataset, syntax: uid.UID) -> bytes:
    encoded = encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    assert encoded is not None
    return encoded


def transcode(ds: Dataset, syntax: uid.UID) -> Dataset:
    """The data set announced in ``syntax``; big endian pixels are swapped, as the syntax demands."""
    if not syntax.is_little_endian:
        ds.PixelData = ds.pixel_array.astype(">u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def read_sent_bytes(path: Path) -> bytes:
    """Data set bytes of a stored file."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def await_true(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def list_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_echo_is_answered(listener: Listener) -> None:
    with associated(listener.port, Verification, syntax=uid.ImplicitVRLittleEndian) as assoc:
        assert assoc.send_c_echo().Status == Status.SUCCESS


@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_stored_bytes_are_the_bytes_that_were_sent(listener: Listener, spool: Spool, syntax: uid.UID) -> None:
    ds = transcode(make_mr_series(Layout(slices=1))[0], syntax)
    expected = encode_in(ds, syntax)
    with associated(listener.port, syntax=syntax) as assoc:
        assert send(assoc, ds) == Status.SUCCESS
    (stored,) = spool.list_arrivals()
    assert read_sent_bytes(stored.path) == expected
    assert dcmread(stored.path).file_meta.TransferSyntaxUID == syntax
    assert hash_dataset(stored.path) == stored.sha256


def test_mr_pet_and_spect_arrive_over_one_association(listener: Listener, spool: Spool) -> None:
    everything = [*make_mr_series(Layout(slices=3)), *make_pt_series(Layout(slices=3)), make_nm_recon()]
    with associated(listener.port, *{ds.SOPClassUID for ds in everything}) as assoc:
        assert [send(assoc, ds) for ds in everything] == [Status.SUCCESS] * 7
    assert {dcmread(stored.path).SOPInstanceUID for stored in spool.list_arrivals()} == {
        ds.SOPInstanceUID for ds in everything
    }


def test_an_instance_of_many_fragments_arrives_whole(listener: Listener, spool: Spool) -> None:
    ds = make_mr_series(Layout(slices=1, rows=1024, columns=1024))[0]
    with associated(listener.port) as assoc:
        assert send(assoc, ds) == Status.SUCCESS
    (stored,) = spool.list_arrivals()
    assert read_sent_bytes(stored.path) == encode_in(ds, uid.ExplicitVRLittleEndian)


def test_sent_again_over_another_association_it_is_kept_once(listener: Listener, spool: Spool) -> None:
    ds = make_mr_series(Layout(slices=1))[0]
    for _ in range(3):
        with associated(listener.port) as assoc:
            assert send(assoc, ds) == Status.SUCCESS
    assert len(list(spool.list_arrivals())) == 1


def test_other_bytes_under_the_same_uid_are_both_kept(listener: Listener, spool: Spool) -> None:
    ds = make_mr_series(Layout(slices=1))[0]
    with associated(listener.port) as assoc:
        assert send(assoc, ds) == Status.SUCCESS
        ds.SeriesDescription = "corrected"
        assert send(assoc, ds) == Status.SUCCESS
    assert len(list(spool.list_arrivals())) == 2


def test_a_full_spool_is_told_and_nothing_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    with listening(spool) as listener, associated(listener.port) as assoc:
        spool.reserve_bytes = 2**62
        for ds in make_mr_series(Layout(slices=2)):
            assert send(assoc, ds) == Status.OUT_OF_RESOURCES
        assert list_files(spool.root) == []


def test_evidence_is_there_while_the_association_is_open_and_gone_after_release(
    listener: Listener, spool: Spool
) -> None:
    with associated(listener.port) as assoc:
        send(assoc, make_mr_series(Layout(slices=1))[0])
        (stored,) = spool.list_arrivals()
        assert spool.list_places_in_flight() == {stored.place}
    await_true(lambda: list_files(spool.associations) == [])


def test_evidence_and_half_received_files_are_gone_after_an_abort(listener: Listener, spool: Spool) -> None:
    with associated(listener.port) as assoc:
        send(assoc, make_mr_series(Layout(slices=1))[0])
        assert len(list_files(spool.associations)) == 1
        assoc.abort()
    await_true(lambda: list_files(spool.associations) == [])
    assert list_files(spool.incoming) == []


def test_evidence_and_half_received_files_are_gone_after_the_connection_is_lost(
    listener: Listener, spool: Spool
) -> None:
    with associated(listener.port) as assoc:
        first, second = make_mr_series(Layout(slices=2, rows=512, columns=512))
        assert send(assoc, first) == Status.SUCCESS
        with lose_connection_after(assoc, 100_000):
            assoc.send_c_store(second)
    await_true(lambda: list_files(spool.associations) == [])
    await_true(lambda: list_files(spool.incoming) == [])
    assert len(list(spool.list_arrivals())) == 1


@contextmanager
def lose_connection_after(assoc: Association, limit: int) -> Iterator[None]:
    """Cut the sender's connection once it has sent ``limit`` bytes more."""
    transport = assoc.dul.socket
    assert transport is not None
    really_send, sent = transport.send, [0]

    def send_some(data: bytes) -> None:
        sent[0] += len(data)
        if sent[0] > limit:
            transport._shutdown_socket()
        else:
            really_send(data)

    transport.send = send_some  # type: ignore[method-assign]
    yield


def test_two_associations_interleaved_get_what_each_has_sent(listener: Listener, spool: Spool) -> None:
    batches = [make_mr_series(Layout(slices=12), Identity(series_number=n), seed=n) for n in (1, 2)]
    answers: list[int] = []
    together = threading.Barrier(2)

    def send_batch(batch: list[Dataset]) -> None:
        with associated(listener.port) as assoc:
            for ds in batch:
                together.wait(20)
                answers.append(send(assoc, ds))

    threads = [threading.Thread(target=send_batch, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Status.SUCCESS] * 24
    expected = {encode_in(ds, uid.ExplicitVRLittleEndian) for batch in batches for ds in batch}
    assert {read_sent_bytes(stored.path) for stored in spool.list_arrivals()} == expected


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"", b"\x01\0\xff\xff\xff\xff", b"\x01\0\0\0\0\x04\0\0\0\0", os.urandom(3000)],
    ids=["http", "load balancer", "4 GiB PDU", "empty request", "noise"],
)
def test_garbage_on_the_port_disturbs_nobody(listener: Listener, spool: Spool, garbage: bytes) -> None:
    with associated(listener.port) as before:
        with socket.create_connection(("127.0.0.1", listener.port)) as stranger:
            stranger.sendall(garbage)
        first, second = make_mr_series(Layout(slices=2))
        assert send(before, first) == Status.SUCCESS
        with associated(listener.port) as after:
            assert send(after, second) == Status.SUCCESS
    assert len(list(spool.list_arrivals())) == 2


def test_hundreds_of_port_checks_leave_no_threads_behind(listener: Listener) -> None:
    for _ in range(200):
        socket.create_connection(("127.0.0.1", listener.port)).close()
    await_true(lambda: not [t for t in threading.enumerate() if "Acceptor" in t.name])


@pytest.mark.parametrize("limit", ["max_associations", "max_associations_per_address"])
def test_the_association_limit_rejects_and_recovers(spool: Spool, limit: str) -> None:
    with listening(spool, Entrance(limits=ListenerLimits(**{limit: 1}))) as listener:
        with associated(listener.port) as first:
            assert first.is_established
            with associated(listener.port) as second:
                assert second.is_rejected
        await_true(lambda: not [t for t in threading.enumerate() if "Acceptor" in t.name])
        with associated(listener.port) as third:
            assert third.is_established


@pytest.mark.parametrize(("title", "accepted"), [("NODE", True), ("OTHER", False)])
def test_a_wrong_called_title_is_rejected_where_asked_for(spool: Spool, title: str, accepted: bool) -> None:
    entrance = Entrance(AllowList(called="NODE"))
    with listening(spool, entrance) as listener, associated(listener.port, title=title) as assoc:
        assert assoc.is_established is accepted


def test_an_unlisted_calling_title_is_rejected_where_asked_for(spool: Spool) -> None:
    entrance = Entrance(AllowList((AllowedPeer("MR1"),)))
    with listening(spool, entrance) as listener, associated(listener.port) as assoc:
        assert assoc.is_rejected


def test_no_patient_is_named_in_the_log_at_any_level(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with listening(spool) as listener, associated(listener.port) as assoc:
        send(assoc, make_mr_series(Layout(slices=1))[0])
    assert "SCANNER" in caplog.text
    assert not PATIENT_SECRETS.search(caplog.text)


def test_stopping_lets_a_running_association_finish(spool: Spool) -> None:
    with listening(spool) as listener, associated(listener.port) as assoc:
        stopper = threading.Thread(target=listener.stop)
        stopper.start()
        await_true(lambda: listener.port == 0)
        assert send(assoc, make_mr_series(Layout(slices=1))[0]) == Status.SUCCESS
        assoc.release()
        stopper.join(20)
        assert not stopper.is_alive()


@contextmanager
def listening_elsewhere(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A listener in a process of its own that can be killed."""
    program = (
        "import sys, time; from pathlib import Path; from fusionnode.intake.listener import Listener;"
        "from fusionnode.intake.spool import Spool;"
        "l = Listener('NODE', '127.0.0.1', 0, Spool(Path(sys.argv[1]), reserve_bytes=0)); l.start();"
        "print(l.port, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_after_kill_nine_everything_acknowledged_is_whole_and_nothing_half_written_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    series = make_mr_series(Layout(slices=8, rows=700, columns=700))
    acknowledged = []
    with listening_elsewhere(spool.root) as (process, port), associated(port) as assoc:
        for ds in series[:5]:
            assert send(assoc, ds) == Status.SUCCESS
            acknowledged.append(encode_in(ds, uid.ExplicitVRLittleEndian))
        with kill_after(assoc, process, 200_000):
            assert "Status" not in assoc.send_c_store(series[5])
    assert process.returncode == -signal.SIGKILL
    assert sorted(read_sent_bytes(stored.path) for stored in spool.list_arrivals()) == sorted(acknowledged)
    for stored in spool.list_arrivals():
        assert hash_dataset(stored.path) == stored.sha256
    with listening(spool) as again, associated(again.port) as assoc:
        assert [send(assoc, ds) for ds in series] == [Status.SUCCESS] * 8
    assert len(list(spool.list_arrivals())) == 8


@contextmanager
def kill_after(assoc: Association, process: "subprocess.Popen[str]", limit: int) -> Iterator[None]:
    """Kill the receiver once ``limit`` bytes more have gone to it."""
    transport = assoc.dul.socket
    assert transport is not None
    really_send, sent = transport.send, [0]

    def send_and_kill(data: bytes) -> None:
        really_send(data)
        sent[0] += len(data)
        if sent[0] > limit:
            process.kill()
            process.wait()

    transport.send = send_and_kill  # type: ignore[method-assign]
    yield


@pytest.mark.system
@pytest.mark.parametrize("proposal", ["-xe", "-xi", "-xb", "-xd"])
def test_dcmtk_sends_in_every_uncompressed_syntax(
    listener: Listener, spool: Spool, tmp_path: Path, proposal: str
) -> None:
    sender = require_tool("storescu")
    series = make_mr_series(Layout(slices=4))
    write_series(tmp_path / "sent", series)
    subprocess.run(
        [sender, proposal, "+sd", "+r", "-aec", "NODE", "127.0.0.1", str(listener.port), str(tmp_path / "sent")],
        check=True,
        timeout=60,
    )
    received = {ds.SOPInstanceUID: ds for ds in (dcmread(stored.path) for stored in spool.list_arrivals())}
    assert len(received) == 4
    for ds in series:
        assert (received[ds.SOPInstanceUID].pixel_array == ds.pixel_array).all()
