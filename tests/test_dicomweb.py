"""A DICOMweb server is reached by what the site file says and by nothing else."""

import dataclasses
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from requests import RequestException
from requests.exceptions import TooManyRedirects

from fusionnode.dicomweb import name_trouble, open_session
from fusionnode.settings import TlsSettings
from fusionnode.wiring import build_tls
from tests.support.archives import make_server_tls
from tests.support.certificates import Authority, make_authority
from tests.support.pacs import find_free_port


@dataclasses.dataclass
class _Server:
    url: str
    heads: list[dict[str, str]] = dataclasses.field(default_factory=list)


@contextmanager
def _serving(tls: ssl.SSLContext | None = None, send_on_to: str = "") -> Iterator[_Server]:
    """Answer everything, or send on whoever asks; keep what was in the heads of the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serving.heads.append(dict(self.headers))
            self.send_response(302 if send_on_to else 200)
            if send_on_to:
                self.send_header("Location", send_on_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    serving = _Server(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield serving
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


def test_only_the_authority_of_the_site_file_is_trusted_however_often_it_is_asked(authority: Authority) -> None:
    tls = build_tls(TlsSettings(ca=authority.own.certificate))
    with _serving(make_server_tls(authority.issue("server"))) as server, open_session(tls) as session:
        assert session.get(server.url, timeout=60).status_code == 200
    assert tls.cert_store_stats()["x509"] == 1, "no list of public authorities was added"


def test_a_stranger_s_certificate_is_told(authority: Authority, tmp_path: Path) -> None:
    tls = build_tls(TlsSettings(ca=make_authority(tmp_path).own.certificate))
    with (
        _serving(make_server_tls(authority.issue("server"))) as server,
        open_session(tls) as session,
        pytest.raises(RequestException) as caught,
    ):
        session.get(server.url, timeout=60)
    assert name_trouble(caught.value).startswith("its certificate is not accepted: ")
    assert server.heads == []


@pytest.mark.parametrize("checked", [True, False])
def test_the_name_in_the_certificate_counts_unless_the_site_file_says_otherwise(
    authority: Authority, checked: bool
) -> None:
    tls = build_tls(TlsSettings(ca=authority.own.certificate, check_host=checked))
    with _serving(make_server_tls(authority.issue("other", "DNS:elsewhere"))) as server, open_session(tls) as session:
        if checked:
            with pytest.raises(RequestException):
                session.get(server.url, timeout=60)
        else:
            assert session.get(server.url, timeout=60).status_code == 200


def test_nobody_is_followed_elsewhere_with_what_was_meant_for_one_server() -> None:
    with _serving() as elsewhere, _serving(send_on_to=elsewhere.url) as server:
        with open_session(access=("node", "secret")) as session, pytest.raises(TooManyRedirects):
            session.get(server.url, timeout=60)
        assert elsewhere.heads == []
    assert server.heads[0]["Authorization"].startswith("Basic ")


def test_the_environment_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login stray password stray\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{find_free_port()}")
    with _serving() as server, open_session() as session:
        assert session.get(server.url, timeout=60).status_code == 200
    assert "Authorization" not in server.heads[0]


def test_trouble_is_named_without_its_text() -> None:
    with pytest.raises(RequestException, match="SECRET") as caught:
        open_session().get(f"http://127.0.0.1:{find_free_port()}/studies?PatientID=SECRET", timeout=60)
    assert name_trouble(caught.value) == "ConnectionError"
