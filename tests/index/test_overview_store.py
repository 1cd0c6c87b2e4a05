"""The ledger at a glance."""

from datetime import timedelta

import pytest

from fusionnode.domain.job import Job, JobEvent
from fusionnode.domain.terms import Step
from fusionnode.flow.overview import Backlog, Debt, Tries
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, make_headers, make_job


def advance(ledger: SqlLedger, step: Step, job: Job) -> None:
    claimed = ledger.claim_job(step, NOW, 60, "w", job.id)
    assert claimed is not None
    ledger.advance_job(claimed, JobEvent.FINISHED, LATER)


@pytest.fixture
def published(ledger: SqlLedger) -> Job:
    """A job that owes two instances to each of two destinations; another one waits to be prepared."""
    job = make_job()
    ledger.add_job(job)
    for step in (Step.PREPARE, Step.FUSE):
        advance(ledger, step, job)
    ledger.add_deliveries(
        Delivery(job.id, to, "1.2.4", uid, f"{uid}.dcm") for to in ("archive", "pacs") for uid in ("1.5", "1.6")
    )
    ledger.add_job(make_job(name="b", minute=1))
    return job


def test_an_empty_ledger_counts_nothing(ledger: SqlLedger) -> None:
    assert (ledger.count_jobs(), ledger.count_series(), ledger.list_debts(), ledger.list_tries()) == ({}, {}, [], [])
    assert ledger.list_backlogs(NOW) == [Backlog(step, 0, None) for step in Step]
    assert (ledger.find_last_happening(), ledger.list_happenings(0)) == (0, [])


def test_jobs_and_series_are_counted_by_state(ledger: SqlLedger, published: Job) -> None:
    for header in make_headers():
        ledger.record_instance(header, NOW)
    assert ledger.count_jobs() == {"fused": 1, "queued": 1}
    assert ledger.count_series() == {"receiving": 1}


def test_a_backlog_is_as_old_as_the_last_change_of_its_oldest_job(ledger: SqlLedger, published: Job) -> None:
    backlogs = {one.step: (one.jobs, one.since) for one in ledger.list_backlogs(LATER)}
    assert backlogs[Step.PREPARE] == (1, NOW + timedelta(minutes=1))
    assert backlogs[Step.SEND] == (1, LATER)
    assert backlogs[Step.FUSE] == (0, None)


def test_a_job_that_was_held_back_waits_only_since_its_time_came(ledger: SqlLedger, published: Job) -> None:
    claimed = ledger.claim_job(Step.SEND, LATER, 60, "w")
    assert claimed is not None
    due = LATER + timedelta(minutes=5)
    ledger.advance_job(claimed, JobEvent.POSTPONED, LATER, not_before=due)
    assert next(one for one in ledger.list_backlogs(LATER) if one.step is Step.SEND).jobs == 0
    send = next(one for one in ledger.list_backlogs(due + timedelta(seconds=1)) if one.step is Step.SEND)
    assert (send.jobs, send.since) == (1, due)


def test_debts_and_tries_are_told_by_destination(ledger: SqlLedger, published: Job) -> None:
    first, second = ledger.list_undelivered(published.id, "pacs")
    ledger.record_outcome(ledger.find_job(published.id), DeliveryOutcome(first, True, "0000"), LATER)
    ledger.record_outcome(ledger.find_job(published.id), DeliveryOutcome(second, False, "A700"), LATER)
    ledger.record_outcome(ledger.find_job(published.id), DeliveryOutcome(second, False, "A700"), LATER)
    assert ledger.list_debts() == [Debt("archive", 2, 0, NOW), Debt("pacs", 1, 0, NOW)]
    assert ledger.list_tries() == [Tries("archive", "", 2, 0), Tries("pacs", "0000", 1, 1), Tries("pacs", "A700", 1, 2)]


def test_the_log_can_be_followed(ledger: SqlLedger, published: Job) -> None:
    everything = ledger.list_happenings(0)
    assert [one.number for one in everything] == sorted(one.number for one in everything)
    last = ledger.find_last_happening()
    assert (everything[-1].number, ledger.list_happenings(last)) == (last, [])
    assert ledger.list_happenings(0, limit=2) == everything[:2]
