"""Sockets that neither delay a packet nor an acknowledgement, and never wait for ever."""

import socket
import threading
import time
from collections.abc import Callable
from typing import cast

import pytest
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from fusionnode.delivery.destination import Destination
from fusionnode.dimse.association import open_association
from fusionnode.dimse.node import Patience
from fusionnode.dimse.sockets import PDU_LIMIT_BYTES, READ_BYTES, read_promptly
from fusionnode.retrieval.association import Peer
from tests.support.pacs import StoragePeer


@pytest.mark.parametrize("kind", [Destination, Peer])
def test_every_association_s_socket_is_prompt_and_its_waits_end(kind: type[Destination | Peer]) -> None:
    with StoragePeer() as peer:
        node = kind("pacs", "TESTPACS", "127.0.0.1", peer.port, "FUSIONNODE")
        with open_association(node, [build_context(Verification)], Patience(5, 5, 7)) as assoc:
            wrapped = assoc.dul.socket
            assert wrapped is not None
            connection = wrapped.socket
            assert isinstance(connection, socket.socket)
            assert connection.gettimeout() == 7
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert assoc.send_c_echo().Status == 0x0000


def test_all_that_is_asked_for_is_read_in_whatever_pieces_it_comes() -> None:
    content = bytes(range(256)) * (3 * READ_BYTES // 256)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            threading.Thread(target=theirs.sendall, args=(content,), daemon=True).start()
            assert read_promptly(ours, 10, time.monotonic() + 60) == content[:10]
            assert read_promptly(ours, len(content) - 10, time.monotonic() + 60) == content[10:]


def test_a_peer_that_hangs_up_in_the_middle_gives_what_there_was() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            theirs.sendall(b"half")
        heard: list[str] = []
        assert read_promptly(ours, 8, time.monotonic() + 60, lambda: heard.append("some")) == b"half"
        assert read_promptly(ours, 8, time.monotonic() + 60, lambda: heard.append("more")) == b""
        assert heard == ["some"]


def test_more_than_any_pdu_is_refused_before_a_byte_of_it_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match="limit"):
        read_promptly(ours, PDU_LIMIT_BYTES + 1, time.monotonic() + 60)


Teller = Callable[[socket.socket, threading.Event], None]


def _flood(connection: socket.socket, over: threading.Event) -> None:
    """Begin a P-DATA-TF of 4 GiB, and go on with it for a while."""
    connection.sendall(b"\x04\0" + b"\xff" * 4)
    for _ in range(64):
        connection.sendall(bytes(PDU_LIMIT_BYTES))
    over.wait()


def _trickle(connection: socket.socket, over: threading.Event) -> None:
    """Begin a P-DATA-TF of 64 KiB, and go on with it byte by byte."""
    connection.sendall(b"\x04\0" + (1 << 16).to_bytes(4, "big"))
    while not over.wait(0.02):
        connection.sendall(b"x")


@pytest.mark.parametrize("tell", [_flood, _trickle])
def test_a_peer_that_never_ends_a_pdu_is_hung_up_on(tell: Teller) -> None:
    over, cut = threading.Event(), threading.Event()

    def answer(event: evt.Event) -> int:
        connection = cast("socket.socket", event.assoc.dul.socket.socket)
        try:
            tell(connection, over)
        except OSError:
            cut.set()
        return 0x0000

    entity = AE("HOSTILE")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, answer)])
    assert server is not None
    node = Peer("pacs", "HOSTILE", "127.0.0.1", server.server_address[1], "FUSIONNODE")
    try:
        with open_association(node, [build_context(Verification)], Patience(5, 30, 1)) as assoc:
            assert "Status" not in assoc.send_c_echo()
            assert cut.wait(5)
    finally:
        over.set()
        server.shutdown()
