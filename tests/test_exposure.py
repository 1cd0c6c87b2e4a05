"""What other users of the host can reach is found, and only that."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.exposure import is_changeable, is_exposed, refuse_as_root, refuse_changeable, refuse_exposed


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can enter; those of pytest are closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _make(path: Path, mode: int) -> Path:
    path.write_text("secret")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("mode", "exposed"), [(0o600, False), (0o640, False), (0o660, False), (0o644, True), (0o602, True), (0o611, False)]
)
def test_a_file_is_exposed_where_others_may_read_or_write_it(open_folder: Path, mode: int, exposed: bool) -> None:
    assert is_exposed(_make(open_folder / "key", mode)) is exposed


@pytest.mark.parametrize(("mode", "changeable"), [(0o644, False), (0o664, False), (0o646, True), (0o602, True)])
def test_what_everybody_may_read_nobody_else_may_change(open_folder: Path, mode: int, changeable: bool) -> None:
    path = _make(open_folder / "ca.pem", mode)
    assert is_changeable(path) is changeable
    if changeable:
        with pytest.raises(SettingsInvalid, match=r"The certificate in .* can be changed") as refusal:
            refuse_changeable([path], "The certificate in")
        assert refusal.value.remedy.startswith(f"Run `chmod o-w {path}`")
    open_folder.chmod(0o700)
    refuse_changeable([path, open_folder / "gone"], "The certificate in")


@pytest.mark.parametrize(("mode", "exposed"), [(0o700, False), (0o750, False), (0o701, True), (0o755, True)])
def test_a_folder_is_exposed_where_others_may_even_enter_it(open_folder: Path, mode: int, exposed: bool) -> None:
    spool = open_folder / "spool"
    spool.mkdir()
    spool.chmod(mode)
    assert is_exposed(spool) is exposed


def test_a_file_in_a_folder_that_nobody_enters_is_out_of_reach(open_folder: Path) -> None:
    inside = open_folder / "closed"
    inside.mkdir()
    path = _make(inside / "key", 0o666)
    assert is_exposed(path)
    inside.chmod(0o770)
    assert not is_exposed(path)


def test_it_is_the_file_behind_a_link_that_counts(open_folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(_make(open_folder / "key", 0o644))
    assert is_exposed(link)


def test_what_is_not_there_is_not_exposed(open_folder: Path) -> None:
    assert not is_exposed(open_folder / "gone")
    refuse_exposed([open_folder / "gone"], "The key")


def test_the_refusal_says_what_and_what_to_do(open_folder: Path) -> None:
    path = _make(open_folder / "key", 0o644)
    with pytest.raises(SettingsInvalid, match=r"The key .* every user") as refusal:
        refuse_exposed([path], "The key")
    assert refusal.value.remedy.startswith(f"Run `chmod o-rwx {path}`")
    os.chmod(path, path.stat().st_mode & ~0o007)  # noqa: PTH101
    refuse_exposed([path], "The key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_does_not_write_where_another_user_runs_the_node(tmp_path: Path) -> None:
    spool = tmp_path / "state" / "spool"
    refuse_as_root(spool)
    spool.parent.mkdir()
    os.chown(spool.parent, 65534, 65534)
    with pytest.raises(SettingsInvalid, match="belongs to") as refusal:
        refuse_as_root(spool)
    assert "runuser -u" in refusal.value.remedy
    spool.mkdir()
    refuse_as_root(spool)
    os.chown(spool, 4242, 4242)
    with pytest.raises(SettingsInvalid, match="#4242"):
        refuse_as_root(spool)
