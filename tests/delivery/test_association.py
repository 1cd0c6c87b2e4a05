"""An association that cannot be had says why; `tests/network` has the conversations."""

import socket

import pytest
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from fusionnode.delivery.association import Destination, Patience, associate, own_answers
from fusionnode.errors import DestinationUnreachable
from tests.support.pacs import StoragePeer, find_free_port

CONTEXTS = [build_context(Verification)]


def _peer(port: int) -> Destination:
    return Destination("pacs", "TESTPACS", "127.0.0.1", port)


def test_nobody_there_is_unreachable_and_told_with_the_address() -> None:
    port = find_free_port()
    with (
        pytest.raises(DestinationUnreachable, match=f"TESTPACS at 127.0.0.1:{port}"),
        associate(_peer(port), "FUSIONNODE", CONTEXTS, Patience(2, 2, 2)),
    ):
        pytest.fail("there is nobody")


def test_it_is_released_at_the_end_and_its_socket_never_waits_for_ever() -> None:
    with StoragePeer() as peer:
        with associate(_peer(peer.port), "FUSIONNODE", CONTEXTS, Patience(5, 5, 7)) as assoc:
            connection = assoc.dul.socket.socket
            assert isinstance(connection, socket.socket)
            assert connection.gettimeout() == 7
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert assoc.is_released


def test_answers_are_left_to_who_waits_for_them_only_while_asked() -> None:
    with StoragePeer() as peer, associate(_peer(peer.port), "FUSIONNODE", CONTEXTS, Patience(5, 5, 5)) as assoc:
        assoc.dimse.msg_queue.put((1, "answer"))
        with own_answers(assoc):
            assert assoc.dimse.get_msg(block=False) == (None, None)
            assert assoc.dimse.get_msg(block=True) == (1, "answer")
        assert assoc.dimse.get_msg.__name__ == "get_msg"
