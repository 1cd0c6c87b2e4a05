"""What a human sets aside is neither worked on nor paired nor deleted until it is released."""

from datetime import timedelta

import pytest

from fusionnode.domain.job import JobState
from fusionnode.domain.retention import RetentionLimits
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import JobUnknown, LeaseLost, SeriesUnknown
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, enter_series, make_job

AT_ONCE = RetentionLimits(timedelta(), timedelta(), timedelta())


def test_a_job_that_is_held_is_not_claimed_until_it_is_released(ledger: SqlLedger) -> None:
    job = make_job()
    ledger.add_job(job)
    ledger.hold_job(job.id, NOW)
    ledger.hold_job(job.id, NOW)
    assert ledger.find_job(job.id).held
    assert ledger.list_claimable(Step.PREPARE, LATER) == []
    assert ledger.claim_job(Step.PREPARE, LATER, 30, "worker", job.id) is None
    ledger.release_job(job.id, LATER)
    ledger.release_job(job.id, LATER)
    assert ledger.claim_job(Step.PREPARE, LATER, 30, "worker", job.id) is not None
    assert [event.what for event in ledger.list_events(job.id)] == ["queued", "held", "released", "claimed"]


def test_a_worker_loses_the_job_that_is_held_under_its_hands(ledger: SqlLedger) -> None:
    job = make_job()
    ledger.add_job(job)
    claimed = ledger.claim_job(Step.PREPARE, NOW, 30, "worker")
    assert claimed is not None
    ledger.hold_job(job.id, NOW)
    with pytest.raises(LeaseLost):
        ledger.renew_lease(claimed, LATER, 30)
    assert ledger.find_job(job.id).state is JobState.QUEUED


def test_a_series_that_is_held_is_left_out_of_pairing_with_its_jobs_and_kept(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    job = make_job(fixed=key)
    ledger.add_job(job)
    assert ledger.hold_series(key.series_instance_uid, NOW) == [job.id]
    assert ledger.list_related([key]) == []
    assert not ledger.discard_series(key.series_instance_uid, AT_ONCE, LATER).discard
    assert ledger.claim_job(Step.PREPARE, LATER, 30, "worker") is None
    assert ledger.release_series(key.series_instance_uid, LATER) == [job.id]
    assert ledger.claim_job(Step.PREPARE, LATER, 30, "worker") is not None
    [related] = ledger.list_related([key])
    assert related.state is SeriesState.REOPENED, "so that the sweep pairs it again"


def test_an_old_series_that_is_released_counts_as_received_now(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr", NOW - timedelta(days=400))
    ledger.hold_series(key.series_instance_uid, NOW)
    assert ledger.list_keys((SeriesState.COMPLETE,), NOW) == [], "what is set aside is not younger for it"
    ledger.release_series(key.series_instance_uid, LATER)
    # As the sweep does in its next round.
    ledger.set_series_state(key, SeriesState.COMPLETE, "")
    assert ledger.list_keys((SeriesState.COMPLETE,), LATER) == [key]
    month = RetentionLimits(*[timedelta(days=30)] * 3)
    assert not ledger.discard_series(key.series_instance_uid, month, LATER + timedelta(days=29)).discard


def test_what_is_not_there_cannot_be_held(ledger: SqlLedger) -> None:
    with pytest.raises(JobUnknown):
        ledger.hold_job("nobody", NOW)
    with pytest.raises(JobUnknown):
        ledger.release_job("nobody", NOW)
    with pytest.raises(SeriesUnknown):
        ledger.hold_series("1.2.3", NOW)
    with pytest.raises(SeriesUnknown):
        ledger.release_series("1.2.3", NOW)
