"""What is owed, and what became of it."""

from dataclasses import replace

import pytest

from fusionnode.domain.terms import Step
from fusionnode.errors import JobUnknown, LeaseLost
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, make_job

JOB = make_job()


@pytest.fixture
def owed(ledger: SqlLedger) -> list[Delivery]:
    ledger.add_job(JOB)
    # Numbered against the order of publishing, so that sorting by UID would be noticed.
    deliveries = [
        Delivery(JOB.id, destination, "1.2.840.10008.5.1.4.1.1.7", f"1.2.{9 - number}", f"outbox/{number}.dcm")
        for destination in ("ARCHIVE", "PACS")
        for number in range(3)
    ]
    ledger.add_deliveries(deliveries)
    return deliveries


def test_all_is_owed_in_the_order_of_publishing(ledger: SqlLedger, owed: list[Delivery]) -> None:
    assert ledger.list_undelivered(JOB.id) == owed
    assert ledger.count_deliveries(JOB.id) == (0, 6)


def test_one_that_is_stored_is_not_owed_any_more_whatever_becomes_of_the_others(
    ledger: SqlLedger, owed: list[Delivery]
) -> None:
    ledger.record_outcome(JOB, DeliveryOutcome(owed[0], True, "0000"), NOW)
    ledger.record_outcome(JOB, DeliveryOutcome(owed[1], False, "A700"), NOW)
    assert ledger.list_undelivered(JOB.id) == [replace(owed[1], attempts=1, last_status="A700"), *owed[2:]]
    assert ledger.count_deliveries(JOB.id) == (1, 6)


def test_stored_stays_stored(ledger: SqlLedger, owed: list[Delivery]) -> None:
    ledger.record_outcome(JOB, DeliveryOutcome(owed[0], True, "0000"), NOW)
    ledger.record_outcome(JOB, DeliveryOutcome(owed[0], False, "A700"), LATER)
    ledger.add_deliveries(owed)
    assert ledger.count_deliveries(JOB.id) == (1, 6)
    assert owed[0] not in ledger.list_undelivered(JOB.id)


def test_attempts_are_counted_per_instance_and_destination(ledger: SqlLedger, owed: list[Delivery]) -> None:
    for _ in range(3):
        ledger.record_outcome(JOB, DeliveryOutcome(owed[4], False, "0122"), NOW)
    assert [one.attempts for one in ledger.list_undelivered(JOB.id)] == [0, 0, 0, 0, 3, 0]


def test_nothing_is_owed_for_an_unknown_job(ledger: SqlLedger, owed: list[Delivery]) -> None:
    with pytest.raises(JobUnknown):
        ledger.add_deliveries([replace(owed[0], sop_instance_uid="1.2.77"), replace(owed[0], job_id="nobody")])
    assert ledger.count_deliveries(JOB.id) == (0, 6), "all or nothing"
    assert ledger.count_deliveries("nobody") == (0, 0)
    assert ledger.list_undelivered("nobody") == []


@pytest.mark.parametrize("change", [{"destination": "X"}, {"sop_instance_uid": "1.2.3"}])
def test_an_outcome_of_what_was_never_owed_is_refused(
    ledger: SqlLedger, owed: list[Delivery], change: dict[str, str]
) -> None:
    with pytest.raises(JobUnknown):
        ledger.record_outcome(JOB, DeliveryOutcome(replace(owed[0], **change), True, "0000"), NOW)  # type: ignore[arg-type]
    with pytest.raises(JobUnknown):
        ledger.record_outcome(make_job(name="nobody"), DeliveryOutcome(owed[0], True, "0000"), NOW)
    assert ledger.count_deliveries(JOB.id) == (0, 6)


@pytest.mark.parametrize("outcome", [(True, "0000", False), (False, "C000", True)])
def test_a_worker_that_was_overtaken_neither_stores_nor_gives_up(
    ledger: SqlLedger, owed: list[Delivery], outcome: tuple[bool, str, bool]
) -> None:
    late = ledger.claim_job(Step.PREPARE, NOW, 1, "late")
    assert late is not None
    assert ledger.release_leases(ledger.list_leases(), LATER)
    taken = ledger.claim_job(Step.PREPARE, LATER, 60, "quick")
    assert taken is not None
    ledger.record_outcome(taken, DeliveryOutcome(owed[0], True, "0000"), LATER)
    for one in owed[:2]:
        with pytest.raises(LeaseLost):
            ledger.record_outcome(late, DeliveryOutcome(one, *outcome), LATER, given_up=outcome[2])
    assert ledger.list_undelivered(JOB.id) == owed[1:]
    assert ledger.list_refused(JOB.id, "ARCHIVE") == []


def test_the_last_answers_are_counted_for_the_operator(ledger: SqlLedger, owed: list[Delivery]) -> None:
    ledger.record_outcome(JOB, DeliveryOutcome(owed[0], False, "A700"), NOW)
    ledger.record_outcome(JOB, DeliveryOutcome(owed[0], True, "0000"), LATER)
    ledger.record_outcome(JOB, DeliveryOutcome(owed[1], False, "A700"), NOW)
    assert ledger.count_statuses(JOB.id) == {
        "ARCHIVE 0000": 1,
        "ARCHIVE A700": 1,
        "ARCHIVE not tried": 1,
        "PACS not tried": 3,
    }


def test_refusals_that_lie_in_the_instance_are_counted_in_a_row(ledger: SqlLedger, owed: list[Delivery]) -> None:
    for status, final in (("A900", True), ("C000", True), ("A700", False), ("A900", True)):
        ledger.record_outcome(JOB, DeliveryOutcome(owed[0], False, status, final), NOW)
        if status == "C000":
            assert ledger.list_undelivered(JOB.id)[0].refusals == 2
    assert ledger.list_undelivered(JOB.id)[0] == replace(owed[0], attempts=4, last_status="A900", refusals=1)


def test_one_that_is_given_up_is_owed_no_more_and_costs_no_other(ledger: SqlLedger, owed: list[Delivery]) -> None:
    ledger.record_outcome(JOB, DeliveryOutcome(owed[0], False, "A900", True), NOW, given_up=True)
    assert ledger.list_undelivered(JOB.id) == owed[1:]
    assert [one.last_status for one in ledger.list_refused(JOB.id, "ARCHIVE")] == ["A900"]
    assert ledger.list_refused(JOB.id, "PACS") == []
    ledger.add_deliveries(owed)
    assert ledger.list_undelivered(JOB.id) == owed[1:], "publishing again changes nothing"
    accounts = {one.destination: (one.total, one.stored, one.refused) for one in ledger.list_consignments(JOB.id)}
    assert accounts == {"ARCHIVE": (3, 0, 1), "PACS": (3, 0, 0)}
