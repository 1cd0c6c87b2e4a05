"""Certificates that change while the listener runs, and handshakes that never end."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.intake.tls import FreshContext, read_subject, shake_hands
from fusionnode.settings import ListenerTlsSettings
from fusionnode.wiring import build_listener_tls
from tests.support.certificates import Authority, Certificate, make_authority

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    return authority.issue("node")


@pytest.fixture
def ends() -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        client, _ = server.accept()
    with peer, client:
        client.settimeout(5)
        yield client, peer


def _context(papers: Certificate, ca: Path | None = None) -> ssl.SSLContext:
    return build_listener_tls(ListenerTlsSettings(certificate=papers.certificate, key=papers.key, ca=ca))


def test_a_handshake_gives_a_connection_with_the_patience_it_had(ends: Ends, authority: Authority) -> None:
    client, peer = ends
    context = _context(authority.issue("server"), authority.own.certificate)
    theirs = ssl.create_default_context(cafile=authority.own.certificate)
    papers = authority.issue("scanner")
    theirs.load_cert_chain(papers.certificate, papers.key)
    secured: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: secured.append(theirs.wrap_socket(peer, server_hostname="127.0.0.1")))
    thread.start()
    with shake_hands(client, context, 5) as own:
        thread.join()
        secured[0].sendall(b"hello")
        assert own.recv(5) == b"hello"
        assert own.gettimeout() == 5
        assert read_subject(own) == "commonName=scanner"
    secured[0].close()


def test_a_connection_without_a_certificate_has_no_subject(ends: Ends) -> None:
    assert read_subject(ends[0]) == read_subject(None) == ""


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02"], ids=["silence", "half a record"])
def test_a_peer_that_does_not_shake_hands_times_out_and_is_closed(ends: Ends, ours: Certificate, sent: bytes) -> None:
    client, peer = ends
    peer.sendall(sent)
    with pytest.raises(TimeoutError, match="too long"):
        shake_hands(client, _context(ours), 0.1)
    peer.settimeout(5)
    assert peer.recv(100) == b""


def test_a_peer_that_trickles_through_the_handshake_times_out_too(ends: Ends, ours: Certificate) -> None:
    client, peer = ends
    over = threading.Event()

    def trickle() -> None:
        for byte in b"\x16\x03\x01\x02\x00" + bytes(500):
            if over.wait(0.02):
                return
            try:
                peer.send(bytes([byte]))
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    with pytest.raises(OSError, match=r"too long|SSL"):
        shake_hands(client, _context(ours), 0.2)
    over.set()
    thread.join()


def test_garbage_is_no_handshake(ends: Ends, ours: Certificate) -> None:
    client, peer = ends
    peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ssl.SSLError):
        shake_hands(client, _context(ours), 5)


def _replace(papers: Certificate, by: Certificate) -> None:
    for old, new in ((papers.certificate, by.certificate), (papers.key, by.key)):
        fresh = old.with_suffix(".new")
        fresh.write_bytes(new.read_bytes())
        os.replace(fresh, old)  # noqa: PTH105 - as certbot does


def test_new_files_make_a_new_context_and_broken_ones_keep_the_old(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    papers = Certificate(tmp_path / "node.pem", tmp_path / "node.key")
    _replace(papers, authority.issue("first"))
    fresh = FreshContext(lambda: _context(papers), [papers.certificate, papers.key])
    first = fresh()
    assert fresh() is first
    papers.key.write_text("half written")
    assert fresh() is first
    assert "old ones stay in force" in caplog.text
    papers.key.unlink()
    assert fresh() is first
    _replace(papers, authority.issue("second"))
    second = fresh()
    assert second is not first
    assert fresh() is second


def test_files_that_are_no_good_from_the_start_are_told(tmp_path: Path) -> None:
    papers = Certificate(tmp_path / "node.pem", tmp_path / "node.key")
    with pytest.raises(SettingsInvalid, match=r"node\.pem"):
        FreshContext(lambda: _context(papers), [papers.certificate])
