"""Why series were not paired."""

from dataclasses import replace

from sqlalchemy import text

from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import SeriesKey
from fusionnode.index.database import Database
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW

ONE, TWO = SeriesKey("1.2.1", 1), SeriesKey("1.2.2", 1)
LONG = Rejection("brain", (ONE, TWO), "no overlap " * 2000)


def test_the_same_reason_is_kept_once(ledger: SqlLedger) -> None:
    rejection = Rejection("brain", (ONE, TWO), "another patient")
    ledger.record_rejections([rejection, rejection], NOW)
    ledger.record_rejections([rejection], LATER)
    assert ledger.list_rejections() == [rejection]


def test_every_difference_is_kept_oldest_first(ledger: SqlLedger) -> None:
    first = Rejection("brain", (ONE, TWO), "another patient")
    others = [
        replace(first, pipeline="heart"),
        replace(first, series=(ONE,)),
        replace(first, series=(TWO, ONE)),
        replace(first, series=(replace(ONE, generation=2), TWO)),
        replace(first, reason="too long apart"),
        replace(first, series=()),
        LONG,
    ]
    ledger.record_rejections([first], NOW)
    ledger.record_rejections(others, LATER)
    assert ledger.list_rejections() == [first, *others]


def test_what_is_new_is_told_once(ledger: SqlLedger) -> None:
    first, second = Rejection("brain", (ONE,), "no partner yet"), Rejection("brain", (TWO,), "no partner yet")
    assert ledger.record_rejections([first], NOW) == [first]
    assert ledger.record_rejections([first, second], LATER) == [second]
    assert [one.decided_at for one in ledger.list_rejections()] == [NOW, LATER]


def test_those_of_one_series_are_found_in_every_generation(ledger: SqlLedger) -> None:
    longer = SeriesKey("1.2.11", 1)
    mine = [Rejection("brain", keys, "no") for keys in ((ONE,), (TWO, ONE), (replace(ONE, generation=2),))]
    ledger.record_rejections([*mine, Rejection("brain", (TWO,), "no"), Rejection("brain", (longer,), "no")], NOW)
    assert ledger.list_rejections("1.2.1") == mine
    assert ledger.list_rejections("1.2") == []
    assert ledger.list_rejections("%") == []


def test_the_reasons_of_a_series_are_looked_up_and_not_searched_for(ledger_url: str, ledger: SqlLedger) -> None:
    crowd = [Rejection("brain", (SeriesKey(f"1.2.{number}", 1),), "no") for number in range(300)]
    ledger.record_rejections(crowd, NOW)
    assert ledger.list_rejections("1.2.7") == [crowd[7]]
    database = Database(ledger_url)
    with database.read() as connection:
        if database.is_sqlite:
            query = "SELECT rejection_id FROM rejected_series WHERE series_instance_uid = '1.2.7'"
            (plan,) = connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).mappings().all()
            assert "USING INDEX ix_rejected_series_series_instance_uid" in plan["detail"]
    ledger.withdraw_rejections("brain", {"1.2.7"})
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM rejected_series")).scalar_one() == 299
    database.close()


def test_nothing_to_record_is_nothing_recorded(ledger: SqlLedger) -> None:
    ledger.record_rejections([], NOW)
    assert ledger.list_rejections() == []


def test_what_is_paired_now_leaves_no_reason_why_it_was_not_by_that_pipeline(ledger: SqlLedger) -> None:
    waiting = [Rejection("brain", keys, "waits") for keys in ((ONE,), (replace(ONE, generation=2),), (TWO,))]
    others = [Rejection("heart", (ONE,), "waits"), Rejection("brain", (SeriesKey("1.2.11", 1),), "waits")]
    ledger.record_rejections([*waiting, *others], NOW)
    ledger.withdraw_rejections("brain", {"1.2.1", "1.2.2"})
    assert ledger.list_rejections() == others
    ledger.withdraw_rejections("brain", ())
    assert ledger.list_rejections() == others
    assert ledger.record_rejections(waiting[:1], LATER) == waiting[:1], "it may come to pass again"
