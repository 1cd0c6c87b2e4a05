"""Migrating: once, whoever asks how often, and to exactly what the tables say."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from fusionnode.errors import LedgerOutdated, LedgerUnavailable
from fusionnode.index.database import Database
from fusionnode.index.migrate import build_config, check_revision, find_head, find_revision, migrate
from fusionnode.index.store import open_ledger
from fusionnode.index.tables import Table
from tests.support.ledgers import make_job


def test_the_migrations_make_what_the_tables_say(empty_url: str) -> None:
    migrate(empty_url)
    database = Database(empty_url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
        assert set(inspect(connection).get_table_names()) == {*Table.metadata.tables, "alembic_version"}
    database.close()


def test_the_second_time_nothing_happens(empty_url: str, caplog: pytest.LogCaptureFixture) -> None:
    migrate(empty_url)
    ledger = open_ledger(empty_url)
    ledger.add_job(make_job())
    ledger.close()
    with caplog.at_level(logging.INFO, logger="fusionnode.index"):
        migrate(empty_url)
    assert caplog.messages == []
    ledger = open_ledger(empty_url)
    assert ledger.list_jobs() == [make_job()]
    ledger.close()


def test_two_processes_and_two_threads_may_migrate_at_once(empty_url: str) -> None:
    program = f"from fusionnode.index.migrate import migrate; migrate({empty_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrate, [empty_url] * 2))
    assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * 2
    database = Database(empty_url)
    check_revision(database)
    database.close()


def test_a_newer_schema_is_neither_opened_nor_touched(empty_url: str) -> None:
    migrate(empty_url)
    database = Database(empty_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for use in (open_ledger, migrate):
        with pytest.raises(LedgerOutdated, match="9999") as raised:
            use(empty_url)
        assert raised.value.facts == {"found": "9999", "needed": find_head()}
    with database.read() as connection:
        assert find_revision(connection) == "9999"
    database.close()


def test_going_back_leaves_no_table(empty_url: str) -> None:
    migrate(empty_url)
    database = Database(empty_url)
    with database.write() as connection:
        command.downgrade(build_config(connection), "base")
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
        assert find_revision(connection) is None
    database.close()
    migrate(empty_url)


def test_a_database_that_cannot_be_reached_is_unavailable() -> None:
    with pytest.raises(LedgerUnavailable):
        migrate("postgresql+psycopg://nobody@/nothing?host=/nonexistent")
