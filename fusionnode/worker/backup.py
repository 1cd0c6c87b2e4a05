"""A node in a folder, taken while it works, and put back after a disaster."""

import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fusionnode import __version__
from fusionnode.durable import make_folder, sync_folder, write_whole
from fusionnode.errors import BackupFailed, BackupIncomplete, OutputOccupied
from fusionnode.index.backup import load_ledger, require_empty, restart_steps, save_ledger
from fusionnode.index.store import migrate
from fusionnode.settings import Settings
from fusionnode.wiring import open_spool
from fusionnode.worker.jobs import reindex_restored

logger = logging.getLogger(__name__)

_FOLDERS = ("arrivals", "instances", "quarantine", "outbox", "reports", "audit")
"""In this order: files only ever leave the arrivals, so with those read first none is overlooked on its way."""

_NOTE = "backup.json"


def back_up(settings: Settings, out: Path) -> dict[str, Any]:
    """Write everything that cannot be made again into the new folder ``out``; return what that was.

    First the ledger, then the files: what it names is there by then, and what comes after it is entered when it is put
    back. The folder appears whole or not at all.

    Raises:
        OutputOccupied: there is such a folder.
        LedgerUnavailable, BackupFailed: the database is not to be had, or a disk is full or fails; nothing is left.
        SettingsInvalid: a program of PostgreSQL is not installed.
    """
    _require_new(out)
    with _named_errors(f"The backup cannot be written to {out}"):
        make_folder(out.parent)
        # A folder of its own: another backup to the same name may be under way.
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        try:
            facts = _fill(settings, staging)
            _require_new(out)
            staging.rename(out)
            sync_folder(out.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    logger.info("%d files and the ledger are in %s", sum(facts["files"].values()), out)
    return facts


def _require_new(out: Path) -> None:
    if out.exists():
        raise OutputOccupied(f"{out} is there already.", remedy="Name a new folder for each backup.")


def _list_places(settings: Settings) -> dict[str, Path]:
    """Return where a node keeps what a backup holds, by its name there: in the spool, and the trail where it likes."""
    places = {name: settings.spool / name for name in _FOLDERS}
    return places | ({"audit": settings.audit.folder} if settings.audit.folder else {})


def _fill(settings: Settings, staging: Path) -> dict[str, Any]:
    """Write a backup whole into ``staging``, the note that makes it one last; return what the note says."""
    facts: dict[str, Any] = {
        "fusionnode": __version__,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ledger": save_ledger(settings.ledger_url, staging),
    }
    places = _list_places(settings).items()
    facts["files"] = {name: _copy_folder(place, staging / "spool" / name) for name, place in places}
    write_whole(staging / _NOTE, json.dumps(facts, indent=2))
    return facts


def restore(settings: Settings, folder: Path) -> dict[str, Any]:
    """Put a backup into an empty spool and an empty database; return what the backup says of itself.

    Unfinished jobs go on: what was prepared is made again, what was not sent is sent. An audit trail outside the spool
    that is still there stays as it is; it has more in it.

    Raises:
        BackupIncomplete: ``folder`` holds no whole backup.
        OutputOccupied: the spool holds files, or the database a ledger.
        LedgerUnavailable, BackupFailed: the database is not to be had, or a disk is full or fails.
        SettingsInvalid: a program of PostgreSQL is not installed, or the database is of another kind.
    """
    facts = _read_note(folder)
    require_empty(settings.ledger_url)
    occupied = next((path for name in _FOLDERS for path in _walk(settings.spool / name)), None)
    if occupied is not None:
        raise OutputOccupied(
            f"The spool {settings.spool} is not empty, and nothing is ever overwritten.",
            remedy="Move it away, then restore into a new one.",
        )
    open_spool(settings)
    with _named_errors(f"The backup cannot be put back into {settings.spool}"):
        for name, place in _list_places(settings).items():
            if next(_walk(place), None) is None:
                _copy_folder(folder / "spool" / name, place)
            else:
                logger.warning("%s is not empty and stays as it is; what the backup has of it is not put back", place)
        load_ledger(settings.ledger_url, folder, facts["ledger"])
    migrate(settings.ledger_url)
    restarted = restart_steps(settings.ledger_url, datetime.now(UTC))
    reindex_restored(settings)
    logger.info("restored as of %s; %d jobs begin their step again", facts["taken_at"], restarted)
    return facts


def _read_note(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        taken = {name: sum(1 for _ in _walk(folder / "spool" / name)) for name in facts["files"]}
        whole = taken == facts["files"] and (folder / facts["ledger"]).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise BackupIncomplete(
            f"{folder} holds no whole backup.", remedy="Name a folder that `fusionnode backup` ended well with."
        )
    return dict(facts)


def _copy_folder(source: Path, target: Path) -> int:
    """Copy the finished files below ``source``, so that a power cut does not lose them; return how many there were."""
    count, folders = 0, {target}
    make_folder(target)
    for path in _walk(source):
        place = target / path.relative_to(source)
        make_folder(place.parent)
        folders.add(place.parent)
        count += _copy_file(path, place)
    for folder in folders:
        sync_folder(folder)
    return count


def _copy_file(path: Path, place: Path) -> bool:
    """Copy one file with its times; False when it was gone already.

    What is gone was moved on, or deleted for its age after it was delivered. Once it is open it may be moved on as it
    likes.
    """
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return False
    with source, place.open("wb") as target:
        facts = os.fstat(source.fileno())
        os.fchmod(target.fileno(), stat.S_IMODE(facts.st_mode))
        shutil.copyfileobj(source, target)
        target.flush()
        os.utime(target.fileno(), ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.fsync(target.fileno())
    return True


@contextmanager
def _named_errors(words: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise BackupFailed(f"{words}: {problem.strerror}.", remedy="Make room, or look at the disk.") from problem


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the finished files below ``folder``, in order; what is being written begins with a dot."""
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith("."))
