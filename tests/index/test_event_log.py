"""The log of what happened."""

from fusionnode.domain.job import JobEvent
from fusionnode.domain.terms import Step
from fusionnode.index.event_log import Event
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, make_job


def test_a_job_can_be_retold_from_its_events(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    job = ledger.claim_job(Step.PREPARE, NOW, 60, "worker-1")
    assert job is not None
    ledger.advance_job(job, JobEvent.DEFERRED, LATER)
    events = ledger.list_events(job.id)
    assert [event.what for event in events] == ["queued", "claimed", "deferred"]
    assert [event.at for event in events] == [NOW, NOW, LATER]
    assert "worker-1" in events[1].detail
    assert events[-1] == Event(LATER, job.id, "deferred", "preparing to queued, fence 1.")


def test_why_a_job_was_made_is_in_its_first_event(ledger: SqlLedger) -> None:
    job = make_job()
    ledger.add_job(job, "score 3; same study")
    [queued] = ledger.list_events(job.id)
    assert queued.detail == f"{job.fixed} with {job.moving}: score 3; same study"


def test_the_last_events_are_kept_in_sight(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    ledger.claim_job(Step.PREPARE, NOW, 60, "worker-1")
    assert [event.what for event in ledger.list_events(make_job().id, limit=1)] == ["claimed"]
    assert ledger.list_events("nobody") == []


def test_a_move_that_is_not_made_is_no_event(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    ledger.add_job(make_job())
    assert ledger.claim_job(Step.FUSE, NOW, 60, "worker-1") is None
    assert [event.what for event in ledger.list_events(make_job().id)] == ["queued"]
