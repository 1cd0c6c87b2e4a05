"""What several stores must know of what was given up."""

from datetime import timedelta

import pytest

from fusionnode.domain.job import JobEvent
from fusionnode.domain.retention import RetentionLimits
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import SeriesUnknown, TransitionForbidden
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.discard_rows import split_values
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, enter_series, make_job

AT_ONCE = RetentionLimits(timedelta(), timedelta(), timedelta())


def _list_given_up(ledger: SqlLedger) -> list[str]:
    found: list[str] = []
    ledger.finish_discards(lambda paths: found.extend(paths) or ())
    return found


def test_a_failed_job_whose_series_was_deleted_cannot_begin_again(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    job = make_job(fixed=key)
    ledger.add_job(job)
    claimed = ledger.claim_job(Step.PREPARE, NOW, 30, "worker")
    assert claimed is not None
    ledger.advance_job(claimed, JobEvent.FAILED, NOW)
    assert ledger.discard_series(key.series_instance_uid, AT_ONCE, LATER).discard
    with pytest.raises(TransitionForbidden, match="were deleted"):
        ledger.retry_job(job.id, LATER)
    with pytest.raises(SeriesUnknown, match="deleted"):
        ledger.find_series(key)


def test_no_job_is_entered_on_a_series_that_was_just_deleted(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    ledger.discard_series(key.series_instance_uid, AT_ONCE, LATER)
    assert not ledger.add_job(make_job(fixed=key))
    assert not ledger.has_job(make_job(fixed=key).id)


def test_delivered_results_that_were_deleted_are_not_sent_again(ledger: SqlLedger) -> None:
    job = make_job()
    ledger.add_job(job)
    for step in (Step.PREPARE, Step.FUSE, Step.SEND):
        claimed = ledger.claim_job(step, NOW, 30, "worker")
        assert claimed is not None
        if step is Step.FUSE:
            ledger.add_deliveries([Delivery(job.id, "pacs", "1.2", "1.3", f"outbox/{job.id}/0001.dcm")])
        if step is Step.SEND:
            for owed in ledger.list_undelivered(job.id):
                ledger.record_outcome(claimed, DeliveryOutcome(owed, True, "0000"), NOW)
        ledger.advance_job(claimed, JobEvent.FINISHED, NOW)
    assert ledger.discard_results(job.id, AT_ONCE, LATER).discard
    with pytest.raises(TransitionForbidden, match="deleted after they were delivered"):
        ledger.resend_job(job.id, LATER, everything=True)
    assert not ledger.discard_results(job.id, AT_ONCE, LATER).discard
    assert _list_given_up(ledger) == [f"outbox/{job.id}"]


def test_a_job_that_begins_again_claims_the_place_of_its_results_back(ledger: SqlLedger) -> None:
    job = make_job()
    ledger.add_job(job)
    claimed = ledger.claim_job(Step.PREPARE, NOW, 30, "worker")
    assert claimed is not None
    ledger.advance_job(claimed, JobEvent.FAILED, NOW)
    assert ledger.discard_results(job.id, AT_ONCE, LATER).discard
    ledger.retry_job(job.id, LATER)
    assert _list_given_up(ledger) == []


def test_an_arrival_claims_its_place_back(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    [one, *others] = ledger.find_series(key).instances
    ledger.discard_series(key.series_instance_uid, AT_ONCE, LATER)
    ledger.record_instance(one, LATER)
    assert _list_given_up(ledger) == sorted(other.path for other in others)
    [again] = ledger.list_series((SeriesState.REOPENED,))
    assert again.instances == (one,)


def test_values_are_split_in_order() -> None:
    values = {f"{number:04d}" for number in range(1000)}
    pieces = split_values(values)
    assert [one for piece in pieces for one in piece] == sorted(values)
    assert max(map(len, pieces)) <= 400
