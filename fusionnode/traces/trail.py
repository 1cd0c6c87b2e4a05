"""The audit trail of one process: files that are only ever appended to, and synced after every write (edge).

::

    <folder>/<moment it was begun>-<role>-<host>-<process id>.jsonl

Each process has files of its own, so that nobody waits for a lock of another host. The first record of a file names the
files before it with the seal they had reached, so that a file that vanishes, or its end, is missed.

Records that wait at the same time are written and synced together: whoever comes while another writes waits for that
one, and then finds the own record on disk, or writes it with those of all who wait.
"""

import logging
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fusionnode import __version__
from fusionnode.durable import sync_folder
from fusionnode.traces.chain import BEGINNING, read_seal, seal_record
from fusionnode.traces.message import AuditEvent, encode_message, format_moment, summarize

logger = logging.getLogger(__name__)

SUFFIX = ".jsonl"
_KEPT_IN_MEMORY = 10_000
_AT_ONCE = 256
_NAMED_BEFORE = 8
_TAIL_BYTES = 1 << 17


def read_clock() -> datetime:
    """Return the present moment (UTC)."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Told:
    """An event that is not on disk yet, and when it was."""

    event: AuditEvent
    at: datetime


class AuditTrail:
    """Appends audit messages. It never raises: what cannot be written waits in memory and is told of by `trouble`.

    Args:
        folder: made if it is not there; for its owner only.
        role: of this process, such as ``serve``.
        source: the installation, in each message; its AE title.
        key: seals are HMACs with it; plain SHA-256 where it is empty.
        max_bytes: a file that has grown to this is followed by another, and so is one of yesterday.
        clock: the present moment, timezone-aware.

    Attributes:
        written, lost: numbers of records.
    """

    def __init__(
        self,
        folder: Path,
        role: str,
        source: str,
        key: bytes = b"",
        max_bytes: int = 64 << 20,
        clock: Callable[[], datetime] = read_clock,
    ) -> None:
        self.folder = folder
        self.written = 0
        self.lost = 0
        self._role, self._source, self._key, self._max_bytes, self._clock = role, source, key, max_bytes, clock
        # Of the file, held while a disk works; and of what waits, held for a moment. Never taken in the other order.
        self._writing = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: deque[_Told] = deque()
        self._dropped = 0
        self._trouble = ""
        self._file = -1
        self._path = folder
        self._size = self._number = 0
        self._day = ""
        self._seal = BEGINNING

    @property
    def trouble(self) -> str:
        """Why records wait for being written, in words; empty when none does."""
        return f"{self._trouble}; {len(self._waiting)} records wait, {self.lost} are lost" if self._trouble else ""

    def record(self, event: AuditEvent) -> None:
        """Append one event. When this returns it is on disk, or `trouble` says why not."""
        self.queue(event)
        self.flush()

    def queue(self, event: AuditEvent) -> None:
        """Take one event to be written by the next `record` or `flush`; waits for no disk."""
        with self._turn:
            self._waiting.append(_Told(event, self._clock()))
            self._drop_surplus()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            self._write_waiting()

    def close(self) -> None:
        """Close the file; safe to repeat. What still waits is lost, and the log says so."""
        with self._writing:
            self._write_waiting()
            if self._waiting:
                logger.error("%d audit records could not be written", len(self._waiting))
            self._close_file()

    def _write_waiting(self) -> None:
        """Write what waits at this moment; what comes meanwhile is for whoever brings it."""
        with self._turn:
            # Not between a record too many and the dropping of it: who waited for that one would wait for ever.
            left = len(self._waiting)
        try:
            while left > 0 or self._dropped:
                # In trouble one is tried alone, as all others may be in vain.
                left -= self._write_some(1 if self._trouble else _AT_ONCE)
        except OSError as problem:
            self._give_way(problem)

    def _write_some(self, most: int) -> int:
        """Write what was lost and up to ``most`` records with one sync; return how many were taken."""
        with self._turn:
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            lost, self._dropped = self._dropped, 0
        encoded = [(one, record) for one in taken if (record := self._encode(one)) is not None]
        try:
            head = [{"lost": lost, "at": format_moment(self._clock())}] if lost else []
            self._append(head + [record for _, record in encoded])
        except OSError:
            with self._turn:
                self._dropped += lost
                self._waiting.extendleft(one for one, _ in reversed(encoded))
                self._drop_surplus()
            raise
        self.written += len(encoded)
        if self._trouble:
            logger.warning("the audit trail is written again")
            self._trouble = ""
        return len(taken)

    def _encode(self, one: _Told) -> dict[str, Any] | None:
        """Return the record; None, and counted as lost, where there is no writing it, as the others must not wait."""
        at, event = one.at, one.event
        try:
            return {"at": format_moment(at), **summarize(event), "message": encode_message(event, at, self._source)}
        except (TypeError, ValueError) as problem:
            logger.error("an audit record cannot be written and is counted as lost: %s", type(problem).__name__)
            with self._turn:
                self._dropped += 1
                self.lost += 1
            return None

    def _drop_surplus(self) -> None:
        while len(self._waiting) > _KEPT_IN_MEMORY:
            self._waiting.popleft()
            self._dropped += 1
            self.lost += 1

    def _give_way(self, problem: OSError) -> None:
        if not self._trouble:
            logger.error("the audit trail cannot be written: %s", problem.strerror)
        self._trouble = f"The audit trail cannot be written: {problem.strerror}"
        # What stands half written is taken back, so that the file stays a whole one, or none.
        with suppress(OSError):
            if self._file >= 0:
                os.ftruncate(self._file, self._size)
                if not self._size:
                    self._path.unlink()
        self._close_file()

    def _append(self, records: Sequence[Mapping[str, Any]]) -> None:
        if not records:
            return
        day = self._clock().strftime("%Y%m%d")
        if self._file < 0 or self._size >= self._max_bytes or day != self._day:
            self._open_file(day)
        self._put(records)

    def _put(self, records: Sequence[Mapping[str, Any]]) -> None:
        lines, seal = [], self._seal
        for number, record in enumerate(records, start=self._number):
            line, seal = seal_record({"n": number, **record}, seal, self._key)
            lines.append(f"{line}\n")
        data = "".join(lines).encode()
        if os.write(self._file, data) != len(data):
            raise OSError(None, "it was cut off")
        os.fdatasync(self._file)
        self._seal, self._number, self._size = seal, self._number + len(lines), self._size + len(data)

    def _open_file(self, day: str) -> None:
        self._close_file()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = _name_before(self.folder)
        moment = self._clock().strftime("%Y%m%dT%H%M%S%fZ")
        host = re.sub(r"[^A-Za-z0-9.]", "", socket.gethostname())
        self._path = self.folder / f"{moment}-{self._role}-{host}-{os.getpid()}{SUFFIX}"
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size, self._number, self._seal, self._day = 0, 0, BEGINNING, day
        sync_folder(self.folder)
        facts = {"role": self._role, "host": host, "pid": os.getpid(), "version": __version__}
        self._put([{"at": format_moment(self._clock()), "begun": facts, "keyed": bool(self._key), "after": before}])

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _name_before(folder: Path) -> dict[str, str]:
    """Return the last files of the folder by name, each with the last seal in it."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix == SUFFIX)[-_NAMED_BEFORE:]
    return {name: _read_last_seal(folder / name) for name in names}


def _read_last_seal(path: Path) -> str:
    """Return the seal of the last whole record; empty where there is none within reach.

    It is durable when this returns: a power cut must not take back what another process's file is about to name.
    """
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        # What stands behind the last line end is being written at this moment.
        lines = file.read().decode("ascii", errors="replace").split("\n")[:-1]
        os.fdatasync(file.fileno())
    return read_seal(lines[-1]) if lines else ""
