"""Who else on this host can read what should stay secret, or change what is trusted, and whose it is."""

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from fusionnode.errors import SettingsInvalid

_READ_OR_WRITE = stat.S_IROTH | stat.S_IWOTH


def is_exposed(path: Path) -> bool:
    """Whether users who are neither the owner nor in the group can read or change ``path``; a missing one is not.

    A file in a folder that they cannot enter is out of their reach, whatever its own mode says.
    """
    return _is_open(path, _READ_OR_WRITE | (stat.S_IXOTH if path.is_dir() else 0))


def is_changeable(path: Path) -> bool:
    """Whether such users can change ``path``, as `is_exposed` says."""
    return _is_open(path, stat.S_IWOTH)


def refuse_exposed(paths: Iterable[Path], what: str) -> None:
    """Check that no other user of this host can read or change any of ``paths``.

    Raises:
        SettingsInvalid: one of them is in everybody's reach; ``what`` says what they are.
    """
    for path in filter(is_exposed, paths):
        raise _name_open(path, f"{what} {path} can be read or changed by every user of this host.", "o-rwx")


def refuse_changeable(paths: Iterable[Path], what: str) -> None:
    """Check that no other user of this host can change any of ``paths``, which everybody may read.

    Raises:
        SettingsInvalid: one of them can be changed by everybody; ``what`` says what they are.
    """
    for path in filter(is_changeable, paths):
        raise _name_open(path, f"{what} {path} can be changed by every user of this host.", "o-w")


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


def _is_open(path: Path, wanted: int) -> bool:
    """Whether the mode of ``path`` grants others any of the bits ``wanted``, and each folder above lets them in."""
    try:
        real = path.resolve(strict=True)
        ways = [stat.S_IMODE(folder.stat().st_mode) for folder in real.parents]
        return bool(real.stat().st_mode & wanted) and all(way & stat.S_IXOTH for way in ways)
    except OSError:
        return False


def _name_open(path: Path, words: str, change: str) -> SettingsInvalid:
    remedy = f"Run `chmod {change} {path}`, and leave it to the user that runs fusionnode."
    return SettingsInvalid(words, remedy=remedy, path=str(path))
