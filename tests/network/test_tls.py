"""DICOM TLS outwards, against a real Orthanc and against sockets that show the wrong papers."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.dimse.node import Patience
from fusionnode.errors import DestinationUnreachable
from fusionnode.flow.ports import Delivery
from fusionnode.settings import TlsSettings
from fusionnode.wiring import build_tls
from tests.support.certificates import Authority, Certificate, make_authority
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.pacs import running_orthanc

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Certificate:
    return authority.issue("fusionnode")


def _make_sender(folder: Path, port: int, tls: TlsSettings | None) -> AssociationSender:
    context = build_tls(tls) if tls else None
    peer = Destination("pacs", "ORTHANC", "127.0.0.1", port, "FUSIONNODE", context)
    return AssociationSender(folder, {"pacs": peer}, Patience(5, 5, 5))


def _explain(sender: AssociationSender) -> str:
    with pytest.raises(DestinationUnreachable) as raised:
        sender.echo("pacs")
    return str(raised.value.facts["why"])


def test_orthanc_that_asks_for_a_certificate_takes_ours_and_nothing_else(
    tmp_path: Path, authority: Authority, ours: Certificate
) -> None:
    theirs, strangers = authority.issue("orthanc"), make_authority(tmp_path / "strangers", "stranger")
    configuration = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.certificate),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(authority.own.certificate),
    }
    datasets = make_mr_series(Layout(slices=3, rows=64, columns=64))
    owed = [
        Delivery("job", "pacs", ds.SOPClassUID, ds.SOPInstanceUID, path.name)
        for ds, path in zip(datasets, write_series(tmp_path / "spool", datasets), strict=True)
    ]
    good = TlsSettings(ca=authority.own.certificate, certificate=ours.certificate, key=ours.key)
    with running_orthanc(tmp_path / "orthanc", configuration) as pacs:
        sender = _make_sender(tmp_path / "spool", pacs.port, good)
        assert sender.echo("pacs") == "0000"
        assert [one.status for one in sender.send("pacs", owed)] == ["0000"] * 3
        assert len(pacs.fetch_series(str(datasets[0].SeriesInstanceUID))) == 3

        unasked = _make_sender(tmp_path, pacs.port, TlsSettings(ca=authority.own.certificate))
        assert "TLS" in _explain(unasked) or "no answer" in _explain(unasked)
        distrusted = _make_sender(tmp_path, pacs.port, good.model_copy(update={"ca": strangers.own.certificate}))
        assert "certificate is not accepted" in _explain(distrusted)
        impostor = strangers.issue("impostor")
        foreign = TlsSettings(ca=authority.own.certificate, certificate=impostor.certificate, key=impostor.key)
        assert _explain(_make_sender(tmp_path, pacs.port, foreign))
        assert _explain(_make_sender(tmp_path, pacs.port, None)), "in the clear"


@contextmanager
def _shaking_hands(papers: Certificate, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[int]:
    """A port where a server shakes hands with ``papers`` and hangs up."""
    import socket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(papers.certificate, papers.key)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                    with client, context.wrap_socket(client, server_side=True) as secured:
                        secured.recv(1)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("host", "days", "told"),
    [("DNS:elsewhere.example", 2, "127.0.0.1"), ("IP:127.0.0.1", -1, "expired")],
)
def test_papers_for_another_host_or_run_out_are_refused(
    tmp_path: Path, authority: Authority, host: str, days: int, told: str
) -> None:
    papers = authority.issue(f"server{days}", host, days)
    with _shaking_hands(papers) as port:
        why = _explain(_make_sender(tmp_path, port, TlsSettings(ca=authority.own.certificate)))
    assert "certificate is not accepted" in why
    assert told in why


def test_the_host_name_is_not_looked_at_where_the_site_says_so(tmp_path: Path, authority: Authority) -> None:
    papers = authority.issue("renamed", "DNS:elsewhere.example")
    with _shaking_hands(papers) as port:
        settings = TlsSettings(ca=authority.own.certificate, check_host=False)
        assert "certificate" not in _explain(_make_sender(tmp_path, port, settings))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_peer_that_knows_old_tls_only_is_refused(tmp_path: Path, authority: Authority) -> None:
    with _shaking_hands(authority.issue("old"), ssl.TLSVersion.TLSv1_1) as port:
        why = _explain(_make_sender(tmp_path, port, TlsSettings(ca=authority.own.certificate)))
    assert "no TLS connection" in why
