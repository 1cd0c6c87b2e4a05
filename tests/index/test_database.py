"""Transactions on both databases, and what their failures are called."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from fusionnode.errors import LedgerUnavailable, SettingsInvalid
from fusionnode.index import database as database_module
from fusionnode.index.database import Database, insert_new
from fusionnode.index.migrate import migrate
from fusionnode.index.store import open_ledger
from fusionnode.index.tables import EventRow, SeriesRow
from tests.support.ledgers import NOW, make_job
from tests.support.postgres import PostgresServer

SECRET = "DOE^JOHN"


def make_event(detail: str) -> dict[str, object]:
    return {"at": NOW, "subject": "1.2.3", "what": "test", "detail": detail}


def test_a_transaction_that_raises_leaves_nothing(ledger_url: str) -> None:
    database = Database(ledger_url)

    def write_half() -> None:
        with database.write() as connection:
            connection.execute(insert(EventRow).values(make_event("half")))
            raise KeyError("x")

    with pytest.raises(KeyError):
        write_half()
    with database.read() as connection:
        assert connection.execute(select(EventRow.id)).all() == []
    database.close()


def test_counters_survive_many_writers(ledger_url: str) -> None:
    # A transaction that reads first and writes later is what deadlocks when it is begun as a reader.
    database = Database(ledger_url)
    with database.write() as connection:
        connection.execute(insert(EventRow).values(make_event("0")))
    together = threading.Barrier(4)

    def count_up(_: int) -> None:
        together.wait()
        for _round in range(10):
            with database.write() as connection:
                value = int(connection.execute(select(EventRow.detail).with_for_update()).scalar_one())
                time.sleep(0.001)
                connection.execute(update(EventRow).values(detail=str(value + 1)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))
    with database.read() as connection:
        assert connection.execute(select(EventRow.detail)).scalar_one() == "40"
    database.close()


def test_a_reader_sees_one_moment(ledger_url: str) -> None:
    database = Database(ledger_url)
    with database.read() as reading:
        assert reading.execute(select(EventRow.id)).all() == []
        with database.write() as writing:
            writing.execute(insert(EventRow).values(make_event("later")))
        assert reading.execute(select(EventRow.id)).all() == []
    database.close()


def test_only_new_rows_are_inserted_and_counted(ledger_url: str) -> None:
    database = Database(ledger_url)
    row = {"series_instance_uid": "1.2", "study_instance_uid": "1.3", "patient_id": "", "issuer": "", "birth_date": ""}
    row |= {"sex": "", "authority": "", "generation": 1, "first_seen_at": NOW, "last_seen_at": NOW, "held": False}
    with database.write() as connection:
        assert insert_new(connection, SeriesRow, [row, row]) == 1
        assert insert_new(connection, SeriesRow, [row, row | {"series_instance_uid": "1.4"}]) == 1
    database.close()


def test_a_locked_ledger_is_unavailable(tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "LOCK_WAIT_SECONDS", 0.05)
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    one, two = Database(f"sqlite:///{path}"), Database(f"sqlite:///{path}")
    with one.write(), pytest.raises(LedgerUnavailable, match="locked"), two.write():
        pass
    one.close()
    two.close()


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'ledger.sqlite'}")
    with pytest.raises(LedgerUnavailable), database.read():
        pass
    database.close()


@pytest.mark.system
def test_a_server_that_hangs_up_is_unavailable_until_it_is_back(postgres_server: PostgresServer) -> None:
    url = postgres_server.url_of(postgres_server.create_database())
    migrate(url)
    ledger = open_ledger(url)
    ledger.add_job(make_job())
    postgres_server.stop()
    try:
        with pytest.raises(LedgerUnavailable):
            ledger.has_job(make_job().id)
    finally:
        postgres_server.start()
    assert ledger.has_job(make_job().id)
    ledger.close()


def test_a_wrong_statement_is_a_defect_and_keeps_its_values_to_itself(ledger_url: str) -> None:
    database = Database(ledger_url)
    wrong = text("INSERT INTO nowhere VALUES (:name)")
    with pytest.raises((OperationalError, ProgrammingError)) as raised, database.write() as connection:
        connection.execute(wrong, {"name": SECRET})
    assert SECRET not in str(raised.value)
    database.close()


def test_foreign_keys_hold(ledger_url: str) -> None:
    database = Database(ledger_url)
    orphan = text("INSERT INTO generations VALUES ('1.2', 1, 'receiving', '', :at)")
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(orphan, {"at": NOW.isoformat(" ")})
    database.close()


def test_the_embedded_ledger_survives_a_power_cut(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with database.read() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert pragmas == ["wal", 2]
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
    database.close()


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "mysql://u:hush@h/d", "oracle:hush", "hush", "", "postgresql+psycopg2://h/d"],
)
def test_other_databases_are_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="sqlite:////absolute") as raised:
        Database(url)
    assert "hush@" not in str(raised.value)


def test_the_short_spelling_of_postgresql_is_understood() -> None:
    database = Database("postgresql://user@localhost/fusionnode")
    assert database.engine.dialect.driver == "psycopg"
    assert not database.is_sqlite
    database.close()
