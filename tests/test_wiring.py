"""The edges are put together from the site's settings, and a wrong site stops at start-up."""

import json
import ssl
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch
from pydantic import SecretStr

from fusionnode.domain.model import ModelCard
from fusionnode.errors import (
    DestinationUnreachable,
    FusionNodeError,
    ModelUnavailable,
    ModelUnknown,
    PipelineInvalid,
    SettingsInvalid,
)
from fusionnode.fusion.cards import CARDS
from fusionnode.index.store import migrate
from fusionnode.intake.access import parse_address
from fusionnode.retrieval.dicomweb import WebArchive
from fusionnode.retrieval.dimse import DimseArchive, Method
from fusionnode.settings import (
    DestinationSettings,
    ListenerTlsSettings,
    PeerSettings,
    TlsSettings,
    WebDestinationSettings,
)
from fusionnode.trace_settings import AuditSettings
from fusionnode.wiring import (
    build_archive,
    build_entrance,
    build_listener,
    build_sender,
    build_tls,
    build_watcher,
    check_secrets,
    find_shared,
    load_pipelines,
    name_worker,
    open_fuser,
    open_node,
)
from tests.support.certificates import Authority, make_authority
from tests.support.nodes import make_settings


def test_open_node_makes_the_spool_and_the_ledger(tmp_path: Path) -> None:
    node = open_node(make_settings(tmp_path))
    assert node.ledger.list_jobs() == []
    assert (tmp_path / "spool" / "arrivals").is_dir()


def test_open_node_with_an_unknown_destination_stops_at_start_up(tmp_path: Path) -> None:
    with pytest.raises(PipelineInvalid, match="pacs"):
        open_node(make_settings(tmp_path, destinations={}))
    assert not (tmp_path / "spool").exists()


def test_open_node_with_a_database_nobody_knows_stops_at_start_up(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid):
        open_node(make_settings(tmp_path, database_url="oracle://nowhere"))


def test_load_pipelines_of_an_empty_folder_says_which(tmp_path: Path) -> None:
    with pytest.raises(PipelineInvalid, match=tmp_path.name):
        load_pipelines(make_settings(tmp_path, pipelines=tmp_path), None)


def test_find_shared_finds_what_comes_with_the_project() -> None:
    assert (find_shared("pipelines") / "mr-pt.yaml").is_file()
    assert (find_shared("dicom_samples") / "MANIFEST.toml").is_file()


def test_open_fuser_finds_a_rule_by_name_and_by_identifier() -> None:
    assert open_fuser("laplacian").card is open_fuser("laplacian@1").card


def test_open_fuser_refuses_a_name_nobody_has() -> None:
    with pytest.raises(ModelUnknown, match="magic"):
        open_fuser("magic")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_wanted_and_not_there_is_a_mistake_of_the_site() -> None:
    with pytest.raises(SettingsInvalid, match="GPU"):
        open_fuser("laplacian", "cuda")


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_open_fuser_opens_every_fuser_that_is_said_to_be_available_and_no_other(card: ModelCard) -> None:
    if card.available:
        assert open_fuser(card.name).card is card
    else:
        with pytest.raises(ModelUnavailable, match="No trained weights"):
            open_fuser(card.name)


def test_workers_of_one_process_have_names_of_their_own() -> None:
    assert name_worker("fuse") != name_worker("send")


def test_an_archive_is_opened_by_its_name_in_the_language_it_speaks(tmp_path: Path) -> None:
    archives = {
        "get": {"ae_title": "A", "host": "h", "port": 104},
        "move": {"ae_title": "A", "host": "h", "port": 104, "retrieve": "move", "move_to": "BATCH"},
        "web": {"url": "https://pacs.example/dicom-web", "user": "u", "password": "p"},
    }
    settings = make_settings(tmp_path, archives=archives)
    get, move, web = (build_archive(settings, name).archive for name in archives)
    assert isinstance(get, DimseArchive)
    assert isinstance(move, DimseArchive)
    assert (get.method, get.move_to, move.method, move.move_to) == (Method.GET, "FUSIONNODE", Method.MOVE, "BATCH")
    assert isinstance(web, WebArchive)
    with pytest.raises(SettingsInvalid, match="get, move, web"):
        build_archive(settings, "nowhere")


PACS = {"ae_title": "PACS", "host": "127.0.0.1", "port": 1}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


def test_tls_is_verified_and_of_1_2_or_later_whatever_the_site_says(authority: Authority) -> None:
    for settings in (TlsSettings(), TlsSettings(ca=authority.own.certificate, check_host=False)):
        context = build_tls(settings)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
        assert context.check_hostname is settings.check_host
    trusted = build_tls(TlsSettings(ca=authority.own.certificate)).get_ca_certs()
    assert [dict(pair for [pair] in one["subject"])["commonName"] for one in trusted] == ["ca"], "and nobody else"


@pytest.mark.parametrize("wrong", ["missing authority", "no authority", "missing key", "foreign key", "locked key"])
def test_files_that_make_no_tls_stop_the_node_and_are_named(authority: Authority, tmp_path: Path, wrong: str) -> None:
    ours, text = authority.issue("ours"), tmp_path / "text.pem"
    text.write_text("no certificate")
    locked = tmp_path / "locked.key"
    command = ["openssl", "rsa", "-in", str(ours.key), "-aes128", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    settings = {
        "missing authority": TlsSettings(ca=tmp_path / "gone.pem"),
        "no authority": TlsSettings(ca=text),
        "missing key": TlsSettings(certificate=ours.certificate, key=tmp_path / "gone.key"),
        "foreign key": TlsSettings(certificate=ours.certificate, key=authority.own.key),
        "locked key": TlsSettings(certificate=ours.certificate, key=locked),
    }[wrong]
    with pytest.raises(SettingsInvalid, match=r"pem|key"):
        build_tls(settings)
    site = make_settings(tmp_path, destinations={"pacs": DestinationSettings(**PACS, tls=settings)})
    with pytest.raises(SettingsInvalid):
        open_node(site)
    assert not (tmp_path / "spool").exists()


def test_a_sender_is_built_for_every_kind_of_destination(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    web = WebDestinationSettings(url="https://127.0.0.1:1/dicom-web", user="node", password_file=secret)
    destinations = {"pacs": DestinationSettings(**PACS, commitment=True), "web": web}
    sender = build_sender(make_settings(tmp_path, destinations=destinations))
    assert sender.offers_commitment("pacs")
    assert not sender.offers_commitment("web")
    for name in destinations:
        with pytest.raises(DestinationUnreachable, match=name):
            sender.echo(name)


def test_a_password_that_cannot_be_read_stops_the_node_and_only_its_file_is_named(tmp_path: Path) -> None:
    web = WebDestinationSettings(url="http://127.0.0.1:1", user="node", password_file=tmp_path / "gone")
    with pytest.raises(SettingsInvalid, match=r"of destination web cannot be read from .*gone"):
        build_sender(make_settings(tmp_path, destinations={"web": web}))
    archive = {"url": "http://127.0.0.1:1", "user": "node", "password_file": tmp_path / "gone"}
    with pytest.raises(SettingsInvalid, match=r"of archive web cannot be read from .*gone"):
        build_archive(make_settings(tmp_path, archives={"web": archive}), "web")


def test_a_listener_that_anybody_can_reach_does_not_start_and_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"\[peers\.NAME\]"):
        build_listener(make_settings(tmp_path, host="0.0.0.0"))
    assert not (tmp_path / "spool").exists()
    for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"):
        build_listener(make_settings(tmp_path, host=host))
    build_listener(make_settings(tmp_path, host="::", peers={"lab": PeerSettings(networks=("10.0.0.0/8",))}))


def test_the_listener_lets_in_whom_the_site_names(tmp_path: Path) -> None:
    peers = {"mr1": PeerSettings(ae_title="MR1", networks=("10.1.2.0/24", "::ffff:10.7.0.0/112"))}
    entrance = build_entrance(make_settings(tmp_path, peers=peers, max_associations=5, max_associations_per_address=3))
    mapped = parse_address("::ffff:10.7.1.1")
    assert entrance.allowed.judge(mapped, "MR1", "FUSIONNODE") is None
    assert entrance.allowed.judge(mapped, "MR1", "OTHER") is not None
    assert entrance.allowed.judge(mapped, "MR2", "FUSIONNODE") is not None
    assert (entrance.limits.max_associations, entrance.limits.max_associations_per_address) == (5, 3)
    assert entrance.context is None
    anyhow = build_entrance(make_settings(tmp_path, require_called_ae=False))
    assert anyhow.allowed.judge(mapped, "X", "OTHER") is None


def test_the_listener_s_tls_is_of_1_2_or_later_with_forward_secrecy_and_asks_for_certificates(
    authority: Authority, tmp_path: Path
) -> None:
    ours, ca = authority.issue("listener"), authority.own.certificate
    modes = {
        ssl.CERT_NONE: ListenerTlsSettings(certificate=ours.certificate, key=ours.key),
        ssl.CERT_REQUIRED: ListenerTlsSettings(certificate=ours.certificate, key=ours.key, ca=ca),
        ssl.CERT_OPTIONAL: ListenerTlsSettings(
            certificate=ours.certificate, key=ours.key, ca=ca, require_certificate=False
        ),
    }
    for mode, tls in modes.items():
        entrance = build_entrance(make_settings(tmp_path, tls=tls))
        assert entrance.context is not None
        context = entrance.context()
        assert context.verify_mode is mode
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    for either in (context, build_tls(TlsSettings(ca=ca))):
        suites = {one["name"] for one in either.get_ciphers() if one["protocol"] != "TLSv1.3"}
        assert suites == {f"ECDHE-{s}-AES{n}" for s in ("RSA", "ECDSA") for n in ("128-GCM-SHA256", "256-GCM-SHA384")}


@pytest.mark.parametrize("wrong", ["missing", "foreign key"])
def test_a_listener_whose_certificate_cannot_be_used_does_not_start(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    ours = authority.issue("broken")
    tls = ListenerTlsSettings(
        certificate=tmp_path / "gone.pem" if wrong == "missing" else ours.certificate, key=authority.own.key
    )
    with pytest.raises(SettingsInvalid, match="pem"):
        build_listener(make_settings(tmp_path, tls=tls))


@pytest.mark.parametrize("exposed", ["key", "password_file", "spool", "database"])
def test_a_node_does_not_start_while_others_can_read_what_is_secret(
    authority: Authority, tmp_path: Path, exposed: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = folder / "secret"
        if exposed == "spool":
            path.mkdir()
        elif exposed == "database":
            migrate(f"sqlite:///{path}")
        else:
            path.write_bytes(authority.own.key.read_bytes())
        path.chmod(0o755 if exposed == "spool" else 0o644)
        web = WebDestinationSettings(url="http://127.0.0.1:1", user="u", password_file=path)
        tls = TlsSettings(certificate=authority.own.certificate, key=path)
        changes = {
            "key": {"destinations": {"pacs": DestinationSettings(**PACS, tls=tls)}},
            "password_file": {"destinations": {"pacs": web}},
            "spool": {"spool": path},
            "database": {"database_url": f"sqlite:///{path}"},
        }[exposed]
        settings = make_settings(tmp_path, **changes)
        with pytest.raises(SettingsInvalid, match="every user of this host") as refusal:
            open_node(settings)
        assert str(path) in str(refusal.value)
        path.chmod(0o750 if exposed == "spool" else 0o640)
        open_node(settings)


@pytest.mark.parametrize("trusted", ["certificate", "ca"])
def test_a_node_does_not_start_while_others_can_change_whom_it_trusts(
    authority: Authority, tmp_path: Path, trusted: str
) -> None:
    ours = authority.issue("ours")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "open.pem"
        path.write_bytes((ours if trusted == "certificate" else authority.own).certificate.read_bytes())
        files = {"certificate": ours.certificate, "key": ours.key, "ca": authority.own.certificate, trusted: path}
        sends = make_settings(tmp_path, destinations={"pacs": DestinationSettings(**PACS, tls=TlsSettings(**files))})
        listens = make_settings(tmp_path, tls=ListenerTlsSettings(**files))
        path.chmod(0o646)
        for start in (lambda: open_node(sends), lambda: build_listener(listens)):
            with pytest.raises(SettingsInvalid, match="can be changed by every user of this host") as refusal:
                start()
            assert str(path) in str(refusal.value)
        path.chmod(0o644)
        assert (check_secrets(sends), check_secrets(listens)) == (1, 1)


def test_the_trail_makes_a_spool_that_is_closed_to_others(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with build_watcher(settings, "serve") as watcher:
        assert watcher.look_after() == ""
    assert [stat.S_IMODE(path.stat().st_mode) for path in (settings.spool, settings.spool / "audit")] == [0o700, 0o700]


def test_a_configuration_is_told_by_hashes_without_its_secrets(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, audit=AuditSettings(key=SecretStr("top-secret")))
    with build_watcher(settings, "serve"):
        pass
    [path] = (settings.spool / "audit").iterdir()
    start = next(one for one in map(json.loads, path.read_text().splitlines()) if "message" in one)
    assert {"version", "site SHA-256", "mr-pt.yaml SHA-256"} <= set(start["objects"][0])
    assert "top-secret" not in path.read_text()


def test_no_secret_is_logged_or_told_when_nothing_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    web = WebDestinationSettings(url="https://127.0.0.1:1", user="node", password=SecretStr("hunter2"))
    settings = make_settings(
        tmp_path,
        destinations={"pacs": web},
        database_url="postgresql+psycopg://node:hunter2@127.0.0.1:1/none",
        broker_url="redis://:hunter2@127.0.0.1:1/0",
    )
    told = ""
    for ask in (lambda: open_node(settings), lambda: build_sender(settings).echo("pacs")):
        with pytest.raises(FusionNodeError) as refusal:
            ask()
        told += f"{refusal.value} {refusal.value.facts}"
    build_listener(settings)
    assert "127.0.0.1" in told
    assert "hunter2" not in told + caplog.text + repr(settings) + str(settings.model_dump())
