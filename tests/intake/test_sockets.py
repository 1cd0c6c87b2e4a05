import gc
import inspect
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn

import pytest
from pynetdicom import AE, Association, build_context
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import ACTIONS, TRANSITION_TABLE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import Verification
from pynetdicom.transport import AssociationSocket, ThreadedAssociationServer

from fusionnode.dimse.sockets import PDU_LIMIT_BYTES
from fusionnode.intake.door import Door
from fusionnode.intake.listener import Listener
from fusionnode.intake.sockets import IntakeServer, PromptSocket, hasten
from fusionnode.intake.spool import Spool
from fusionnode.intake.streaming import StreamingProvider
from tests.support.wire import ABORTED, RELEASE_RQ, connected, encode_echo, establish, read_pdus

Ends = tuple[PromptSocket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.settimeout(5)
    assoc = Association(AE(), "acceptor")
    plain = AssociationSocket(assoc, client_socket=ours)
    with peer, ours:
        yield PromptSocket.take_over(plain), peer


def test_taking_over_announces_the_connection_once(ends: Ends) -> None:
    prompt, _ = ends
    assert prompt.event_queue.get_nowait() == "Evt5"
    assert prompt.event_queue.empty()


def test_a_read_collects_what_arrives_in_pieces(ends: Ends) -> None:
    prompt, peer = ends
    content = bytes(range(256)) * 2000
    sender = threading.Thread(target=peer.sendall, args=(content,))
    sender.start()
    assert prompt.recv(6) + prompt.recv(len(content) - 6) == content
    sender.join()


def test_a_peer_that_closes_in_the_middle_gives_a_short_read(ends: Ends) -> None:
    prompt, peer = ends
    peer.sendall(b"abc")
    peer.close()
    assert prompt.recv(10) == b"abc"


def test_a_peer_that_falls_silent_in_the_middle_times_out(ends: Ends) -> None:
    prompt, peer = ends
    prompt._assoc.acse_timeout = 0.05
    peer.sendall(b"abc")
    with pytest.raises(TimeoutError):
        prompt.recv(10)


def test_an_absurd_pdu_is_refused_before_memory_is_reserved(ends: Ends) -> None:
    prompt, _ = ends
    with pytest.raises(OSError, match="the limit is"):
        prompt.recv(PDU_LIMIT_BYTES + 1)


def test_it_is_ready_when_there_is_data_and_when_the_peer_is_gone(ends: Ends) -> None:
    prompt, peer = ends
    prompt.event_queue.get_nowait()
    assert not prompt.ready
    peer.sendall(b"x")
    assert prompt.ready
    prompt.recv(1)
    assert not prompt.ready
    peer.close()
    assert prompt.ready


def test_what_was_read_is_dealt_with_before_more_is_read_unless_the_association_is_over(ends: Ends) -> None:
    prompt, peer = ends
    peer.sendall(b"x")
    assert not prompt.ready
    prompt._assoc.dul.state_machine.current_state = "Sta13"
    assert prompt.ready


def test_a_peer_that_trickles_runs_out_of_time_however_often_it_sends(ends: Ends) -> None:
    prompt, peer = ends
    prompt._assoc.acse_timeout = 0.3
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.02):
            peer.send(b"x")

    sender = threading.Thread(target=trickle)
    sender.start()
    with pytest.raises(TimeoutError, match="too long"):
        prompt.recv(100_000)
    over.set()
    sender.join()
    assert prompt.touched


def test_an_answer_that_comes_too_late_is_dropped_and_kills_no_thread(ends: Ends, tmp_path: Path) -> None:
    assoc = ends[0]._assoc
    assoc.set_socket(ends[0])
    spool = Spool(tmp_path, reserve_bytes=0)
    spool.prepare()
    hasten(assoc, StreamingProvider(assoc, spool))
    assoc.dul.state_machine.current_state = "Sta13"
    assoc.dul.to_provider_queue.put(P_DATA())
    assoc.dul.state_machine.do_action("Evt9")
    assert assoc.dul.to_provider_queue.empty()
    assoc.dul.state_machine.do_action("Evt9")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    one = Listener("NODE", "127.0.0.1", 0, Spool(tmp_path, reserve_bytes=0))
    one.start()
    yield one
    one.stop(grace_seconds=1)


def _list_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if isinstance(one, Association | DULServiceProvider)]


def _require_end(connection: socket.socket, caplog: pytest.LogCaptureFixture, told: str = "ValueError") -> None:
    pdus = [one.kind for one in read_pdus(connection)]
    assert pdus == [ABORTED]
    deadline = time.monotonic() + 60
    while _list_threads() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _list_threads() == []
    ours = "".join(one.getMessage() for one in caplog.records if one.name.startswith("fusionnode"))
    assert told in ours
    assert "Doe^" not in ours


def test_what_the_state_machine_cannot_take_ends_the_association_and_both_its_threads(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    with connected(listener.port) as peer:
        establish(peer)
        peer.sendall(b"\x07\0\0\0\0\x04\0\0\xff\xff")
        _require_end(peer, caplog)


def test_what_nobody_foresaw_in_the_state_machine_ends_the_association_and_both_its_threads(
    listener: Listener, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    with connected(listener.port) as peer:
        establish(peer)
        monkeypatch.setitem(ACTIONS, "AR-2", ("", fail, ""))
        peer.sendall(RELEASE_RQ)
        _require_end(peer, caplog, "AssertionError")


def test_what_the_serving_thread_cannot_take_ends_the_association_and_both_its_threads(
    listener: Listener, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "^".join(("Doe", "John"))

    def fail(*_: object) -> None:
        raise ValueError(words)

    monkeypatch.setattr(Association, "_serve_request", fail)
    with connected(listener.port) as peer:
        establish(peer)
        peer.sendall(encode_echo())
        _require_end(peer, caplog)


def test_what_is_relied_upon_inside_pynetdicom_is_still_there() -> None:
    assoc = Association(AE(), "acceptor")
    assert ThreadedAssociationServer.__mro__[1] is ThreadingMixIn, "process_request_thread runs in a thread of its own"
    for method in ("get_request", "verify_request", "process_request", "process_request_thread", "finish_request"):
        assert callable(getattr(ThreadedAssociationServer, method))
    assert assoc.requestor.primitive is None
    assert assoc._server is None
    assert assoc.dul.state_machine.current_state == "Sta1"
    assert ("Evt9", "Sta13") not in TRANSITION_TABLE
    assert {state for _, state in TRANSITION_TABLE} >= {"Sta2", "Sta6", "Sta13"}
    for owner, names in (
        (assoc, ("_accepted_cx", "is_rejected", "kill", "run")),
        (assoc.dul, ("event_queue", "to_user_queue", "to_provider_queue", "_run_loop_delay", "_kill_thread", "run")),
        (assoc.dimse, ("msg_queue", "message", "maximum_pdu_size")),
        (assoc.acse, ("send_reject",)),
        (DIMSEMessage(), ("encoded_command_set", "data_set", "context_id")),
    ):
        assert [name for name in names if not hasattr(owner, name)] == []
    source = inspect.getsource(Association.run_reactor)
    assert source.index("EVT_REQUESTED") < source.index("negotiate_association"), "who is rejected is asked first"
    assert "not self.is_rejected" in source


def test_a_closed_socket_is_never_ready(ends: Ends) -> None:
    prompt, _ = ends
    prompt.close()
    assert not prompt.ready


def test_garbage_is_collected_only_where_somebody_came() -> None:
    contexts = [build_context(Verification)]
    server = AE().make_server(("127.0.0.1", 0), contexts=contexts, server_class=IntakeServer, door=Door())
    collections: list[str] = []

    def note(phase: str, _: object) -> None:
        collections.append(phase)

    def look(times: int) -> int:
        collections.clear()
        for _ in range(times):
            server.service_actions()
        return collections.count("stop")

    gc.disable()
    gc.callbacks.append(note)
    try:
        idle = look(200)
        with socket.create_connection(server.server_address):
            server.get_request()[0].close()
        visited, idle_again = look(60), look(200)
    finally:
        gc.callbacks.remove(note)
        gc.enable()
        server.server_close()
    assert (idle, visited, idle_again) == (0, 1, 0)
