"""DICOM TLS inwards: whose certificate is accepted, by real peers of three kinds, and what a handshake may not do."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.errors import DestinationUnreachable
from fusionnode.flow.observing import RemotePeer, Unobserved
from fusionnode.flow.ports import Delivery
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from fusionnode.settings import ListenerTlsSettings, TlsSettings
from fusionnode.wiring import build_entrance, build_tls
from tests.support.certificates import Authority, Certificate, make_authority
from tests.support.commitments import send_report
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.nodes import make_settings
from tests.support.running import await_value
from tests.support.tools import require_tool
from tests.support.wire import connected, encode_request, read_pdus

FATES = [("good", True), ("none", False), ("expired", False), ("wrong CA", False)]

pytestmark = pytest.mark.system


class Witness(Unobserved):
    def __init__(self) -> None:
        self.opened: list[RemotePeer] = []
        self.refused: list[str] = []

    def association_opened(self, association: str, peer: RemotePeer) -> None:
        self.opened.append(peer)

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        self.refused.append(reason)


@dataclass(frozen=True)
class Papers:
    """An authority, and certificates good and bad."""

    authority: Authority
    node: Certificate
    clients: dict[str, Certificate]


@dataclass(frozen=True)
class Site:
    """A listener that asks for certificates of the authority."""

    papers: Papers
    listener: Listener
    spool: Spool
    witness: Witness


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    authority, strangers = make_authority(folder / "ca"), make_authority(folder / "strangers", "stranger")
    clients = {
        "good": authority.issue("scanner"),
        "expired": authority.issue("old", days=-1),
        "wrong CA": strangers.issue("impostor"),
    }
    return Papers(authority, authority.issue("node"), clients)


@pytest.fixture
def site(papers: Papers, tmp_path: Path) -> Iterator[Site]:
    tls = ListenerTlsSettings(
        certificate=papers.node.certificate, key=papers.node.key, ca=papers.authority.own.certificate
    )
    spool, witness = Spool(tmp_path / "spool", reserve_bytes=0), Witness()
    listener = Listener("FUSIONNODE", "127.0.0.1", 0, spool, build_entrance(make_settings(tmp_path, tls=tls)))
    listener.observer = witness
    listener.start()
    yield Site(papers, listener, spool, witness)
    listener.stop(grace_seconds=5)


@pytest.fixture
def witness(site: Site) -> Witness:
    return site.witness


def _make_sender(site: Site, folder: Path, papers: Certificate | None, **changes: object) -> AssociationSender:
    facts = {"ca": site.papers.authority.own.certificate, **changes}
    if papers:
        facts |= {"certificate": papers.certificate, "key": papers.key}
    node = Destination(
        "node", "FUSIONNODE", "127.0.0.1", site.listener.port, "SCANNER", build_tls(TlsSettings(**facts))
    )
    return AssociationSender(folder, {"node": node})


def test_a_series_comes_in_with_a_good_certificate_and_its_subject_is_told(
    site: Site, witness: Witness, tmp_path: Path
) -> None:
    datasets = make_mr_series(Layout(slices=3, rows=300, columns=300))
    owed = [
        Delivery("job", "node", ds.SOPClassUID, ds.SOPInstanceUID, path.name)
        for ds, path in zip(datasets, write_series(tmp_path, datasets), strict=True)
    ]
    outcomes = _make_sender(site, tmp_path, site.papers.clients["good"]).send("node", owed)
    assert [one.status for one in outcomes] == ["0000"] * 3
    assert len(list(site.spool.list_arrivals())) >= 3
    assert [(peer.ae_title, peer.certificate) for peer in witness.opened] == [("SCANNER", "commonName=scanner")]


@pytest.mark.parametrize(
    ("shown", "told"),
    [("none", "peer did not return"), ("expired", "expired"), ("wrong CA", "unable to get local issuer")],
)
def test_no_certificate_or_a_bad_one_is_refused_in_the_handshake(
    site: Site, witness: Witness, tmp_path: Path, shown: str, told: str
) -> None:
    sender = _make_sender(site, tmp_path, site.papers.clients.get(shown))
    with pytest.raises(DestinationUnreachable):
        sender.echo("node")
    await_value(lambda: witness.refused)
    assert witness.opened == []
    assert told in witness.refused[0]


def test_a_sender_turns_away_a_listener_with_papers_of_another_host(
    site: Site, witness: Witness, tmp_path: Path
) -> None:
    elsewhere = site.papers.authority.issue("elsewhere", "DNS:elsewhere.example")
    keep = tmp_path / "keep"
    keep.mkdir()
    with _papers_replaced(site, elsewhere, keep):
        with pytest.raises(DestinationUnreachable) as refusal:
            _make_sender(site, tmp_path, site.papers.clients["good"]).echo("node")
        assert "certificate is not accepted" in str(refusal.value.facts["why"])
        assert _make_sender(site, tmp_path, site.papers.clients["good"], check_host=False).echo("node") == "0000"
    assert _make_sender(site, tmp_path, site.papers.clients["good"]).echo("node") == "0000", "renewed without a restart"
    assert len(witness.opened) == 2


@contextmanager
def _papers_replaced(site: Site, by: Certificate, keep: Path) -> Iterator[None]:
    pairs = [(site.papers.node.certificate, by.certificate), (site.papers.node.key, by.key)]
    for old, new in pairs:
        shutil.copy(old, keep)
        _swap(new, old)
    yield
    for old, _ in pairs:
        _swap(keep / old.name, old)


def _swap(source: Path, target: Path) -> None:
    fresh = target.with_suffix(".fresh")
    shutil.copy(source, fresh)
    fresh.rename(target)


def test_dicom_without_tls_is_refused(site: Site, witness: Witness) -> None:
    with connected(site.listener.port) as peer:
        peer.sendall(encode_request("SCANNER", "FUSIONNODE"))
        assert read_pdus(peer) == []
    await_value(lambda: witness.refused)
    assert witness.refused == ["TLS: wrong version number"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("wrong", ["TLS 1.1", "a suite without forward secrecy"])
def test_old_versions_and_weak_suites_are_refused(site: Site, witness: Witness, wrong: str) -> None:
    context = ssl.create_default_context(cafile=site.papers.authority.own.certificate)
    context.load_cert_chain(site.papers.clients["good"].certificate, site.papers.clients["good"].key)
    context.maximum_version = ssl.TLSVersion.TLSv1_1 if wrong == "TLS 1.1" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0" if wrong == "TLS 1.1" else "AES128-GCM-SHA256")
    with connected(site.listener.port) as peer, pytest.raises(OSError, match=r"."):
        context.wrap_socket(peer, server_hostname="127.0.0.1")
    await_value(lambda: witness.refused)
    assert witness.refused[0] in ("TLS: unsupported protocol", "TLS: no shared cipher")


@pytest.mark.parametrize(("shown", "served"), FATES)
def test_openssl_is_let_in_with_a_good_certificate_only(site: Site, witness: Witness, shown: str, served: bool) -> None:
    command = [require_tool("openssl"), "s_client", "-connect", f"127.0.0.1:{site.listener.port}", "-quiet"]
    command += ["-CAfile", str(site.papers.authority.own.certificate), "-verify_return_error"]
    if shown in site.papers.clients:
        command += ["-cert", str(site.papers.clients[shown].certificate), "-key", str(site.papers.clients[shown].key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(encode_request("SCANNER", "FUSIONNODE"))
        with suppress(BrokenPipeError):
            process.stdin.flush()
        answer = process.stdout.read(2)
        process.kill()
        said = process.stderr.read()
    assert (answer == b"\x02\0") is served, said.decode()
    assert (b"alert" in said) is not served
    await_value(lambda: witness.opened if served else witness.refused)
    assert not (witness.refused if served else witness.opened)


@pytest.mark.parametrize(("shown", "served"), FATES)
def test_dcmtk_stores_with_a_good_certificate_only(
    site: Site, witness: Witness, tmp_path: Path, shown: str, served: bool
) -> None:
    [ds] = make_mr_series(Layout(slices=1, rows=32, columns=32))
    [path] = write_series(tmp_path, [ds])
    command = [require_tool("storescu"), "-aec", "FUSIONNODE", "+cf", str(site.papers.authority.own.certificate)]
    if shown in site.papers.clients:
        command += ["+tls", str(site.papers.clients[shown].key), str(site.papers.clients[shown].certificate)]
    else:
        command += ["+tla"]
    command += ["127.0.0.1", str(site.listener.port), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) is served, done.stderr
    assert bool(site.spool.find_files(ds.SOPInstanceUID)) is served
    assert bool(witness.refused) is not served


def test_a_commitment_report_comes_in_over_tls(site: Site) -> None:
    context = build_tls(
        TlsSettings(
            ca=site.papers.authority.own.certificate,
            certificate=site.papers.clients["good"].certificate,
            key=site.papers.clients["good"].key,
        )
    )
    report, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, "2.25.8"
    report.TransactionUID, report.ReferencedSOPSequence = "2.25.7", [item]
    assert send_report(site.listener.port, report, tls=context) == 0
    assert len(list((site.spool.root / "reports").glob("*.json"))) == 1


def test_peers_that_hang_in_the_handshake_keep_nobody_waiting(site: Site, witness: Witness, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for sent in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01") * 8:
            stack.enter_context(connected(site.listener.port)).sendall(sent)
        assert _make_sender(site, tmp_path, site.papers.clients["good"]).echo("node") == "0000"
