"""Who else on this host can read what should stay secret, and whose it is: spool, database, keys and passwords."""

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
    try:
        real = path.resolve(strict=True)
        ways = [stat.S_IMODE(folder.stat().st_mode) for folder in real.parents]
        mode = real.stat().st_mode
    except OSError:
        return False
    wanted = _READ_OR_WRITE | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return bool(mode & wanted) and all(way & stat.S_IXOTH for way in ways)


def refuse_exposed(paths: Iterable[Path], what: str) -> None:
    """Check that no other user of this host can read or change any of ``paths``.

    Raises:
        SettingsInvalid: one of them is in everybody's reach; ``what`` says what they are.
    """
    for path in paths:
        if is_exposed(path):
            raise SettingsInvalid(
                f"{what} {path} can be read or changed by every user of this host.",
                remedy=f"Run `chmod o-rwx {path}`, and leave it to the user that runs fusionnode.",
                path=str(path),
            )


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
