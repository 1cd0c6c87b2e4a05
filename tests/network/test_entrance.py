"""Who comes in to a real listener: exact rejections, connections that are closed before a byte of them is read."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fusionnode.flow.observing import RemotePeer, Unobserved
from fusionnode.intake import access
from fusionnode.intake.access import AllowedPeer, AllowList, parse_network
from fusionnode.intake.door import Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from tests.support import wire
from tests.support.running import await_value
from tests.support.wire import connected, encode_request, establish, read_pdu, read_pdus

# Two addresses of this machine play two hosts.
SITE = AllowList(
    (
        AllowedPeer("MR1", (parse_network("127.0.0.1"),)),
        AllowedPeer("", (parse_network("127.0.2.0/24"),)),
    ),
    called="NODE",
)


class Witness(Unobserved):
    def __init__(self) -> None:
        self.refused: list[tuple[RemotePeer, str]] = []

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        self.refused.append((peer, reason))


@contextmanager
def listening(folder: Path, entrance: Entrance, host: str = "127.0.0.1") -> Iterator[tuple[Listener, Witness]]:
    witness = Witness()
    listener = Listener("NODE", host, 0, Spool(folder / "spool", reserve_bytes=0), entrance)
    listener.observer = witness
    listener.start()
    try:
        yield listener, witness
    finally:
        listener.stop(grace_seconds=2)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
@pytest.mark.parametrize(
    ("source", "calling", "called", "rejection"),
    [
        ("127.0.0.1", "MR1", "NODE", None),
        ("127.0.2.9", "ANYBODY", "NODE", None),
        ("127.0.0.1", "MR2", "NODE", access.CALLING_UNKNOWN),
        ("127.0.0.1", "MR1", "OTHER", access.CALLED_UNKNOWN),
    ],
)
def test_a_request_is_accepted_or_rejected_in_the_words_of_the_standard(
    tmp_path: Path, host: str, source: str, calling: str, called: str, rejection: access.Rejection | None
) -> None:
    with listening(tmp_path, Entrance(SITE), host) as (listener, witness), connected(listener.port, source) as peer:
        peer.sendall(encode_request(calling, called))
        answer = read_pdu(peer)
        if rejection is None:
            assert answer.kind == wire.ACCEPTED
            assert witness.refused == []
            return
        assert answer.rejection == rejection
        assert read_pdus(peer) == []
        [(told, _)] = witness.refused
        assert (told.ae_title, told.called) == (calling, called)
        assert access.parse_address(told.address) == access.parse_address(source)


def test_an_address_that_is_not_allowed_is_cut_off_before_anything_is_read(tmp_path: Path) -> None:
    with listening(tmp_path, Entrance(SITE)) as (listener, witness):
        with connected(listener.port, "127.0.9.9") as stranger:
            assert read_pdus(stranger) == [], "closed though nothing was sent"
        with connected(listener.port, "127.0.9.9") as stranger:
            with suppress(ConnectionError):
                stranger.sendall(encode_request("MR1"))
            assert read_pdus(stranger) == []
    assert [(peer.address, reason) for peer, reason in witness.refused] == [("127.0.9.9", "address not allowed")] * 2
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


def test_another_application_context_than_dicom_s_is_rejected(tmp_path: Path) -> None:
    with listening(tmp_path, Entrance()) as (listener, _), connected(listener.port) as peer:
        peer.sendall(encode_request(context="1.2.840.10008.3.1.1.2"))
        assert read_pdu(peer).rejection == access.CONTEXT_UNSUPPORTED


def test_half_open_connections_take_nobody_s_place_and_are_bounded_for_each_address(tmp_path: Path) -> None:
    limits = ListenerLimits(max_associations=1, max_half_open=8, max_half_open_per_address=3)
    with listening(tmp_path, Entrance(limits=limits)) as (listener, witness):
        waiting = [socket.create_connection(("127.0.0.1", listener.port), timeout=30) for _ in range(3)]
        with connected(listener.port) as fourth:
            assert read_pdus(fourth) == []
        with connected(listener.port, "127.0.0.2") as other:
            establish(other)
            with connected(listener.port, "127.0.0.3") as late:
                late.sendall(encode_request())
                assert read_pdu(late).rejection == access.TOO_MANY
        for one in waiting:
            one.close()
        reasons = [reason for _, reason in witness.refused]
        assert reasons == ["too many connections without an association", "too many associations"]
        await_value(lambda: not [thread for thread in threading.enumerate() if "Acceptor" in thread.name])
        with connected(listener.port) as again:
            establish(again)


def test_a_check_of_the_port_is_no_attempt_and_noise_is_one(tmp_path: Path) -> None:
    with listening(tmp_path, Entrance()) as (listener, witness):
        with connected(listener.port):
            pass
        with connected(listener.port) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_pdus(stranger)
        await_value(lambda: witness.refused)
    assert [reason for _, reason in witness.refused] == ["sent no association request"]


def test_a_request_that_cannot_be_judged_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(AllowList, "judge", fail)
    with listening(tmp_path, Entrance(SITE)) as (listener, _), connected(listener.port) as peer:
        peer.sendall(encode_request("MR1"))
        assert read_pdu(peer).rejection == access.NO_REASON
