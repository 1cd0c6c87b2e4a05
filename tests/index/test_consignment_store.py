"""Each destination has its own account; what it reports changes that account and no other."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fusionnode.domain.consignment import Consignment
from fusionnode.domain.job import Job, JobEvent, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import LeaseLost
from fusionnode.flow.ports import CommitmentReport, Delivery, DeliveryOutcome, ReportFate
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, make_job

UIDS = ("1.2.5", "1.2.6", "1.2.7")
AGAIN = LATER + timedelta(minutes=7)


@pytest.fixture
def sending(ledger: SqlLedger) -> Job:
    """A job that is SENDING three instances to each of two destinations."""
    job = make_job()
    ledger.add_job(job)
    for step in (Step.PREPARE, Step.FUSE):
        claimed = ledger.claim_job(step, NOW, 60, "w")
        assert claimed is not None
        ledger.advance_job(claimed, JobEvent.FINISHED, NOW)
    ledger.add_deliveries(
        Delivery(job.id, to, "1.2.4", uid, f"{uid}.dcm") for to in ("archive", "pacs") for uid in UIDS
    )
    claimed = ledger.claim_job(Step.SEND, NOW, 60, "w")
    assert claimed is not None
    return claimed


def store(ledger: SqlLedger, job: Job, destination: str) -> None:
    for owed in ledger.list_undelivered(job.id, destination):
        ledger.record_outcome(job, DeliveryOutcome(owed, True, "0000"), NOW)


def rest(ledger: SqlLedger, job: Job, event: JobEvent, not_before: datetime | None = None) -> None:
    """End the step, so that reports can be entered."""
    ledger.advance_job(job, event, NOW, not_before=not_before)


def report(
    ledger: SqlLedger, transaction: str, committed: tuple[str, ...] = (), lost: tuple[str, ...] = ()
) -> ReportFate:
    told = CommitmentReport(transaction, frozenset(committed), dict.fromkeys(lost, 0x0112))
    return ledger.record_report(told, LATER, lambda requests: AGAIN + timedelta(hours=requests))


def test_accounts_count_their_own_instances(ledger: SqlLedger, sending: Job) -> None:
    store(ledger, sending, "archive")
    assert ledger.list_consignments(sending.id) == [
        Consignment(sending.id, "archive", 3, 3),
        Consignment(sending.id, "pacs", 3, 0),
    ]
    assert ledger.list_consignments("nobody") == []
    assert len(ledger.list_uncommitted(sending.id, "archive")) == 3
    assert ledger.list_uncommitted(sending.id, "pacs") == []


def test_what_is_saved_comes_back_and_only_under_the_current_fence(ledger: SqlLedger, sending: Job) -> None:
    [archive, pacs] = ledger.list_consignments(sending.id)
    changed = replace(pacs, attempts=2, requests=1, not_before=LATER, dead=True, reason="no", error="Nope")
    ledger.save_consignment(sending, changed, NOW)
    assert ledger.list_consignments(sending.id) == [archive, changed]
    assert [event.what for event in ledger.list_events(sending.id)][-1] == "given up"
    stale = replace(sending, fence=sending.fence - 1)
    with pytest.raises(LeaseLost):
        ledger.save_consignment(stale, archive, NOW)
    with pytest.raises(LeaseLost):
        ledger.open_commitment(stale, "pacs", "1.9", NOW)
    assert report(ledger, "1.9") is ReportFate.UNKNOWN


def test_publishing_again_leaves_the_account_as_it_is(ledger: SqlLedger, sending: Job) -> None:
    [archive, _] = ledger.list_consignments(sending.id)
    ledger.save_consignment(sending, replace(archive, attempts=2), NOW)
    ledger.add_deliveries([Delivery(sending.id, "archive", "1.2.4", uid, f"{uid}.dcm") for uid in UIDS])
    assert ledger.list_consignments(sending.id)[0].attempts == 2


def test_what_is_committed_is_safe_and_a_stored_job_wakes(ledger: SqlLedger, sending: Job) -> None:
    for destination in ("archive", "pacs"):
        store(ledger, sending, destination)
    ledger.open_commitment(sending, "archive", "1.9", NOW)
    assert report(ledger, "1.9", UIDS) is ReportFate.BUSY, "a worker has the job"
    rest(ledger, sending, JobEvent.FINISHED, LATER + timedelta(days=1))
    assert report(ledger, "1.9", UIDS) is ReportFate.ENTERED
    assert [one.committed for one in ledger.list_consignments(sending.id)] == [3, 0]
    assert ledger.list_claimable(Step.COMMIT, LATER) == [sending.id]
    assert report(ledger, "1.9", (), UIDS) is ReportFate.UNKNOWN, "a transaction is answered once"
    assert ledger.count_deliveries(sending.id) == (6, 6)


def test_a_report_that_is_entered_by_a_clock_that_is_ahead_wakes_the_job_at_once(
    ledger: SqlLedger, sending: Job
) -> None:
    for destination in ("archive", "pacs"):
        store(ledger, sending, destination)
    ledger.open_commitment(sending, "archive", "1.9", NOW)
    rest(ledger, sending, JobEvent.FINISHED)
    assert report(ledger, "1.9", UIDS) is ReportFate.ENTERED, "at LATER, where it is not yet for the others"
    assert ledger.list_claimable(Step.COMMIT, NOW) == [sending.id]
    assert [one.not_before for one in ledger.list_consignments(sending.id)] == [NOW, None]


def test_what_is_lost_is_owed_again_after_a_pause_that_grows_and_by_that_destination_only(
    ledger: SqlLedger, sending: Job
) -> None:
    for destination in ("archive", "pacs"):
        store(ledger, sending, destination)
    [archive, _] = ledger.list_consignments(sending.id)
    ledger.save_consignment(sending, replace(archive, requests=2, not_before=LATER + timedelta(days=1)), NOW)
    ledger.open_commitment(sending, "archive", "1.9", NOW)
    rest(ledger, sending, JobEvent.FINISHED, LATER + timedelta(days=1))
    assert report(ledger, "1.9", UIDS[:2], UIDS[2:]) is ReportFate.ENTERED
    assert ledger.find_job(sending.id).state is JobState.FUSED
    assert [(one.destination, one.sop_instance_uid) for one in ledger.list_undelivered(sending.id)] == [
        ("archive", "1.2.7")
    ]
    due = AGAIN + timedelta(hours=2)
    assert ledger.list_claimable(Step.SEND, due - timedelta(seconds=1)) == []
    assert ledger.list_claimable(Step.SEND, due) == [sending.id]
    assert ledger.count_statuses(sending.id)["archive lost-0112"] == 1


def test_a_report_while_another_destination_is_owed_wakes_the_job_no_later_than_it_would(
    ledger: SqlLedger, sending: Job
) -> None:
    store(ledger, sending, "archive")
    ledger.open_commitment(sending, "archive", "1.9", NOW)
    rest(ledger, sending, JobEvent.POSTPONED)
    assert report(ledger, "1.9", (), UIDS) is ReportFate.ENTERED
    assert ledger.list_claimable(Step.SEND, LATER) == [sending.id], "it was due at once and still is"
    assert len(ledger.list_undelivered(sending.id)) == 6


def test_instances_it_never_accepted_or_that_are_not_the_job_s_are_left_alone(ledger: SqlLedger, sending: Job) -> None:
    store(ledger, sending, "archive")
    ledger.open_commitment(sending, "pacs", "1.9", NOW)
    rest(ledger, sending, JobEvent.POSTPONED)
    assert report(ledger, "1.9", (*UIDS, "1.2.99")) is ReportFate.ENTERED
    assert [(one.stored, one.committed) for one in ledger.list_consignments(sending.id)] == [(3, 0), (0, 0)]


@pytest.mark.parametrize("event", [JobEvent.FAILED, JobEvent.SUPERSEDED])
def test_a_report_on_a_job_that_ended_is_of_no_use(ledger: SqlLedger, sending: Job, event: JobEvent) -> None:
    store(ledger, sending, "archive")
    ledger.open_commitment(sending, "archive", "1.9", NOW)
    rest(ledger, sending, event)
    assert report(ledger, "1.9", (), UIDS) is ReportFate.UNKNOWN
    assert ledger.list_consignments(sending.id)[0].stored == 3


def test_resending_makes_reports_on_what_was_asked_before_useless(ledger: SqlLedger, sending: Job) -> None:
    store(ledger, sending, "archive")
    ledger.open_commitment(sending, "archive", "1.9", NOW)
    rest(ledger, sending, JobEvent.POSTPONED)
    ledger.resend_job(sending.id, LATER, "archive", everything=True)
    assert report(ledger, "1.9", UIDS) is ReportFate.UNKNOWN
    assert ledger.list_consignments(sending.id)[0].committed == 0
