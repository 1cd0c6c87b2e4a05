"""The end of a certificate is what openssl says it is, and rubbish is refused by name."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fusionnode.certificates import find_end, read_ends
from fusionnode.errors import SettingsInvalid
from tests.support.certificates import Authority, make_authority
from tests.support.tools import require_tool


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One for all tests: its key takes long to find."""
    return make_authority(tmp_path_factory.mktemp("authority"))


def _ask_openssl(path: Path) -> datetime:
    command = [require_tool("openssl"), "x509", "-in", str(path), "-noout", "-enddate", "-dateopt", "iso_8601"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return datetime.fromisoformat(said.strip().partition("=")[2].replace("Z", "+00:00"))


@pytest.mark.parametrize("days", [-1, 40, 30_000])  # the last is beyond 2050, written otherwise
def test_the_end_is_the_one_that_openssl_reads(authority: Authority, days: int) -> None:
    papers = authority.issue("node", days=days)
    assert read_ends(papers.certificate) == [_ask_openssl(papers.certificate)]
    assert (read_ends(papers.certificate)[0] > datetime.now(UTC)) is (days > 0)


def test_every_certificate_of_a_file_counts_and_its_key_does_not(authority: Authority, tmp_path: Path) -> None:
    papers = authority.issue("node", days=7)
    chain = tmp_path / "chain.pem"
    parts = (papers.key, papers.certificate, authority.own.certificate)
    chain.write_text("".join(path.read_text() for path in parts))
    assert read_ends(chain) == [_ask_openssl(papers.certificate), _ask_openssl(authority.own.certificate)]


def test_a_chain_ends_with_its_first_certificate_and_authorities_with_their_last(
    authority: Authority, tmp_path: Path
) -> None:
    first, last = (authority.issue(f"node{days}", days=days).certificate for days in (7, 70))
    both = tmp_path / "both.pem"
    both.write_text(last.read_text() + first.read_text())
    assert find_end(both, is_authority=False) == _ask_openssl(first)
    assert find_end(both, is_authority=True) == _ask_openssl(last)


def test_what_is_no_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    lines = authority.own.certificate.read_text().splitlines()
    texts = {
        "empty": [],
        "key": authority.own.key.read_text().splitlines(),
        "cut": [*lines[:5], lines[-1]],
        "swapped": [lines[0], *lines[-2:0:-1], lines[-1]],
    }
    with pytest.raises(SettingsInvalid, match="gone"):
        read_ends(tmp_path / "gone")
    for name, damaged in texts.items():
        path = tmp_path / name
        path.write_text("\n".join(damaged))
        with pytest.raises(SettingsInvalid, match=name):
            read_ends(path)
