"""The site file: every mistake is told at once, and the environment wins."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.settings import (
    ArchiveSettings,
    DestinationSettings,
    Settings,
    WebArchiveSettings,
    WebDestinationSettings,
    load_settings,
)

REPOSITORY = Path(__file__).resolve().parent.parent


def test_load_settings_without_a_file_gives_a_loopback_node() -> None:
    settings = load_settings(None)
    assert settings.host == "127.0.0.1"
    assert settings.ledger_url.startswith("sqlite:///")


def test_load_settings_reports_every_mistake_at_once(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('ae_title = "FAR TOO LONG A TITLE FOR AN AE"\nport = 99999\ncolour = "blue"\n')
    with pytest.raises(SettingsInvalid) as refusal:
        load_settings(site)
    mistakes = " ".join(refusal.value.facts["mistakes"])  # type: ignore[arg-type]
    assert all(word in mistakes for word in ("ae_title", "port", "colour"))


@pytest.mark.parametrize("content", ["not = [toml", "- a\n- list\n", "\x00\x01"])
def test_load_settings_of_a_broken_file_names_the_file(tmp_path: Path, content: str) -> None:
    for suffix in (".toml", ".yaml"):
        site = tmp_path / f"site{suffix}"
        site.write_text(content)
        with pytest.raises(SettingsInvalid, match=site.name):
            load_settings(site)


def test_load_settings_of_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load_settings(tmp_path / "nowhere.toml")


def test_load_settings_lets_the_environment_win_even_inside_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text("port = 104\n[settle]\nidle_seconds = 3\nslow_seconds = 4\n")
    monkeypatch.setenv("FUSIONNODE_PORT", "11113")
    monkeypatch.setenv("FUSIONNODE_SETTLE__IDLE_SECONDS", "7")
    settings = load_settings(site)
    assert (settings.port, settings.settle.idle_seconds, settings.settle.slow_seconds) == (11113, 7, 4)


def test_load_settings_of_an_environment_that_cannot_be_parsed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSIONNODE_DESTINATIONS", "pacs")
    with pytest.raises(SettingsInvalid, match="destinations"):
        load_settings(None)


def test_load_settings_takes_paths_from_where_the_file_lies(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("spool: here\npipelines: there\n")
    settings = load_settings(site)
    assert (settings.spool, settings.pipelines) == (tmp_path / "here", tmp_path / "there")


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSIONNODE_DATABASE_URL", "postgresql+psycopg://user:hunter2@db/fusionnode")
    settings = load_settings(None)
    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.ledger_url


def test_the_site_file_that_comes_with_the_project_is_good() -> None:
    settings = load_settings(REPOSITORY / "deploy" / "site.toml")
    assert settings.destinations["pacs"].ae_title == "ORTHANC"


SUMMER, WINTER = datetime(2026, 7, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_site_s_clocks_are_those_of_its_time_zone() -> None:
    settings = Settings(time_zone="Europe/Paris")
    assert [moment.astimezone(settings.find_zone(moment)).hour for moment in (WINTER, SUMMER)] == [13, 14]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the host's zone cannot be set here")
def test_without_a_time_zone_the_clocks_are_the_host_s(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    try:
        monkeypatch.setenv("TZ", "America/New_York")
        time.tzset()
        assert [moment.astimezone(settings.find_zone(moment)).hour for moment in (WINTER, SUMMER)] == [7, 8]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_lease_of_more_than_a_day_is_a_mistake(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[work]\nlease_seconds = 86401\n")
    with pytest.raises(SettingsInvalid, match="lease_seconds"):
        load_settings(site)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "+0100"])
def test_a_time_zone_nobody_knows_is_a_mistake(tmp_path: Path, name: str) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f'time_zone = "{name}"\n')
    with pytest.raises(SettingsInvalid, match=r"time_zone: .*no such time zone"):
        load_settings(site)


def test_archives_are_dicom_nodes_or_web_servers_with_files_named_from_the_site_file(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        '[archives.a]\nae_title = "A"\nhost = "h"\nport = 104\nretrieve = "move"\n[archives.a.tls]\nca = "ca.pem"\n'
        '[archives.w]\nurl = "https://pacs.example/dicom-web/"\n'
    )
    archives = load_settings(site).archives
    assert isinstance(archives["a"], ArchiveSettings)
    assert archives["a"].tls is not None
    assert (archives["a"].retrieve, archives["a"].tls.ca) == ("move", tmp_path / "ca.pem")
    assert isinstance(archives["w"], WebArchiveSettings)
    assert archives["w"].url == "https://pacs.example/dicom-web"


def test_an_archive_commits_to_nothing_and_fetches_in_known_ways(tmp_path: Path) -> None:
    for line in ('retrieve = "push"', "commitment = true"):
        site = tmp_path / "site.toml"
        site.write_text(f'[archives.a]\nae_title = "A"\nhost = "h"\nport = 104\n{line}\n')
        with pytest.raises(SettingsInvalid, match="archives"):
            load_settings(site)


def test_destinations_are_nodes_or_servers_and_their_files_lie_beside_the_site_file(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        '[destinations.pacs]\nae_title = "PACS"\nhost = "h"\nport = 104\ncommitment = true\n'
        'tls = {ca = "ca.pem", certificate = "/etc/ours.pem", key = "ours.key"}\n'
        '[destinations.web]\nurl = "https://web.example/dicom-web/"\nuser = "node"\npassword_file = "secret"\n'
    )
    destinations = load_settings(site).destinations
    pacs, web = destinations["pacs"], destinations["web"]
    assert isinstance(pacs, DestinationSettings)
    assert isinstance(web, WebDestinationSettings)
    assert pacs.tls is not None
    assert (pacs.tls.ca, pacs.tls.certificate) == (tmp_path / "ca.pem", Path("/etc/ours.pem"))
    assert pacs.commitment
    assert (web.url, web.password_file) == ("https://web.example/dicom-web", tmp_path / "secret")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('url = "ftp://web.example"', "expected http"),
        ('url = "https://node:hunter2@web.example"', "no password"),
        ('url = "https://web.example/studies?key=hunter2"', "no query"),
        ('url = "http://web.example"\nuser = "node"', "clear text"),
        ('url = "http://web.example"\ntls = {ca = "ca.pem"}', "https"),
        ('url = "https://web.example"\ncommitment = true', "commitment"),
        ('ae_title = "PACS"\nhost = "h"\nport = 1\ntls = {key = "ours.key"}', "certificate"),
        ('ae_title = "PACS"\nhost = "h"\nport = 1\nurl = "https://web.example"', "ae_title"),
        ('host = "h"\nport = 1', "ae_title"),
    ],
)
def test_destinations_that_make_no_sense_are_told_without_their_secrets(tmp_path: Path, table: str, told: str) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f"[destinations.one]\n{table}\n")
    with pytest.raises(SettingsInvalid, match=told) as refusal:
        load_settings(site)
    assert "hunter2" not in str(refusal.value)


def test_a_password_comes_from_the_environment_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[destinations.web]\nurl = "https://web.example"\nuser = "node"\n')
    monkeypatch.setenv("FUSIONNODE_DESTINATIONS__WEB__PASSWORD", "hunter2")
    settings = load_settings(site)
    web = settings.destinations["web"]
    assert isinstance(web, WebDestinationSettings)
    assert web.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_peers_are_named_by_title_networks_or_both(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        'host = "0.0.0.0"\n[peers.mr1]\nae_title = "MR1"\nnetworks = ["10.1.2.0/24", "fd00:1::1"]\n'
        '[peers.pet]\nae_title = "PET"\n[tls]\ncertificate = "node.pem"\nca = "ca.pem"\n'
    )
    settings = load_settings(site)
    settings.check_reach()
    assert settings.peers["mr1"].networks == ("10.1.2.0/24", "fd00:1::1/128")
    assert settings.peers["pet"].networks == ()
    assert settings.tls is not None
    assert (settings.tls.certificate, settings.tls.require_certificate) == (tmp_path / "node.pem", True)
    assert list(settings.list_secret_files()) == [tmp_path / "node.pem"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", r"peers\.one.*ae_title, networks or both"),
        ('networks = ["10.1.2.5/24"]', "10.1.2.0/24 or"),
        ('networks = ["scanner.example"]', "a network such as"),
        ('ae_title = "FAR TOO LONG A TITLE"', "ae_title"),
        ('title = "MR1"', "title"),
    ],
)
def test_peers_that_make_no_sense_are_told(tmp_path: Path, table: str, told: str) -> None:
    site = tmp_path / "site.toml"
    site.write_text(f"[peers.one]\n{table}\n")
    with pytest.raises(SettingsInvalid, match=told):
        load_settings(site)


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "10.0.0.5", "node.example", "localhost.example"])
def test_a_host_that_others_can_reach_needs_peers(host: str) -> None:
    settings = Settings(host=host)
    assert not settings.is_on_loopback
    with pytest.raises(SettingsInvalid, match="any host"):
        settings.check_reach()


def test_no_secret_is_in_what_is_said_of_a_wrong_site(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        'port = 0.5\ndatabase_url = "postgresql+psycopg://u:hunter2@db/x"\nbroker_url = "redis://:hunter2@b/0"\n'
        '[destinations.web]\nurl = "https://web.example"\nuser = 5\npassword = "hunter2"\n'
        '[archives.web]\nurl = "https://web.example"\npasswort = "hunter2"\n'
    )
    with pytest.raises(SettingsInvalid) as refusal:
        load_settings(site)
    assert "hunter2" not in str(refusal.value) + str(refusal.value.facts)
    for broken in ('password = "hunter2', "password: [hunter2"):
        path = tmp_path / ("broken.toml" if "=" in broken else "broken.yaml")
        path.write_text(broken)
        with pytest.raises(SettingsInvalid) as refusal:
            load_settings(path)
        assert "hunter2" not in str(refusal.value)
