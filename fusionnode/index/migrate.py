"""Edge: brings the database schema to the revision this version needs, and checks that it is there."""

import logging
import threading
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from fusionnode.errors import LedgerOutdated
from fusionnode.index.database import Database

logger = logging.getLogger(__name__)

_SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x66757365  # any number, as long as nothing else in the same database uses it
_one_at_a_time = threading.Lock()  # Alembic keeps its context in a module


def migrate(url: str) -> None:
    """Bring the schema of the database at ``url`` to the newest revision; nothing happens when it is there.

    Any number of processes may do so at once: one migrates, the others wait and find nothing to do. It is one
    transaction, so a migration that fails leaves the schema as it was.

    Raises:
        LedgerOutdated: the schema is newer than this version.
        LedgerUnavailable: the database cannot be reached, or another migration takes too long.
        SettingsInvalid: the URL is of no supported database.
    """
    database = Database(url)
    try:
        with _one_at_a_time, database.write() as connection:
            if not database.is_sqlite:  # SQLite is locked already: every writing transaction excludes all others
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            _upgrade(connection)
    finally:
        database.close()


def check_revision(database: Database) -> None:
    """Return if the schema is the one this version needs.

    Raises:
        LedgerOutdated: it is older, newer or missing.
        LedgerUnavailable: the database cannot be reached.
    """
    with database.read() as connection:
        found = find_revision(connection)
    needed = find_head()
    if found != needed:
        raise LedgerOutdated(
            f"The database schema is at revision {found or 'none'}, this version needs {needed}.",
            remedy="Run `fusionnode migrate`, or install the version that made the schema if that is newer.",
            found=found,
            needed=needed,
        )


def require_ledger(url: str) -> None:
    """Return if there is a ledger, of whatever version.

    Raises:
        LedgerOutdated: the database has no schema at all.
        LedgerUnavailable: the database cannot be reached.
    """
    with closing(Database(url)) as database, database.read() as connection:
        found = find_revision(connection)
    if found is None:
        raise LedgerOutdated(
            "There is no ledger here.", remedy="Check `database_url` and `spool` of the site file.", found=found
        )


def find_revision(connection: Connection) -> str | None:
    """Return the revision of a database's schema, None where there is no schema."""
    return MigrationContext.configure(connection).get_current_revision()


def find_head() -> str | None:
    """Return the revision this version needs."""
    return ScriptDirectory(str(_SCRIPTS)).get_current_head()


def build_config(connection: Connection) -> Config:
    """Return the settings Alembic needs to run this package's migrations over ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    found, needed = find_revision(connection), find_head()
    known = {script.revision for script in ScriptDirectory(str(_SCRIPTS)).walk_revisions()}
    if found is not None and found not in known:
        raise LedgerOutdated(
            f"The database schema is at revision {found}, which this version does not know.",
            remedy="It was made by a newer version: install that one.",
            found=found,
            needed=needed,
        )
    if found != needed:
        command.upgrade(build_config(connection), "head")
        logger.info("ledger migrated from revision %s to %s", found or "none", needed)
