"""The spool: one file system where every received instance is durable before its sender hears Success (edge).

::

    incoming/        being received; worth nothing after a crash
    arrivals/        durable, not yet in the ledger
    instances/xx/    durable, in the ledger; xx are the first two digits of the name
    quarantine/      durable, unusable; the reason lies beside each file
    associations/    what the open associations have stored so far

A name is ``<32 digits of the SOP Instance UID's SHA-256>-<SHA-256 of the data set>.dcm``: no text a peer sent becomes
a path, the same bytes have one name, and other bytes under the same UID have another.
"""

import hashlib
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fusionnode.durable import make_folder, sync_folder
from fusionnode.errors import (
    OUT_OF_SPACE,
    DatasetUnreadable,
    SettingsInvalid,
    SpoolFileMissing,
    SpoolFull,
    name_spool_trouble,
)
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.ports import StoredFile
from fusionnode.intake.quota import UNBOUNDED, Gauge, Quota

STALE_SECONDS = 120.0
DEFAULT_RESERVE_BYTES = 2 * 1024**3

_NAME = re.compile(r"[0-9a-f]{32}-([0-9a-f]{64})\.dcm")
_UID_DIGITS = 32
_PREAMBLE_BYTES = 132
_GROUP_LENGTH = bytes.fromhex("02000000554c0400")
_CHUNK_BYTES = 1 << 20


class AssociationEvidence:
    """What one open association has stored so far, on disk, so that other processes know that more may come.

    It is a hint, not a promise: it is never synced, and a file left by a crash is ignored once it is stale.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._closed = False

    def add(self, stored: StoredFile) -> None:
        """Append one stored instance; nothing happens once closed."""
        if self._closed:
            return
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
        self._file.write(f"{Path(stored.place).name}\n".encode())

    def close(self) -> None:
        """Withdraw the evidence; safe to repeat."""
        self._closed = True
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)


class Spool:
    """The folders under ``root`` and the only ways in which files move between them.

    Args:
        root: the spool's folder; everything below it must lie on one file system.
        reserve_bytes: free space that must remain; below it nothing is accepted.
        quota: what else bounds what is accepted.
    """

    def __init__(self, root: Path, reserve_bytes: int = DEFAULT_RESERVE_BYTES, quota: Quota = UNBOUNDED) -> None:
        self.root = root.absolute()
        self.reserve_bytes = reserve_bytes
        self._gauge = Gauge(root, quota)
        self.incoming = root / "incoming"
        self.arrivals = root / "arrivals"
        self.instances = root / "instances"
        self.quarantine = root / "quarantine"
        self.associations = root / "associations"
        self._arrivals_sync = _SharedSync(self.arrivals)

    def prepare(self) -> None:
        """Create the folders, readable by their owner only; safe to repeat.

        Raises:
            SettingsInvalid: they cannot be created, or lie on more than one file system.
        """
        folders = (self.root, self.incoming, self.arrivals, self.instances, self.quarantine, self.associations)
        try:
            for folder in folders:
                make_folder(folder)
            # Also when they were there: whoever made them may have died before this.
            sync_folder(self.root)
            devices = {folder.stat().st_dev for folder in folders}
        except OSError as problem:
            raise SettingsInvalid(
                f"The spool {self.root} cannot be prepared: {problem.strerror}.",
                remedy="Give the service a folder it owns.",
                root=str(self.root),
            ) from problem
        if len(devices) > 1:
            raise SettingsInvalid(
                f"The folders of the spool {self.root} lie on more than one file system.",
                remedy="Mount one file system at the root only; renames must be atomic.",
                root=str(self.root),
            )

    def list_unfinished(self) -> list[Path]:
        """Return what is being received, and the evidence of associations: in a spool nobody uses, of crashed ones."""
        return [path for folder in (self.incoming, self.associations) for path in folder.iterdir()]

    def discard_leftovers(self, unfinished: Iterable[Path]) -> int:
        """Delete what crashed listeners left: unfinished files, never acknowledged, and stale evidence.

        Only what nobody wrote to for `STALE_SECONDS` goes, because another listener may share the spool.

        Args:
            unfinished: of `list_unfinished`, before this process received anything; the rest is left alone, because
                a slow data set reaches its file late.

        Returns:
            The number of files deleted.
        """
        stale = [path for path in unfinished if _is_stale(path)]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)

    def free_bytes(self) -> int:
        """Bytes an unprivileged process may still write to the spool's file system."""
        return shutil.disk_usage(self.root).free

    def check_space(self) -> None:
        """Refuse to take more while less than the reserve is free, or a quota is reached.

        Raises:
            SpoolFull: it is.
        """
        self._gauge.check()
        self.require_free(self.reserve_bytes)

    def is_congested(self) -> bool:
        """Whether so little of the reserve is left that even asking for more is to be put off."""
        return self.free_bytes() < self.reserve_bytes // 4

    def require_free(self, wanted_bytes: int) -> None:
        """Refuse to go on while less than ``wanted_bytes`` are free.

        Raises:
            SpoolFull: it is so.
        """
        free = self.free_bytes()
        if free < wanted_bytes:
            raise SpoolFull(
                f"{free} bytes are free in the spool; {wanted_bytes} are kept in reserve.",
                remedy="Free or add space, or lower the reserve; it is tried again.",
                free_bytes=free,
                reserve_bytes=wanted_bytes,
            )

    def accept(self, temp: Path, sop_instance_uid: str, dataset_sha256: str | None = None) -> StoredFile:
        """Make a received file durable under its final name. When this returns, a power cut does not lose it.

        The same bytes are kept once: when they wait here already, ``temp`` is dropped and the known file returned. What
        is in the ledger already arrives once more all the same, and takes the place of the known file in the end:
        that one may be about to be deleted for its age.

        Args:
            temp: a complete DICOM file in `incoming`; gone afterwards.
            sop_instance_uid: as announced by the sender.
            dataset_sha256: of the data set bytes, when the caller computed it while receiving; else it is computed.

        Raises:
            SpoolFull: too little space is left; ``temp`` is untouched.
            DatasetUnreadable: no hash was given and ``temp`` is no DICOM file; ``temp`` is untouched.
        """
        self.check_space()
        digest = dataset_sha256 or hash_dataset(temp)
        name = f"{_name_instance(sop_instance_uid)}-{digest}.dcm"
        if (self.arrivals / name).exists():
            # Another thread may have renamed it a moment ago without having synced the folder yet.
            self._arrivals_sync.sync()
            temp.unlink()
            return self._describe(self.arrivals / name, digest)
        reach(FaultPoint.INSTANCE_RECEIVED)
        try:
            size = temp.stat().st_size
            _sync_data(temp)
            temp.rename(self.arrivals / name)
            reach(FaultPoint.INSTANCE_RENAMED)
            self._arrivals_sync.sync()
        except OSError as problem:
            raise translate_full(problem) from problem
        reach(FaultPoint.INSTANCE_DURABLE)
        self._gauge.note_accepted(size)
        return self._describe(self.arrivals / name, digest)

    def list_arrivals(self) -> Iterator[StoredFile]:
        """Yield the files that wait to be indexed, oldest first; foreign files are passed over."""
        yield from self._describe_all([self.arrivals])

    def list_instances(self) -> Iterator[StoredFile]:
        """Yield every indexed file, oldest first, so that the ledger can be rebuilt from the spool."""
        yield from self._describe_all([folder for folder in self.instances.iterdir() if folder.is_dir()])

    def list_missing(self, sop_instance_uids: Iterable[str]) -> list[str]:
        """Return those of ``sop_instance_uids``, in their order, of which no durable file is here, usable or not."""
        wanted = {_name_instance(uid): uid for uid in sop_instance_uids}
        # Files only ever leave the arrivals, so with those read first none is overlooked on its way.
        folders = [self.arrivals, self.quarantine, *{self.instances / digits[:2] for digits in wanted}]
        here = {path.name[:_UID_DIGITS] for folder in folders if folder.is_dir() for path in folder.glob("*.dcm")}
        return [uid for digits, uid in wanted.items() if digits not in here]

    def find_files(self, sop_instance_uid: str) -> list[Path]:
        """Return the durable files of an instance: none, one, or several where it came with several contents."""
        digits = _name_instance(sop_instance_uid)
        folders = (self.arrivals, self.quarantine, self.instances / digits[:2])
        return [path for folder in folders for path in sorted(folder.glob(f"{digits}-*.dcm"))]

    def settle_arrival(self, arrival: StoredFile) -> None:
        """Move an indexed arrival to its place; safe to repeat, also after a crash in between.

        Raises:
            SpoolFileMissing: it is neither where it was nor where it belongs.
            SpoolFull, SpoolUnreadable: the file system is full, or fails; it is still where it was.
        """
        target = self.root / arrival.place
        with _named_errors(target.name):
            make_folder(target.parent)
            self._move(self.arrivals / target.name, target)

    def quarantine_arrival(self, arrival: StoredFile, reason: str) -> None:
        """Move an arrival that cannot be indexed aside, with the reason beside it; safe to repeat.

        Raises:
            SpoolFileMissing: it is neither among the arrivals nor in quarantine.
            SpoolFull, SpoolUnreadable: the file system is full, or fails; it is still where it was.
        """
        target = self.quarantine / Path(arrival.place).name
        note = target.with_name(f"{target.name}.reason.txt")
        with _named_errors(target.name):
            note.write_text(f"{reason}\n", encoding="utf-8")
            _sync_data(note)
            self._move(self.arrivals / target.name, target)

    def open_evidence(self) -> AssociationEvidence:
        """Begin the evidence of one association; its file appears with the first instance."""
        return AssociationEvidence(self.associations / uuid.uuid4().hex)

    def list_places_in_flight(self) -> frozenset[str]:
        """Places of the instances that still-open associations have sent so far."""
        names: set[str] = set()
        for path in self.associations.iterdir():
            if not _is_stale(path):
                names.update(_read_names(path))
        return frozenset(_make_place(name) for name in names)

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.rename(target)
        except FileNotFoundError:
            if not target.exists():
                raise SpoolFileMissing(f"{target.name} is not in the spool.", name=target.name) from None
        sync_folder(target.parent)
        self._arrivals_sync.sync()

    def _describe_all(self, folders: list[Path]) -> Iterator[StoredFile]:
        found: list[tuple[int, str, str]] = []
        for folder in folders:
            with os.scandir(folder) as entries:
                found.extend((_read_age(entry), entry.name, entry.path) for entry in entries)
        for age, name, path in sorted(found):
            match = _NAME.fullmatch(name)
            if match and age >= 0:
                yield self._describe(Path(path), match[1])

    @staticmethod
    def _describe(path: Path, digest: str) -> StoredFile:
        return StoredFile(path=path, place=_make_place(path.name), sha256=digest)


class _SharedSync:
    """fsync of one folder; those who ask while one is running share the next one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._counter = threading.Lock()
        self._asked = 0
        self._done = 0

    def sync(self) -> None:
        with self._counter:
            self._asked += 1
            ticket = self._asked
        with self._turn:
            if self._done >= ticket:
                return
            covered = self._asked
            sync_folder(self._folder)
            self._done = covered


def hash_dataset(path: Path) -> str:
    """SHA-256 of a DICOM file's data set bytes, without preamble and file meta information (PS3.10 section 7).

    Raises:
        DatasetUnreadable: it is no DICOM file, or its meta information does not state its length.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        head = file.read(_PREAMBLE_BYTES + 12)
        if head[128:132] != b"DICM" or head[132:140] != _GROUP_LENGTH:
            raise DatasetUnreadable(f"{path.name} is no DICOM file.", path=str(path))
        file.seek(_PREAMBLE_BYTES + 12 + int.from_bytes(head[140:144], "little"))
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _named_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        words = f"{name} cannot be moved within the spool"
        raise name_spool_trouble(problem, words, "Look at the spool's file system.") from problem


def translate_full(problem: OSError) -> OSError | SpoolFull:
    """Return `SpoolFull` for an error that means "no space" or "over quota", any other error as it is."""
    if problem.errno not in OUT_OF_SPACE:
        return problem
    return SpoolFull(f"The spool's file system is full: {problem.strerror}.", remedy="Free or add space.")


def _name_instance(sop_instance_uid: str) -> str:
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:_UID_DIGITS]


def _make_place(name: str) -> str:
    return f"instances/{name[:2]}/{name}"


def _read_age(entry: os.DirEntry[str]) -> int:
    """Time of last modification in nanoseconds; -1 when the file was moved on meanwhile."""
    try:
        return entry.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if _NAME.fullmatch(line)]


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > STALE_SECONDS
    except FileNotFoundError:
        return False


def _sync_data(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)
