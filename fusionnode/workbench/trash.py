"""Where deleted files go first: out of sight by one rename, then away (edge).

::

    trash/<digits>     a file or a folder; worth nothing, deleted when somebody comes by
"""

import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fusionnode.durable import make_folder, sync_folder
from fusionnode.errors import Unavailable, name_spool_trouble
from fusionnode.faults import FaultPoint, reach


class TrashFolder:
    """Moves files and folders of the spool out of sight and deletes them; fulfils `flow.housekeeping.Trash`.

    Args:
        root: the spool's folder; everything below it lies on one file system.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "trash"

    def throw(self, places: Sequence[str]) -> dict[str, Unavailable]:
        """Move what lies at ``places``, relative to the spool, out of sight; what is not there is gone already.

        When this returns, a power cut brings nothing back, but for what is returned: those that could not be moved,
        and what hindered each. They hinder no other.
        """
        stuck: dict[str, Unavailable] = {}
        moved: dict[Path, list[str]] = defaultdict(list)
        for place in places:
            try:
                make_folder(self._folder)
                _rename(self._root / place, self._folder / uuid.uuid4().hex)
            except OSError as problem:
                stuck[place] = _name_hindrance(place, problem)
                continue
            moved[(self._root / place).parent].append(place)
            reach(FaultPoint.DISCARD_BEGUN)
        for folder in sorted(moved):
            try:
                if folder.is_dir():
                    sync_folder(folder)
            except OSError as problem:
                stuck |= {place: _name_hindrance(place, problem) for place in moved[folder]}
        return stuck

    def empty(self) -> int:
        """Delete what lies in the trash, also what a process that died left there; return how much it was.

        What cannot be deleted stays, and hinders nothing else.

        Raises:
            SpoolUnreadable: the trash cannot be looked into.
        """
        try:
            thrown = list(self._folder.iterdir())
        except FileNotFoundError:
            return 0
        except OSError as problem:
            remedy = "See that it is a folder and the node's user's."
            raise name_spool_trouble(problem, "The spool's trash cannot be emptied", remedy) from problem
        for path in thrown:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
        return len(thrown)

    def list_unusable(self, before: datetime) -> list[str]:
        """Return the places of what was set aside as unusable, and with it the reasons, before ``before``."""
        return sorted(self._list_old("quarantine", before))

    def list_leftovers(self, before: datetime) -> list[str]:
        """Return the places of unfinished results that nobody wrote to since ``before``."""
        return sorted(place for place in self._list_old("outbox", before) if Path(place).name.startswith("."))

    def _list_old(self, folder: str, before: datetime) -> Iterator[str]:
        path = self._root / folder
        if not path.is_dir():
            return
        with os.scandir(path) as entries:
            for entry in entries:
                if _read_age(entry) < before.timestamp():
                    yield f"{folder}/{entry.name}"


def _read_age(entry: os.DirEntry[str]) -> float:
    """Time of last modification in seconds; endless when it is gone meanwhile."""
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return float("inf")


def _name_hindrance(place: str, problem: OSError) -> Unavailable:
    remedy = "See that the node's user may change its folder and the trash; it is tried again."
    return name_spool_trouble(problem, f"{place} was given up and cannot be moved to the trash", remedy)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except FileNotFoundError:
        if source.exists():
            raise
