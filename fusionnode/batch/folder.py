"""The batch folder: what was asked, what was found and fetched, and who works on it. Only ever added to.

::

    batch.json       what this batch was asked to do
    journal.jsonl    a line for each question asked, study found or fetched, pair passed over; names no patient
    key              makes the pseudonyms of this batch; without it nobody can tell whose they are
    lock             held by the process that works here
    node/            spool and ledger of a node of its own
    results/         the fused series, where they are not sent anywhere
    unusable.txt     files of a folder tree that cannot be used; their paths may name somebody
    summary.csv, summary.json
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionnode.durable import sync_folder, write_whole
from fusionnode.errors import OutputOccupied

_PSEUDONYM_DIGITS = 16


class BatchFolder:
    """One batch on disk; made by `open_batch`. Where ``owns_node``, all that is in its node is of this batch."""

    def __init__(self, root: Path, *, owns_node: bool = True) -> None:
        self.root = root
        self.owns_node = owns_node
        self.node = root / "node"
        self.results = root / "results"
        self._journal = root / "journal.jsonl"
        self._key = _read_key(root / "key")
        self._mend()
        self._notes = [json.loads(line) for line in self._read_lines()]

    def note(self, what: str, **facts: Any) -> None:
        """Append one line to the journal. When this returns, a power cut does not lose it."""
        line = json.dumps({"what": what, **facts})
        handle = os.open(self._journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        if not self._notes:
            sync_folder(self.root)
        self._notes.append(json.loads(line))

    def list_notes(self, *what: str) -> list[dict[str, Any]]:
        """Return the journal's lines of these kinds, oldest first."""
        return [note for note in self._notes if note["what"] in what]

    def make_pseudonym(self, patient_id: str) -> str:
        """Return the name of a patient in this batch: 16 hexadecimal digits of a keyed hash (HMAC-SHA-256)."""
        return hmac.new(self._key, patient_id.strip().encode(), hashlib.sha256).hexdigest()[:_PSEUDONYM_DIGITS]

    def _read_lines(self) -> list[str]:
        return self._journal.read_text(encoding="utf-8").splitlines() if self._journal.exists() else []

    def _mend(self) -> None:
        """Cut off a last line that a crash left unfinished; what it would have said is done again."""
        if not self._journal.exists():
            return
        content = self._journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self._journal, len(whole))


def is_begun(root: Path) -> bool:
    """Whether a batch was begun in this folder."""
    return (root / "batch.json").exists()


@contextmanager
def open_batch(root: Path, asked: Mapping[str, Any]) -> Iterator[BatchFolder]:
    """Begin a batch in a new or empty folder, or go on with the same one; nobody else works there meanwhile.

    Raises:
        OutputOccupied: it holds something else, or another batch, or one that is running.
    """
    known = root / "batch.json"
    if root.exists() and not is_begun(root) and (not root.is_dir() or _holds_others(root)):
        raise OutputOccupied(f"{root} holds something that no batch made.", remedy="Name a new folder with --out.")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputOccupied(f"Another process works in {root}.", remedy="Wait until it ends.") from None
        if is_begun(root):
            _require_same(json.loads(known.read_text(encoding="utf-8")), asked, root)
        folder = BatchFolder(root, owns_node=not asked.get("node", False))
        if not is_begun(root):
            write_whole(known, json.dumps(dict(asked), indent=2) + "\n")
        yield folder


def _holds_others(root: Path) -> bool:
    # A crash in the very first moment leaves these two behind.
    return any(path.name not in {"lock", "key", ".batch.json.partial", ".key.partial"} for path in root.iterdir())


def _require_same(known: Mapping[str, Any], asked: Mapping[str, Any], root: Path) -> None:
    other = sorted(name for name in known.keys() | asked.keys() if known.get(name) != asked.get(name))
    if other:
        raise OutputOccupied(
            f"{root} holds a batch that was asked for something else ({', '.join(other)}).",
            remedy="Go on with it by the same options, or name a new folder with --out.",
        )


def _read_key(path: Path) -> bytes:
    if not path.exists():
        write_whole(path, secrets.token_hex(32))
        path.chmod(0o600)
    return bytes.fromhex(path.read_text(encoding="ascii"))
