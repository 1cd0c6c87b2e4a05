"""The two column types that keep defects and odd data out."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.exc import StatementError

from fusionnode.index.database import Database
from fusionnode.index.tables import EventRow, Table

ZONES = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=ZONES)  # noqa: DTZ001


def keep(database: Database, at: datetime, detail: str) -> tuple[datetime, str]:
    """Write one row and read it back."""
    row = {"at": at, "subject": "s", "what": "w", "detail": detail}
    with database.write() as connection:
        key = connection.execute(insert(EventRow).values(row).returning(EventRow.id)).scalar_one()
    with database.read() as connection:
        found = connection.execute(select(EventRow.at, EventRow.detail).where(EventRow.id == key)).one()
    return found.at, found.detail


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=MOMENTS, detail=st.text(st.characters(codec=None), max_size=20))
def test_every_moment_and_every_text_can_be_kept(ledger_url: str, at: datetime, detail: str) -> None:
    database = Database(ledger_url)
    kept_at, kept = keep(database, at, detail)
    database.close()
    assert kept_at == at
    assert kept_at.tzinfo is UTC
    clean = detail.isprintable() and "\ufffd" not in detail
    assert not clean or kept == detail
    assert "\0" not in kept


def test_what_no_database_takes_does_not_stop_it(ledger_url: str) -> None:
    database = Database(ledger_url)
    assert keep(database, datetime.now(UTC), "a\0b\ud800c")[1] == "ab?c"
    database.close()


def test_a_moment_without_a_zone_is_a_defect(ledger_url: str) -> None:
    database = Database(ledger_url)
    with pytest.raises(StatementError, match="time zone"):
        keep(database, datetime(2024, 1, 1), "")  # noqa: DTZ001
    database.close()


def test_moments_sort_as_moments(ledger_url: str) -> None:
    database = Database(ledger_url)
    east, west = timezone(timedelta(hours=9)), timezone(timedelta(hours=-9))
    first, second = datetime(2024, 1, 2, 1, tzinfo=east), datetime(2024, 1, 1, 20, tzinfo=west)
    for at in (second, first):
        keep(database, at, "")
    with database.read() as connection:
        assert list(connection.execute(select(EventRow.at).order_by(EventRow.at)).scalars()) == [first, second]
    database.close()


def test_every_constraint_has_a_name_a_migration_can_call_it_by() -> None:
    constraints = [one for table in Table.metadata.tables.values() for one in (*table.constraints, *table.indexes)]
    assert constraints
    assert all(one.name for one in constraints)
