"""Edge: the ledger as one file, taken while everybody works, and put back where there is none."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from sqlalchemy import URL, make_url, select, update

from fusionnode.domain.job import WAITING, WORKING, JobState
from fusionnode.domain.terms import Step
from fusionnode.durable import sync_folder
from fusionnode.errors import LedgerUnavailable, OutputOccupied, SettingsInvalid
from fusionnode.index.database import Database
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.migrate import find_revision
from fusionnode.index.tables import JobRow

_SQLITE, _POSTGRES = "ledger.sqlite", "ledger.dump"
_UNPREPARED = (WORKING[Step.PREPARE], WAITING[Step.FUSE], WORKING[Step.FUSE])


def save_ledger(url: str, folder: Path) -> str:
    """Copy the database at ``url`` as it is at this moment into a new file in ``folder``; return its name.

    Raises:
        LedgerUnavailable: it did not answer.
        SettingsInvalid: ``pg_dump``, which a PostgreSQL database needs, is not installed.
    """
    parsed = make_url(url)
    if parsed.drivername == "sqlite":
        _copy_sqlite(Path(str(parsed.database)), folder / _SQLITE)
        return _SQLITE
    _run("pg_dump", parsed, ["--format=custom", "--no-owner", "--file", str(folder / _POSTGRES)])
    return _POSTGRES


def load_ledger(url: str, folder: Path, name: str) -> None:
    """Put the file ``name`` that `save_ledger` made into the empty database at ``url``.

    Raises:
        OutputOccupied: there is a ledger at ``url``.
        LedgerUnavailable: the database did not take it; nothing of it is there.
        SettingsInvalid: the file is of another kind of database, or ``pg_restore`` is not installed.
    """
    require_empty(url)
    parsed = make_url(url)
    if (parsed.drivername == "sqlite") is not (name == _SQLITE):
        raise SettingsInvalid(
            f"{name} is no backup of the kind of database that is set.", remedy="Set `database_url` as it was then."
        )
    if name == _SQLITE:
        _put_sqlite(folder / name, Path(str(parsed.database)))
        return
    _run("pg_restore", parsed, ["--no-owner", "--exit-on-error", "--single-transaction", str(folder / name)])


def require_empty(url: str) -> None:
    """Return if there is no ledger at ``url`` yet.

    Raises:
        OutputOccupied: there is one.
        LedgerUnavailable: the database did not answer.
    """
    parsed = make_url(url)
    if parsed.drivername == "sqlite" and not Path(str(parsed.database)).exists():
        return
    database = Database(url)
    try:
        with database.read() as connection:
            found = find_revision(connection)
    finally:
        database.close()
    if found is not None:
        raise OutputOccupied(
            "There is a ledger in the database already, and nothing is ever overwritten.",
            remedy="Restore into an empty one; move the old one away first.",
        )


def restart_steps(url: str, now: datetime) -> int:
    """Let every unfinished job go on from what a backup holds; return how many there were.

    What was prepared is in no backup and is made again, and whoever worked on a job when it was taken is gone. That is
    no move along the table of transitions: it is how the world looks after a restore. Fences grow, so that a worker
    that survived somewhere keeps nothing.
    """
    places = dict.fromkeys(_UNPREPARED, JobState.QUEUED)
    places |= {WORKING[step]: WAITING[step] for step in (Step.SEND, Step.COMMIT)}
    database = Database(url)
    try:
        with database.write() as connection:
            found = connection.execute(select(JobRow.id, JobRow.state).where(JobRow.state.in_(sorted(places)))).all()
            for job_id, state in found:
                # With a time, for a stored job without one would rest and never be asked for its commitment again.
                values = {"state": places[JobState(state)], "fence": JobRow.fence + 1, "attempts": 0, "not_before": now}
                cleared = {"lease_until": None, "worker": "", "changed_at": now}
                connection.execute(update(JobRow).where(JobRow.id == job_id).values(values | cleared))
                append_event(connection, Event(now, job_id, "restored", f"{state} to {values['state']}"))
    finally:
        database.close()
    return len(found)


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.is_file():
        raise LedgerUnavailable(f"There is no ledger {source.name}.", remedy="Run `fusionnode migrate`.")
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True, timeout=30)) as origin,
            closing(sqlite3.connect(target)) as copy,
        ):
            origin.backup(copy)
    except sqlite3.Error as error:
        raise LedgerUnavailable(
            f"The ledger cannot be copied: {error}.", remedy="Look at the disk, then try again."
        ) from error


def _put_sqlite(source: Path, target: Path) -> None:
    # What a lost ledger left behind would be taken for the last transactions of this one.
    for leftover in ("-wal", "-shm"):
        target.with_name(f"{target.name}{leftover}").unlink(missing_ok=True)
    temporary = target.with_name(f".{target.name}.restored")
    with source.open("rb") as saved, temporary.open("wb") as copy:
        shutil.copyfileobj(saved, copy)
        copy.flush()
        os.fsync(copy.fileno())
    temporary.replace(target)
    sync_folder(target.parent)


def _run(program: str, url: URL, arguments: Sequence[str]) -> None:
    """Run one of PostgreSQL's own programs on the database at ``url``; the password never gets onto a command line."""
    query = {key: str(value) for key, value in url.query.items()}
    places = (("-h", query.get("host") or url.host), ("-p", url.port), ("-U", url.username), ("-d", url.database))
    where = [part for flag, value in places if value for part in (flag, str(value))]
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    try:
        done = subprocess.run(
            [program, "--no-password", *where, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise SettingsInvalid(
            f"{program} is not installed on this host.", remedy="Install the client programs of PostgreSQL."
        ) from None
    if done.returncode:
        words = next(iter(done.stderr.strip().splitlines()), "no reason given")
        raise LedgerUnavailable(f"{program} failed: {words}", remedy="Its own message says why.")
