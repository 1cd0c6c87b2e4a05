"""What other users of the host can reach is found, and only that."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode.errors import SettingsInvalid
from fusionnode.exposure import find_changeable, find_exposed, refuse_as_root, refuse_changeable, refuse_exposed


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
    path = _make(open_folder / "key", mode)
    assert find_exposed(path) == (path if exposed else None)


@pytest.mark.parametrize(("mode", "changeable"), [(0o644, False), (0o664, False), (0o646, True), (0o602, True)])
def test_what_everybody_may_read_nobody_else_may_change(open_folder: Path, mode: int, changeable: bool) -> None:
    path = _make(open_folder / "ca.pem", mode)
    assert find_changeable(path) == (path if changeable else None)
    if changeable:
        with pytest.raises(SettingsInvalid, match=r"The certificate in .* can be changed") as refusal:
            refuse_changeable([path], "The certificate in")
        assert refusal.value.remedy.startswith(f"Run `chmod o-w {path}`")
    open_folder.chmod(0o700)
    refuse_changeable([path, open_folder / "gone"], "The certificate in")


def test_what_is_not_there_yet_is_judged_by_where_it_will_lie(open_folder: Path) -> None:
    trail = open_folder / "audit" / "trail"
    assert find_exposed(trail) is None
    open_folder.chmod(0o777)
    assert find_exposed(trail) == find_changeable(trail) == open_folder
    open_folder.chmod(0o1777)
    assert find_exposed(trail) is None


@pytest.mark.parametrize(("mode", "exposed"), [(0o700, False), (0o750, False), (0o701, True), (0o755, True)])
def test_a_folder_is_exposed_where_others_may_even_enter_it(open_folder: Path, mode: int, exposed: bool) -> None:
    spool = open_folder / "spool"
    spool.mkdir()
    spool.chmod(mode)
    assert find_exposed(spool) == (spool if exposed else None)


def test_a_file_in_a_folder_that_nobody_enters_is_out_of_reach(open_folder: Path) -> None:
    inside = open_folder / "closed"
    inside.mkdir()
    path = _make(inside / "key", 0o666)
    assert find_exposed(path)
    inside.chmod(0o770)
    assert not find_exposed(path)


@pytest.mark.parametrize(("mode", "replaceable"), [(0o777, True), (0o1777, False), (0o775, False), (0o772, False)])
@pytest.mark.parametrize("below", ["", "closed"])
def test_where_others_can_rename_what_lies_there_they_can_replace_it_whatever_its_own_mode(
    open_folder: Path, below: str, mode: int, replaceable: bool
) -> None:
    shared = open_folder / "shared"
    (shared / below).mkdir(parents=True, mode=0o700)
    path = _make(shared / below / "key", 0o600)
    shared.chmod(mode)
    culprit = shared if replaceable else None
    assert find_exposed(path) == culprit
    assert find_changeable(path) == culprit
    if replaceable:
        with pytest.raises(SettingsInvalid, match=f"put another in its place in {shared}") as refusal:
            refuse_changeable([path], "The site file")
        assert refusal.value.remedy.startswith(f"Run `chmod o-w {shared}`")
    open_folder.chmod(0o700)
    refuse_exposed([path], "The key")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o776, 0o773])
def test_it_is_told_where_another_user_really_can_replace_a_file(open_folder: Path, mode: int) -> None:
    shared = open_folder / "shared"
    shared.mkdir()
    path = _make(shared / "site.toml", 0o644)
    shared.chmod(mode)
    told = find_changeable(path) is not None
    moved = subprocess.run(["mv", path, shared / "away"], user=65534, group=65534, extra_groups=[], check=False)
    assert told is (moved.returncode == 0)


def test_a_link_that_others_can_turn_is_no_better_than_the_file(open_folder: Path, tmp_path: Path) -> None:
    shared = open_folder / "shared"
    shared.mkdir()
    link = shared / "key"
    link.symlink_to(_make(tmp_path / "key", 0o600))
    assert find_changeable(link) is None
    shared.chmod(0o777)
    assert find_changeable(link) == shared


def test_it_is_the_file_behind_a_link_that_counts(open_folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(_make(open_folder / "key", 0o644))
    assert find_exposed(link)


def test_what_is_not_there_is_not_exposed(open_folder: Path) -> None:
    assert not find_exposed(open_folder / "gone")
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
