"""Sockets that neither delay a packet nor an acknowledgement, and never wait for ever."""

import socket
import threading

import pytest
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from fusionnode.delivery.destination import Destination
from fusionnode.dimse.association import open_association
from fusionnode.dimse.node import Patience
from fusionnode.dimse.sockets import READ_BYTES, read_promptly
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
            assert getattr(wrapped.recv, "func", None) is read_promptly
            assert assoc.send_c_echo().Status == 0x0000


def test_all_that_is_asked_for_is_read_in_whatever_pieces_it_comes() -> None:
    content = bytes(range(256)) * (3 * READ_BYTES // 256)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            threading.Thread(target=theirs.sendall, args=(content,), daemon=True).start()
            assert read_promptly(ours, 10) == content[:10]
            assert read_promptly(ours, len(content) - 10) == content[10:]


def test_a_peer_that_hangs_up_in_the_middle_gives_what_there_was() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            theirs.sendall(b"half")
        assert read_promptly(ours, 8) == b"half"
        assert read_promptly(ours, 8) == b""
