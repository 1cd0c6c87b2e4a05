"""Why series were not paired."""

from dataclasses import replace

from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import SeriesKey
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


def test_nothing_to_record_is_nothing_recorded(ledger: SqlLedger) -> None:
    ledger.record_rejections([], NOW)
    assert ledger.list_rejections() == []
