"""What others on the network could read or do is told, and nothing where they cannot."""

import os
from pathlib import Path

import pytest

from fusionnode.remarks import list_remarks
from fusionnode.settings import (
    ArchiveSettings,
    DestinationSettings,
    ListenerTlsSettings,
    PeerSettings,
    Settings,
    TlsSettings,
    WebDestinationSettings,
)
from fusionnode.trace_settings import HttpSettings
from tests.support.nodes import make_settings

TLS = ListenerTlsSettings(certificate=Path("node.pem"))
MUTUAL = ListenerTlsSettings(certificate=Path("node.pem"), ca=Path("ca.pem"))


def look(settings: Settings, **environment: str) -> dict[str, str]:
    told = dict(list_remarks(settings, environment))
    told.pop("user", None)
    return told


def test_nothing_is_remarked_of_a_node_that_only_its_own_machine_reaches(tmp_path: Path) -> None:
    peers = {"mr1": PeerSettings(ae_title="MR1")}
    settings = make_settings(tmp_path, peers=peers, http=HttpSettings(port=1), broker_url="redis://127.0.0.1:1/0")
    assert look(settings) == {}


def test_a_title_that_may_come_from_anywhere_is_remarked_unless_a_certificate_is_asked_for(tmp_path: Path) -> None:
    peers = {
        "mr1": PeerSettings(ae_title="MR1"),
        "ct": PeerSettings(ae_title="CT", networks=("10.0.0.0/8",)),
        "lab": PeerSettings(networks=("10.9.9.9",)),
    }
    settings = make_settings(tmp_path, host="0.0.0.0", peers=peers, tls=TLS)
    assert list(look(settings)) == ["peers"]
    assert look(settings)["peers"].startswith("mr1: ")
    assert look(settings.model_copy(update={"tls": MUTUAL})) == {}
    lenient = MUTUAL.model_copy(update={"require_certificate": False})
    assert list(look(settings.model_copy(update={"tls": lenient}))) == ["peers"]
    del peers["mr1"]
    assert look(make_settings(tmp_path, host="0.0.0.0", peers=peers, tls=TLS)) == {}


@pytest.mark.parametrize(("host", "is_open"), [("0.0.0.0", True), ("::", True), ("", True), ("::1", False)])
def test_a_listener_and_an_endpoint_that_others_reach_are_remarked(tmp_path: Path, host: str, is_open: bool) -> None:
    peers = {"lab": PeerSettings(networks=("10.9.9.9",))}
    settings = make_settings(tmp_path, host=host, peers=peers, http=HttpSettings(host=host, sweep_port=1))
    assert list(look(settings)) == (["tls", "http.host"] if is_open else [])
    silent = settings.model_copy(update={"http": HttpSettings(host=host)})
    assert "http.host" not in look(silent), "nothing is served"


def test_targets_on_other_hosts_that_are_spoken_to_in_plain_are_named(tmp_path: Path) -> None:
    far = {"ae_title": "PACS", "host": "pacs.example", "port": 104}
    destinations = {
        "plain": DestinationSettings.model_validate(far),
        "secured": DestinationSettings.model_validate({**far, "tls": TlsSettings()}),
        "near": DestinationSettings.model_validate({**far, "host": "127.0.0.1"}),
        "web": WebDestinationSettings(url="http://pacs.example/dicom-web"),
        "https": WebDestinationSettings(url="https://pacs.example/dicom-web"),
    }
    archives = {"old": ArchiveSettings.model_validate(far)}
    told = look(make_settings(tmp_path, destinations=destinations, archives=archives))
    assert list(told) == ["destinations.tls"]
    assert told["destinations.tls"].startswith("plain, web, old: ")


@pytest.mark.parametrize(
    ("url", "environment", "is_open"),
    [
        ("postgresql+psycopg://u:hunter2@db.example/n", {}, True),
        ("postgresql+psycopg://u:hunter2@db.example/n?sslmode=require", {}, True),
        ("postgresql+psycopg://u:hunter2@db.example/n?sslmode=verify-ca", {}, True),
        ("postgresql+psycopg://u:hunter2@db.example/n?sslmode=verify-full", {}, False),
        ("postgresql+psycopg://u:hunter2@db.example/n", {"PGSSLMODE": "verify-full"}, False),
        ("postgresql+psycopg://u:hunter2@127.0.0.1/n", {}, False),
        ("postgresql+psycopg://u@[::1]:5432/n", {}, False),
        ("postgresql+psycopg:///n", {}, False),
        ("postgresql+psycopg:///n", {"PGHOST": "db.example"}, True),
        ("postgresql+psycopg:///n?host=/run/postgresql", {}, False),
        ("postgresql+psycopg:///n?host=127.0.0.1:5432&host=db.example:5432", {}, True),
        ("", {}, False),
    ],
)
def test_a_database_elsewhere_is_remarked_unless_its_certificate_is_verified(
    tmp_path: Path, url: str, environment: dict[str, str], is_open: bool
) -> None:
    told = look(make_settings(tmp_path, database_url=url), **environment)
    assert list(told) == ["database_url"] * is_open
    assert "hunter2" not in str(told)
    assert ("db.example" in str(told)) is is_open


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("redis://:hunter2@broker.example:6379/0", True),
        ("rediss://:hunter2@broker.example:6379/0", False),
        ("rediss://:hunter2@broker.example:6379/0?ssl_cert_reqs=CERT_REQUIRED", False),
        ("rediss://:hunter2@broker.example:6379/0?ssl_cert_reqs=none", True),
        ("redis://:hunter2@[::1]:6379/0", False),
        ("unix:///run/redis.sock", False),
    ],
)
def test_a_broker_elsewhere_is_remarked_unless_its_certificate_is_verified(
    tmp_path: Path, url: str, is_open: bool
) -> None:
    told = look(make_settings(tmp_path, broker_url=url))
    assert list(told) == ["broker_url"] * is_open
    assert "hunter2" not in str(told)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as root")
def test_root_that_runs_the_node_is_remarked_and_root_that_looks_at_it_is_not(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    assert "user" in dict(list_remarks(settings))
    settings.spool.mkdir(exist_ok=True)
    os.chown(settings.spool, 65534, 65534)
    assert "user" not in dict(list_remarks(settings))
