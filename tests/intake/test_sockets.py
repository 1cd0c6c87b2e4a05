import socket
import threading
from collections.abc import Iterator

import pytest
from pynetdicom import AE, Association
from pynetdicom.transport import AssociationSocket

from fusionnode.intake.sockets import PDU_LIMIT_BYTES, PromptSocket

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
    assert prompt.socket is not None
    prompt.socket.settimeout(0.05)
    peer.sendall(b"abc")
    with pytest.raises(TimeoutError):
        prompt.recv(10)


def test_an_absurd_pdu_is_refused_before_memory_is_reserved(ends: Ends) -> None:
    prompt, _ = ends
    with pytest.raises(OSError, match="the limit is"):
        prompt.recv(PDU_LIMIT_BYTES + 1)


def test_it_is_ready_when_there_is_data_and_when_the_peer_is_gone(ends: Ends) -> None:
    prompt, peer = ends
    assert not prompt.ready
    peer.sendall(b"x")
    assert prompt.ready
    prompt.recv(1)
    assert not prompt.ready
    peer.close()
    assert prompt.ready


def test_a_closed_socket_is_never_ready(ends: Ends) -> None:
    prompt, _ = ends
    prompt.close()
    assert not prompt.ready
