"""A probe that fails is a finding, never an exception, and secrets are not told."""

import tempfile
from pathlib import Path

import pytest

from fusionnode.demo.pacs import OrthancPacs, StoragePacs
from fusionnode.doctor import examine
from fusionnode.errors import FusionNodeError
from fusionnode.index.store import migrate
from fusionnode.settings import (
    ArchiveSettings,
    ListenerTlsSettings,
    PeerSettings,
    Settings,
    WebArchiveSettings,
    WebDestinationSettings,
)
from fusionnode.trace_settings import AuditSettings, HttpSettings
from fusionnode.traces.endpoint import Check, Checks, Endpoint
from tests.support.certificates import make_authority
from tests.support.nodes import make_settings, open_test_node, storage_pacs
from tests.support.pacs import find_dicomweb_root, find_free_port, running_orthanc


def _findings(settings: Settings) -> dict[str, tuple[bool | None, str]]:
    return {finding.subject: (finding.well, finding.words) for finding in examine(settings)}


def test_a_good_installation_is_well(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        assert isinstance(pacs, StoragePacs)
        open_test_node(tmp_path, pacs)
        findings = _findings(make_settings(tmp_path, pacs))
    assert {subject for subject, (well, _) in findings.items() if well is False} == set()
    assert "C-ECHO" in findings["destination pacs"][1]
    assert findings["torch"][1]


def test_everything_that_is_ill_is_told_in_one_go(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path,
        database_url="postgresql+psycopg://user:hunter2@127.0.0.1:1/none",
        broker_url="redis://:hunter2@127.0.0.1:1/0",
        pipelines=tmp_path / "missing",
        spool_reserve_mb=2**40,
    )
    findings = _findings(settings)
    ill = {subject for subject, (well, _) in findings.items() if well is False}
    assert ill == {"pipelines", "spool", "database", "broker", "destination pacs"}
    assert "hunter2" not in str(findings)


def test_who_can_send_is_told_and_that_anybody_can_is_ill(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ca")
    papers = authority.issue("node")
    tls = ListenerTlsSettings(certificate=papers.certificate, key=papers.key, ca=authority.own.certificate)
    peers = {
        "mr1": PeerSettings(ae_title="MR1", networks=("10.1.2.0/24", "fd00:1::/64")),
        "ct": PeerSettings(ae_title="CT"),
        "lab": PeerSettings(networks=("10.9.9.9",)),
    }
    well, words = _findings(make_settings(tmp_path, host="0.0.0.0"))["reach"]
    assert well is False
    assert "[peers.NAME]" in words
    assert _findings(make_settings(tmp_path))["reach"] == (True, "this machine alone can send, calling FUSIONNODE")
    assert _findings(make_settings(tmp_path, host="0.0.0.0", peers=peers, tls=tls))["reach"] == (
        True,
        "MR1 from 10.1.2.0/24 or fd00:1::/64, CT from anywhere, anybody from 10.9.9.9/32 can send, calling FUSIONNODE"
        " over TLS with a certificate of their own",
    )


def test_what_others_could_do_is_remarked_and_not_ill(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, host="0.0.0.0", peers={"ct": PeerSettings(ae_title="CT")})
    remarks = {finding.subject: finding.well for finding in examine(settings) if finding.is_remark}
    assert {"peers": None, "tls": None}.items() <= remarks.items()


def test_secrets_that_others_can_read_are_ill(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        secret = folder / "password"
        secret.write_text("hunter2")
        secret.chmod(0o644)
        spool = folder / "spool"
        spool.mkdir()
        spool.chmod(0o755)
        database = folder / "ledger.sqlite"
        migrate(f"sqlite:///{database}")
        database.chmod(0o644)
        web = WebDestinationSettings(url="http://127.0.0.1:1", user="node", password_file=secret)
        settings = make_settings(tmp_path, destinations={"web": web}, spool=spool, database_url=f"sqlite:///{database}")
        findings = _findings(settings)
    for subject in ("secrets", "spool", "database"):
        well, words = findings[subject]
        assert well is False
        assert "every user of this host" in words
    assert "hunter2" not in str(findings)


def test_certificates_that_run_out_are_ill_a_month_before(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ca")
    long, short = authority.issue("long", days=400), authority.issue("short", days=29)

    def look(**changes: Path) -> tuple[bool | None, str]:
        tls = ListenerTlsSettings(certificate=long.certificate, key=long.key).model_copy(update=changes)
        return _findings(make_settings(tmp_path, tls=tls))["certificates"]

    assert look()[0] is True
    assert str(long.certificate) in look()[1]
    for changes in ({"certificate": short.certificate}, {"ca": authority.own.certificate}):
        well, words = look(**changes)
        assert well is False
        assert "runs out on 20" in words
    # An authority of a bundle may run out as long as another does not.
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(short.certificate.read_text() + long.certificate.read_text())
    assert look(ca=bundle)[0] is True
    assert look(certificate=bundle)[0] is False


def test_the_audit_trail_is_ill_where_it_cannot_be_kept(tmp_path: Path) -> None:
    key = tmp_path / "audit.key"
    key.write_text("secret")
    assert "without a key" in _findings(make_settings(tmp_path))["audit"][1]
    well, words = _findings(make_settings(tmp_path, audit=AuditSettings(key_file=key)))["audit"]
    assert (well, "sealed with a key" in words) == (True, True)
    key.write_text("")
    assert _findings(make_settings(tmp_path, audit=AuditSettings(key_file=key)))["audit"][0] is False
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        assert _findings(make_settings(tmp_path, audit=AuditSettings(folder=Path(name))))["audit"][0] is False


def test_a_process_that_serves_http_is_asked_whether_it_is_ready(tmp_path: Path) -> None:
    def refuse() -> str:
        raise FusionNodeError("The disk is full.")

    def look(ready: dict[str, Check]) -> tuple[bool | None, str]:
        endpoint = Endpoint("127.0.0.1", 0, bytes, Checks({}), Checks(ready))
        endpoint.start()
        try:
            http = HttpSettings(port=endpoint.port, sweep_port=find_free_port())
            findings = _findings(make_settings(tmp_path, http=http, broker_url="redis://127.0.0.1:1/0"))
        finally:
            endpoint.stop()
        well, words = findings["http.sweep_port"]
        assert well is None, "neither well nor ill: it may not have been started, or be in another container"
        assert "does not run" in words
        return findings["http.port"]

    assert look({"spool": lambda: "1 MiB free"})[0] is True
    well, words = look({"spool": refuse})
    assert well is False
    assert "spool: The disk is full." in words
    assert _findings(make_settings(tmp_path))["http.port"] == (True, "none; nothing is served")


@pytest.mark.system
def test_a_dicomweb_server_is_asked_in_its_own_language(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "orthanc", {"DicomModalities": {"node": ["FUSIONNODE", "127.0.0.1", 1]}}) as pacs:
        url = find_dicomweb_root(pacs)
        destinations = {"pacs": WebDestinationSettings(url=url)}
        settings = make_settings(tmp_path, destinations=destinations, archives=_list_archives(pacs, url))
        findings = _findings(settings)
        # Greets, but answers no queries of those whom it does not know.
        findings["archive stranger"] = _findings(settings.model_copy(update={"ae_title": "STRANGER"}))["archive get"]
    assert findings["destination pacs"] == (True, f"{url} answers HTTP 200")
    there = f"ORTHANC at 127.0.0.1:{pacs.port} answers C-ECHO and C-FIND"
    assert findings["archive get"] == (True, f"{there}, takes C-GET")
    assert findings["archive move"] == (True, f"{there}, takes C-MOVE")
    assert findings["archive web"] == (True, f"{url} answers QIDO-RS")
    for name, why in (("lost", "404"), ("stranger", "C-FIND")):
        well, words = findings[f"archive {name}"]
        assert well is False
        assert why in words


def test_an_archive_that_is_away_is_ill(tmp_path: Path) -> None:
    port = find_free_port()
    archives = {
        "pacs": ArchiveSettings(ae_title="PACS", host="127.0.0.1", port=port),
        "web": WebArchiveSettings(url=f"http://127.0.0.1:{port}"),
    }
    findings = _findings(make_settings(tmp_path, archives=archives))
    for name in archives:
        well, words = findings[f"archive {name}"]
        assert well is False
        assert str(port) in words


def _list_archives(pacs: OrthancPacs, url: str) -> dict[str, ArchiveSettings | WebArchiveSettings]:
    here = ArchiveSettings(ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port)
    return {
        "get": here,
        "move": here.model_copy(update={"retrieve": "move"}),
        "web": WebArchiveSettings(url=url),
        "lost": WebArchiveSettings(url=f"{url}/nowhere"),
    }
