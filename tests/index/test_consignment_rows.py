"""The rows of one job and one destination are found, and no others."""

from sqlalchemy import select

from fusionnode.flow.ports import Delivery
from fusionnode.index.consignment_rows import match_consignment, revive_consignments
from fusionnode.index.store import SqlLedger
from fusionnode.index.tables import DeliveryRow
from tests.support.ledgers import make_job


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
