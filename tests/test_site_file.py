"""A site file is read with its paths taken from where it lies, and guards the passwords in it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.site_file import read_site


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _write(folder: Path, text: str, mode: int = 0o644) -> Path:
    site = folder / "site.toml"
    site.write_text(text)
    site.chmod(mode)
    return site


WITH_PASSWORD = [
    '[destinations.web]\nurl = "https://web.example"\nuser = "node"\npassword = "hunter2"\n',
    'database_url = "postgresql+psycopg://node:hunter2@db/fusionnode"\n',
    'broker_url = "redis://:hunter2@broker:6379/0"\n',
]


@pytest.mark.parametrize("text", WITH_PASSWORD)
def test_a_password_in_a_site_file_that_others_can_read_stops_the_node(open_folder: Path, text: str) -> None:
    site = _write(open_folder, text)
    with pytest.raises(SettingsInvalid, match="password") as refusal:
        read_site(site)
    assert "hunter2" not in str(refusal.value)
    site.chmod(0o640)
    assert read_site(site)


def test_a_site_file_without_a_password_may_be_read_by_everybody(open_folder: Path) -> None:
    text = 'database_url = "postgresql+psycopg://db/x"\n[destinations.web]\nuser = "u"\npassword_file = "secret"\n'
    assert read_site(_write(open_folder, text))["destinations"]["web"]["password_file"] == open_folder / "secret"


def test_a_site_file_that_others_can_change_stops_the_node(open_folder: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"The site file .* can be changed"):
        read_site(_write(open_folder, "port = 1\n", mode=0o646))
    assert read_site(_write(open_folder, "port = 1\n", mode=0o664)) == {"port": 1}


def test_files_of_every_tls_table_lie_beside_the_site_file(tmp_path: Path) -> None:
    facts = read_site(_write(tmp_path, 'tls = {certificate = "a.pem", key = "/etc/a.key"}\nport = 1\n'))
    assert facts["tls"] == {"certificate": tmp_path / "a.pem", "key": Path("/etc/a.key")}
