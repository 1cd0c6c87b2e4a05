"""Ledgers to test on: SQLite always, PostgreSQL where the tests of real services run."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from fusionnode.index.database import Database
from fusionnode.index.migrate import migrate
from fusionnode.index.store import SqlLedger, open_ledger
from fusionnode.index.tables import Table
from tests.support.ledgers import NOW
from tests.support.postgres import PostgresMissing, PostgresServer, start_postgres
from tests.support.tools import forgo

ON_BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    # Not below pytest's own folder: that is closed to the user the server runs as, and too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        try:
            with start_postgres(Path(folder)) as server:
                yield server
        except PostgresMissing as missing:
            forgo(str(missing))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_migrated(postgres_server: PostgresServer) -> str:
    """The URL of one migrated database, emptied instead of made anew because that is far faster."""
    url = postgres_server.url_of(postgres_server.create_database())
    migrate(url)
    return url


@pytest.fixture(params=ON_BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without a schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url_of(server.create_database())


@pytest.fixture(params=ON_BOTH)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty ledger."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgres_migrated")
    database = Database(url)
    with database.write() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(Table.metadata.tables)} RESTART IDENTITY"))
    database.close()
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[SqlLedger]:
    opened = open_ledger(ledger_url, clock=lambda: NOW)
    yield opened
    opened.close()
