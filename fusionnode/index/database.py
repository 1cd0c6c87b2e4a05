"""Edge: connections and transactions on SQLite and PostgreSQL, with their failures given one name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, literal, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from fusionnode.errors import LedgerUnavailable, SettingsInvalid
from fusionnode.index.tables import Table

LOCK_WAIT_SECONDS = 30
"""How long a transaction waits for another one before it gives up as `LedgerUnavailable`."""

CHUNK = 400
"""How many values go into one IN list, twice; SQLite takes no more than 999 of them in its older builds."""

_CONNECTIONS = 32
_WRITES = "fusionnode_writes"


def read_clock() -> datetime:
    """Return the present moment (UTC)."""
    return datetime.now(UTC)


class Database:
    """The engine behind one ledger.

    A transaction that reads sees one snapshot throughout. One that writes takes its lock when it begins: on SQLite a
    transaction that starts as a reader and writes later is refused at once when another wrote in between.
    """

    def __init__(self, url: str, clock: Callable[[], datetime] = read_clock) -> None:
        self.engine = _create_ledger_engine(_parse_url(url))
        self.clock = clock

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded form."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading.

        Raises:
            LedgerUnavailable: the database did not answer, hung up, or stayed locked.
        """
        options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with translate_failures(), self.engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a connection for writing; commits at the end, rolls back when anything was raised.

        Raises:
            LedgerUnavailable: the database did not answer, hung up, or stayed locked.
        """
        with translate_failures(), self.engine.connect() as connection:
            writing = connection.execution_options(**{_WRITES: True})
            with writing.begin():
                yield writing

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()


class Store:
    """A part of the ledger: some tables of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def insert_new(connection: Connection, table: type[Table], rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert the rows that are not there yet; return how many there were of them."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    # What was inserted is counted by what comes back: the row count of an INSERT is not told by every driver.
    statement = dialect.insert(table).on_conflict_do_nothing().returning(literal(1))
    return sum(len(connection.execute(statement, dict(row)).all()) for row in rows)


@contextmanager
def translate_failures() -> Iterator[None]:
    """Turn what may pass by itself into `LedgerUnavailable`; a wrong statement stays the defect it is."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if not _is_transient(error):
            raise
        cause = getattr(error, "orig", None) or error
        raise LedgerUnavailable(
            f"The ledger's database is not available: {str(cause).strip().splitlines()[0]}.",
            remedy="Check that it runs, can be reached and has free disk space.",
        ) from error


def _is_transient(error: DBAPIError | PoolTimeout) -> bool:
    if isinstance(error, PoolTimeout):
        return True
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_TRANSIENT_STATES)
    # The sqlite3 module has only this one class for a locked file and for a misspelt table.
    misspelt = ("no such", "syntax error", "already exists", "has no column")
    return isinstance(error, OperationalError) and not any(word in str(error.orig) for word in misspelt)


# PostgreSQL appendix A: connection, transaction rollback, resources, lock not available, operator intervention,
# system error. Not 54, program limit exceeded: a value that is too large stays too large.
_TRANSIENT_STATES = ("08", "40", "53", "55P03", "57", "58")


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The text may hold a password, so it is not repeated.
        raise SettingsInvalid("The database URL cannot be parsed.", remedy=_REMEDY) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    in_memory = parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg") or in_memory:
        raise SettingsInvalid(f"{parsed.render_as_string()} is no database for a ledger.", remedy=_REMEDY)
    return parsed


_REMEDY = "Use sqlite:////absolute/path.sqlite or postgresql+psycopg://user:password@host/database."


def _create_ledger_engine(url: URL) -> Engine:
    # Parameters stay out of messages, for they hold patient identity.
    pool = {"pool_size": _CONNECTIONS, "max_overflow": 0, "pool_timeout": LOCK_WAIT_SECONDS, "hide_parameters": True}
    if url.drivername == "sqlite":
        engine = create_engine(url, connect_args={"timeout": LOCK_WAIT_SECONDS}, **pool)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = f"-c lock_timeout={LOCK_WAIT_SECONDS}s -c timezone=UTC"
    # A database host that loses power says nothing; without these a connection to it would hang for hours.
    liveness = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    settings = {"connect_timeout": 10, "application_name": "fusionnode", "options": options, **liveness}
    return create_engine(url, connect_args=settings, pool_pre_ping=True, **pool)


def _configure_sqlite(connection: Any, entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions are begun below, not guessed by the driver
    # FULL: what was committed survives a power cut, as the spool's files do; NORMAL would lose the last moments in WAL.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
