"""The part of the site file about traces."""

from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.settings import load_settings
from fusionnode.trace_settings import AuditSettings


def test_by_default_nothing_is_served_and_nobody_is_named(tmp_path: Path) -> None:
    settings = load_settings(None)
    assert (settings.http.host, settings.http.port, settings.http.sweep_port) == ("127.0.0.1", None, None)
    assert (settings.audit.read_key(), settings.log_format) == ("", "text")


def test_paths_are_taken_from_the_folder_of_the_site_file(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_text("secret\n")
    site = tmp_path / "site.toml"
    site.write_text('[audit]\nfolder = "trail"\nkey_file = "audit.key"\n[http]\nport = 11180\n')
    settings = load_settings(site)
    assert settings.audit.folder == tmp_path / "trail"
    assert settings.audit.read_key() == "secret"
    assert tmp_path / "audit.key" in list(settings.list_secret_files())


def test_the_key_comes_from_the_environment_and_never_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSIONNODE_AUDIT__KEY", "top-secret")
    settings = load_settings(None)
    assert settings.audit.read_key() == "top-secret"
    assert "top-secret" not in repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_key_file_without_a_key_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "audit.key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsInvalid, match=r"audit\.key"):
        AuditSettings(key_file=path).read_key()


@pytest.mark.parametrize(
    "text",
    [
        '[audit]\npatients = "all"\n',
        "[audit]\nmax_mb = 0\n",
        '[audit]\nkey = "in the site file"\n',
        "[http]\nport = 70000\n",
        'log_format = "xml"\n',
        "[http]\npath = 1\n",
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str) -> None:
    site = tmp_path / "site.toml"
    site.write_text(text)
    with pytest.raises(SettingsInvalid, match=r"audit|http|log_format"):
        load_settings(site)


def test_two_keys_are_one_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[audit]\nkey_file = "audit.key"\n')
    monkeypatch.setenv("FUSIONNODE_AUDIT__KEY", "another")
    with pytest.raises(SettingsInvalid, match="not both"):
        load_settings(site)
