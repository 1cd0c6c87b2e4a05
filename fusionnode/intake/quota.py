"""How much a node takes on: bytes in its spool, jobs that wait (edge).

The listener knows no database, and must not walk through the spool for every instance. So whoever sweeps measures now
and then and leaves the figures in ``<spool>/load.json``; each listener adds what it accepted itself since then.
"""

import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fusionnode.errors import SpoolFull, name_spool_trouble

_NAME = "load.json"


@dataclass(frozen=True)
class Load:
    """What was found: bytes below the spool, jobs still to be computed.

    ``walk`` names the walk through the spool that found the bytes.
    """

    spool_bytes: int = 0
    waiting_jobs: int = 0
    walk: str = ""


@dataclass(frozen=True)
class Quota:
    """The most of each that a node takes on; 0 sets no bound.

    Only what the node works off by itself is bounded. Series without a partner are not: the listener cannot know which
    arrival is the partner, and would keep out the very one that makes room.
    """

    spool_bytes: int = 0
    waiting_jobs: int = 0


UNBOUNDED = Quota()


class Gauge:
    """Compares the load with the quota, for one listener and any number of its threads.

    Args:
        root: the spool's folder.
    """

    def __init__(self, root: Path, quota: Quota = UNBOUNDED) -> None:
        self._path = root / _NAME
        self._quota = quota
        self._lock = threading.Lock()
        self._load = Load()
        self._read_at = -1
        self._accepted_bytes = 0

    def note_accepted(self, count: int) -> None:
        """Add ``count`` bytes to what was measured last."""
        with self._lock:
            self._accepted_bytes += count

    def check(self) -> None:
        """Refuse to go on while a bound is reached.

        Raises:
            SpoolFull: one is.
        """
        if self._quota == UNBOUNDED:
            return
        load = self.read_load()
        for what, unit in (("spool_bytes", "bytes in the spool"), ("waiting_jobs", "jobs waiting")):
            found, bound = getattr(load, what), getattr(self._quota, what)
            if bound and found >= bound:
                raise SpoolFull(
                    f"There are {found} {unit}; the quota is {bound}.",
                    remedy="It goes on by itself once there is less; see `[quota]` and `[retention]` in the site file.",
                    found=found,
                    quota=bound,
                )

    def read_load(self) -> Load:
        """Return what was measured last, with what was accepted here since."""
        with self._lock:
            self._refresh()
            return replace(self._load, spool_bytes=self._load.spool_bytes + self._accepted_bytes)

    def _refresh(self) -> None:
        try:
            changed_at = self._path.stat().st_mtime_ns
        except OSError:
            return
        if changed_at == self._read_at:
            return
        with suppress(OSError, ValueError, TypeError):
            load = Load(**json.loads(self._path.read_text(encoding="utf-8")))
            if load.walk != self._load.walk:
                self._accepted_bytes = 0
            self._load, self._read_at = load, changed_at


def write_load(root: Path, load: Load) -> None:
    """Leave ``load`` for the listeners; never synced, for after a crash it is measured again.

    Raises:
        SpoolFull, SpoolUnreadable: the disk is full, or fails; what was left before stays, and nothing beside it.
    """
    temporary = root / f".{_NAME}.{os.getpid()}"
    try:
        temporary.write_text(json.dumps(asdict(load)), encoding="utf-8")
        temporary.replace(root / _NAME)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        words, remedy = "What the spool holds cannot be noted for the listeners", "It is tried again; make room."
        raise name_spool_trouble(problem, words, remedy) from problem


def measure_bytes(root: Path) -> int:
    """Return the bytes of all files below ``root``, of which some may come and go meanwhile."""
    total, folders = 0, [str(root)]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total
