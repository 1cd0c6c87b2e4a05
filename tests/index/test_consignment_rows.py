"""The rows of one job and one destination are found, and no others."""

from sqlalchemy import select

from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.consignment_rows import match_consignment, revive_consignments
from fusionnode.index.store import SqlLedger
from fusionnode.index.tables import DeliveryRow
from tests.support.ledgers import NOW, make_job


def _owe(ledger: SqlLedger) -> tuple[str, str]:
    first, second = make_job(name="a"), make_job(name="b")
    for job in (first, second):
        ledger.add_job(job)
        ledger.add_deliveries(Delivery(job.id, to, "1.2.4", "1.2.5", "5.dcm") for to in ("archive", "pacs"))
    return first.id, second.id


def test_conditions_choose_by_job_and_destination(ledger: SqlLedger) -> None:
    first, _ = _owe(ledger)
    with ledger._database.read() as connection:
        for destination, expected in (("pacs", ["pacs"]), ("", ["archive", "pacs"]), ("attic", [])):
            chosen = match_consignment(DeliveryRow, first, destination)
            found = connection.execute(select(DeliveryRow.destination).where(chosen)).scalars()
            assert sorted(found) == expected


def test_revived_are_those_that_exist(ledger: SqlLedger) -> None:
    first, second = _owe(ledger)
    with ledger._database.write() as connection:
        assert revive_consignments(connection, first) == 2
        assert revive_consignments(connection, first, "pacs", everything=True) == 1
        assert revive_consignments(connection, second, "attic") == 0


def test_what_was_given_up_is_owed_again_once_revived_and_only_there(ledger: SqlLedger) -> None:
    first, _ = _owe(ledger)
    for owed in ledger.list_undelivered(first):
        ledger.record_outcome(ledger.find_job(first), DeliveryOutcome(owed, False, "C000", True), NOW, given_up=True)
    assert ledger.list_undelivered(first) == []
    with ledger._database.write() as connection:
        revive_consignments(connection, first, "pacs")
    assert [(one.destination, one.refusals) for one in ledger.list_undelivered(first)] == [("pacs", 0)]
    assert [one.refused for one in ledger.list_consignments(first)] == [1, 0]
