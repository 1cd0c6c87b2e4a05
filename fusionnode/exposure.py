"""Who else on this host can read what should stay secret, or change what is trusted, and whose it is."""

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from fusionnode.errors import SettingsInvalid

_READ_OR_WRITE = stat.S_IROTH | stat.S_IWOTH
# What renaming in a folder takes.
_CHANGE = stat.S_IWOTH | stat.S_IXOTH


def find_exposed(path: Path) -> Path | None:
    """Return what lets users who are neither the owner nor in the group read or change ``path``; None if nothing does.

    That is ``path`` itself, or a folder on the way to it in which they may put something else in its place. What lies
    in a folder that they cannot enter is out of their reach, whatever its own mode says; what is not there
    yet is judged by where it will lie.
    """
    return _find_open(path, _READ_OR_WRITE | (stat.S_IXOTH if path.is_dir() else 0))


def find_changeable(path: Path) -> Path | None:
    """Return what lets such users change ``path``, as `find_exposed` says."""
    return _find_open(path, stat.S_IWOTH)


def refuse_exposed(paths: Iterable[Path], what: str) -> None:
    """Check that no other user of this host can read, change or replace any of ``paths``.

    Raises:
        SettingsInvalid: one of them is in everybody's reach; ``what`` says what they are.
    """
    for path in paths:
        if culprit := find_exposed(path):
            raise _name_open(path, culprit, f"{what} {path} can be read or changed by every user of this host", "o-rwx")


def refuse_changeable(paths: Iterable[Path], what: str) -> None:
    """Check that no other user of this host can change or replace any of ``paths``, which everybody may read.

    Raises:
        SettingsInvalid: one of them can be changed by everybody; ``what`` says what they are.
    """
    for path in paths:
        if culprit := find_changeable(path):
            raise _name_open(path, culprit, f"{what} {path} can be changed by every user of this host", "o-w")


def refuse_as_root(folder: Path) -> None:
    """Check that root does not write into a folder of the user that runs the node, who then could not read its files.

    Where there is no ``folder`` yet, it is the one above it that counts.

    Raises:
        SettingsInvalid: this process is root, and the folder is somebody else's.
    """
    found = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    owner = found.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        name = _name_user(owner)
        raise SettingsInvalid(
            f"{found} belongs to {name}, and what root writes there {name} could not read.",
            remedy=f"Run the command as that user: `runuser -u {name} -- fusionnode ...`.",
            path=str(found),
        )


def _name_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def _find_open(path: Path, wanted: int) -> Path | None:
    """Return ``path`` where its mode grants others a bit of ``wanted``, or a folder in which they can replace it."""
    try:
        real = path.resolve()
        # Behind a link there are two ways, and who can turn either of them has replaced the file.
        ways = dict.fromkeys(way.resolve() for way in (*path.absolute().parents, *real.parents))
        if real.exists() and real.stat().st_mode & wanted and _is_reached(real):
            return path
        return next((way for way in ways if way.exists() and _is_replaceable_in(way)), None)
    except OSError:
        return None


def _is_reached(real: Path) -> bool:
    """Whether each folder above lets others in."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)


def _is_replaceable_in(folder: Path) -> bool:
    """Whether others can rename what lies in ``folder``; with the sticky bit only what is their own."""
    mode = folder.stat().st_mode
    return mode & _CHANGE == _CHANGE and not mode & stat.S_ISVTX and _is_reached(folder)


def _name_open(path: Path, culprit: Path, words: str, change: str) -> SettingsInvalid:
    if culprit == path:
        remedy = f"Run `chmod {change} {path}`, and leave it to the user that runs fusionnode."
        return SettingsInvalid(f"{words}.", remedy=remedy, path=str(path))
    words = f"{words}, who can put another in its place in {culprit}."
    return SettingsInvalid(words, remedy=f"Run `chmod o-w {culprit}`, or keep it elsewhere.", path=str(path))
