"""Jobs move along the table, under their fence, and for one worker at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fusionnode.domain.job import WAITING, Job, JobEvent, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import DestinationUnreachable, JobUnknown, LeaseLost, SeriesMixed, TransitionForbidden
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.index.store import SqlLedger
from tests.support.ledgers import LATER, NOW, free_leases, make_job

LEASE_SECONDS = 60.0


def claim(ledger: SqlLedger, step: Step = Step.PREPARE, worker: str = "w1", now: datetime = LATER) -> Job:
    job = ledger.claim_job(step, now, LEASE_SECONDS, worker)
    assert job is not None
    return job


def bring_to(ledger: SqlLedger, step: Step) -> Job:
    """Enter a job and bring it to the waiting state of ``step``."""
    ledger.add_job(make_job())
    for earlier in Step:
        if earlier is step:
            break
        ledger.advance_job(claim(ledger, earlier), JobEvent.FINISHED, NOW, not_before=NOW)
    return ledger.find_job(make_job().id)


def test_a_job_is_entered_once(ledger: SqlLedger) -> None:
    assert not ledger.has_job(make_job().id)
    assert ledger.add_job(make_job())
    assert not ledger.add_job(replace(make_job(), moment=LATER))
    assert ledger.has_job(make_job().id)
    assert ledger.find_job(make_job().id) == make_job()


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.QUEUED])
def test_a_job_enters_at_the_beginning_only(ledger: SqlLedger, state: JobState) -> None:
    with pytest.raises(TransitionForbidden):
        ledger.add_job(replace(make_job(), state=state))
    assert not ledger.has_job(make_job().id)


def test_an_unknown_job_is_named(ledger: SqlLedger) -> None:
    nobody = replace(make_job(), state=JobState.PREPARING, fence=1)
    for ask in (
        lambda: ledger.find_job(nobody.id),
        lambda: ledger.retry_job(nobody.id, NOW),
        lambda: ledger.renew_lease(nobody, NOW, 60),
        lambda: ledger.advance_job(nobody, JobEvent.FINISHED, NOW),
    ):
        with pytest.raises(JobUnknown) as raised:
            ask()
        assert raised.value.facts["job_id"] == nobody.id


@pytest.mark.parametrize("workers", [2, 8])
def test_many_workers_claim_every_job_exactly_once(ledger: SqlLedger, workers: int) -> None:
    jobs = {make_job(name=str(number)).id for number in range(50)}
    for number in range(50):
        ledger.add_job(make_job(name=str(number)))
    together = threading.Barrier(workers)

    def work(worker: int) -> list[Job]:
        together.wait()
        claimed = []
        while (job := ledger.claim_job(Step.PREPARE, NOW, LEASE_SECONDS, f"w{worker}")) is not None:
            claimed.append(job)
        return claimed

    with ThreadPoolExecutor(workers) as pool:
        claimed = [job for found in pool.map(work, range(workers)) for job in found]
    assert sorted(job.id for job in claimed) == sorted(jobs)
    assert {job.fence for job in claimed} == {1}


def test_one_job_wanted_by_all_is_given_to_one(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    together = threading.Barrier(8)

    def work(worker: int) -> Job | None:
        together.wait()
        return ledger.claim_job(Step.PREPARE, NOW, LEASE_SECONDS, f"w{worker}", make_job().id)

    with ThreadPoolExecutor(8) as pool:
        found = [job for job in pool.map(work, range(8)) if job is not None]
    assert len(found) == 1


def test_the_oldest_job_is_claimed_first_unless_one_is_named(ledger: SqlLedger) -> None:
    old, middle, new = (make_job(name=name, minute=minute) for name, minute in (("o", 0), ("m", 1), ("n", 2)))
    for job in (new, old, middle):
        ledger.add_job(job)
    assert ledger.list_claimable(Step.PREPARE, NOW) == [old.id, middle.id, new.id]
    assert ledger.list_claimable(Step.PREPARE, NOW, limit=1) == [old.id]
    assert ledger.list_claimable(Step.FUSE, NOW) == []
    assert claim(ledger).id == old.id
    named = ledger.claim_job(Step.PREPARE, NOW, LEASE_SECONDS, "w", new.id)
    assert named is not None
    assert named.id == new.id
    assert ledger.claim_job(Step.PREPARE, NOW, LEASE_SECONDS, "w", new.id) is None
    assert ledger.claim_job(Step.PREPARE, NOW, LEASE_SECONDS, "w", "nobody") is None


def test_jobs_are_listed_newest_first(ledger: SqlLedger) -> None:
    jobs = [make_job(name=str(minute), minute=minute) for minute in range(4)]
    for job in jobs:
        ledger.add_job(job)
    working = claim(ledger)
    assert [job.id for job in ledger.list_jobs()] == [job.id for job in reversed(jobs)]
    assert [job.id for job in ledger.list_jobs(limit=2)] == [jobs[3].id, jobs[2].id]
    assert ledger.list_jobs([JobState.PREPARING]) == [working]
    assert ledger.list_jobs([]) == []


@pytest.mark.parametrize("step", list(Step))
def test_a_stale_fence_moves_nothing(ledger: SqlLedger, step: Step) -> None:
    bring_to(ledger, step)
    slow = claim(ledger, step)
    late = LATER + timedelta(seconds=LEASE_SECONDS + 1)
    assert [job.id for job in free_leases(ledger, late)] == [slow.id]
    with pytest.raises(LeaseLost):
        ledger.advance_job(slow, JobEvent.FINISHED, late)
    quick = claim(ledger, step, "w2", late)
    assert quick.fence == slow.fence + 1
    for event in (JobEvent.FINISHED, JobEvent.DEFERRED, JobEvent.REFUSED, JobEvent.FAILED):
        with pytest.raises(LeaseLost) as raised:
            ledger.advance_job(slow, event, late)
        assert (raised.value.facts["expected"], raised.value.facts["found"]) == (slow.fence, quick.fence)
    with pytest.raises(LeaseLost):
        ledger.renew_lease(slow, late, LEASE_SECONDS)
    assert ledger.find_job(slow.id) == quick
    assert ledger.advance_job(quick, JobEvent.FINISHED, late).attempts == 0


def test_a_lease_is_released_while_it_is_the_same_and_no_other(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    job = claim(ledger)
    [first] = ledger.list_leases()
    ledger.renew_lease(job, LATER + timedelta(seconds=1), LEASE_SECONDS)
    assert ledger.release_leases([first], LATER + timedelta(days=400)) == [], "it was renewed"
    [second] = ledger.list_leases()
    (released,) = ledger.release_leases([second], LATER + timedelta(seconds=200))
    assert (released.state, released.attempts, released.fence) == (JobState.QUEUED, 1, 1)
    assert "lease" in released.reason
    assert ledger.release_leases([second], LATER) == []
    assert ledger.list_leases() == []
    claim(ledger, now=LATER + timedelta(seconds=200))
    assert ledger.release_leases([first, second], LATER) == [], "somebody else has it"


def test_two_sweeps_release_a_job_once(ledger: SqlLedger) -> None:
    for number in range(20):
        ledger.add_job(make_job(name=str(number)))
        claim(ledger)
    together = threading.Barrier(4)

    def sweep(_: int) -> list[Job]:
        together.wait()
        return free_leases(ledger, LATER + timedelta(hours=1))

    with ThreadPoolExecutor(4) as pool:
        released = [job for jobs in pool.map(sweep, range(4)) for job in jobs]
    assert len(released) == len({job.id for job in released}) == 20
    assert {job.attempts for job in ledger.list_jobs()} == {1}


def test_a_deferred_job_waits_for_its_time(ledger: SqlLedger) -> None:
    ledger.add_job(make_job())
    cause = DestinationUnreachable("PACS does not answer.")
    again = LATER + timedelta(minutes=5)
    deferred = ledger.advance_job(claim(ledger), JobEvent.DEFERRED, LATER, cause, again)
    assert (deferred.state, deferred.attempts, deferred.error) == (JobState.QUEUED, 1, "DestinationUnreachable")
    assert deferred.reason == "PACS does not answer."
    assert ledger.claim_job(Step.PREPARE, again - timedelta(seconds=1), LEASE_SECONDS, "w") is None
    assert ledger.list_claimable(Step.PREPARE, again - timedelta(seconds=1)) == []
    claimed = ledger.claim_job(Step.PREPARE, again, LEASE_SECONDS, "w")
    assert claimed is not None
    assert (claimed.attempts, claimed.reason, claimed.error) == (1, "", "")
    assert ledger.advance_job(claimed, JobEvent.DEFERRED, again).attempts == 2


@pytest.mark.parametrize(("event", "state"), [("REFUSED", JobState.REFUSED), ("FAILED", JobState.FAILED)])
def test_a_stopped_job_says_why_and_can_be_tried_again(ledger: SqlLedger, event: str, state: JobState) -> None:
    bring_to(ledger, Step.FUSE)
    deferred = ledger.advance_job(claim(ledger, Step.FUSE), JobEvent.DEFERRED, LATER)
    assert deferred.attempts == 1
    stopped = ledger.advance_job(claim(ledger, Step.FUSE), JobEvent[event], LATER, SeriesMixed("Two echoes."))
    assert (stopped.state, stopped.reason, stopped.error) == (state, "Two echoes.", "SeriesMixed")
    again = ledger.retry_job(stopped.id, LATER)
    assert again == replace(stopped, state=JobState.QUEUED, attempts=0, reason="", error="")
    with pytest.raises(TransitionForbidden):
        ledger.retry_job(stopped.id, LATER)
    assert claim(ledger).fence == stopped.fence + 1


@pytest.mark.parametrize("step", list(Step))
def test_a_waiting_job_cannot_be_finished_nor_claimed_without_a_lease(ledger: SqlLedger, step: Step) -> None:
    waiting = bring_to(ledger, step)
    assert waiting.state is WAITING[step]
    for event in set(JobEvent) - {JobEvent.SUPERSEDED, JobEvent.RESENT}:
        with pytest.raises(TransitionForbidden):
            ledger.advance_job(waiting, event, NOW)
    with pytest.raises(LeaseLost):
        ledger.renew_lease(waiting, NOW, LEASE_SECONDS)
    assert ledger.find_job(waiting.id) == waiting


def test_jobs_on_a_series_are_found_in_either_role_newest_first(ledger: SqlLedger) -> None:
    old, new, other = make_job(), make_job(2, minute=1), make_job(name="other pair")
    for job in (old, new, other):
        ledger.add_job(job)
    for uid in (old.fixed.series_instance_uid, old.moving.series_instance_uid):
        assert ledger.list_jobs_on([uid]) == [new, old]
    crowd = [f"1.2.{number}" for number in range(2000)]
    assert ledger.list_jobs_on([*crowd, old.fixed.series_instance_uid, other.moving.series_instance_uid])[0] == new
    assert ledger.list_jobs_on([]) == []


def test_newer_data_end_the_unfinished_jobs_of_the_pair(ledger: SqlLedger) -> None:
    first, second, third = (make_job(generation, minute=generation) for generation in (1, 2, 3))
    bystander = make_job(name="other pair")
    for job in (first, second, bystander):
        ledger.add_job(job)
    working = ledger.claim_job(Step.PREPARE, LATER, LEASE_SECONDS, "w", second.id)
    assert working is not None
    pair = ("brain", first.fixed.series_instance_uid, first.moving.series_instance_uid)
    assert ledger.supersede_jobs(*pair, third.id, LATER) == [second.id, first.id]
    assert {job.id for job in ledger.list_jobs([JobState.SUPERSEDED])} == {first.id, second.id}
    assert third.id in ledger.find_job(first.id).reason
    assert ledger.find_job(bystander.id) == bystander
    with pytest.raises(LeaseLost):
        ledger.advance_job(working, JobEvent.FINISHED, LATER)
    assert free_leases(ledger, LATER + timedelta(days=1)) == []


def test_finished_jobs_are_told_but_stay_what_they_are(ledger: SqlLedger) -> None:
    bring_to(ledger, Step.SEND)
    stored = ledger.advance_job(claim(ledger, Step.SEND), JobEvent.FINISHED, LATER)
    assert stored.state is JobState.STORED
    assert ledger.list_claimable(Step.COMMIT, LATER + timedelta(days=9)) == [], "it rests"
    pair = ("brain", stored.fixed.series_instance_uid, stored.moving.series_instance_uid)
    assert ledger.supersede_jobs(*pair, make_job(2).id, LATER) == [stored.id]
    assert ledger.find_job(stored.id) == stored


def test_an_older_job_never_ends_a_newer_one(ledger: SqlLedger) -> None:
    old, new = make_job(1), make_job(2, minute=1)
    ledger.add_job(old)
    ledger.add_job(new)
    pair = ("brain", old.fixed.series_instance_uid, old.moving.series_instance_uid)
    assert ledger.supersede_jobs(*pair, old.id, LATER) == []
    assert ledger.find_job(new.id) == new
    assert ledger.supersede_jobs("heart", *pair[1:], "x", LATER) == []


@pytest.mark.parametrize("step", [Step.PREPARE, Step.FUSE, Step.SEND])
def test_withdrawing_ends_unfinished_jobs_on_the_series_in_either_role_and_no_others(
    ledger: SqlLedger, step: Step
) -> None:
    job = bring_to(ledger, step)
    other = make_job(name="b")
    ledger.add_job(other)
    assert ledger.withdraw_jobs("1.2.3", "no such series", NOW) == []
    assert ledger.withdraw_jobs(job.moving.series_instance_uid, "it contradicts itself", NOW) == [job.id]
    withdrawn = ledger.find_job(job.id)
    assert (withdrawn.state, withdrawn.reason) == (JobState.SUPERSEDED, "it contradicts itself")
    assert ledger.find_job(other.id).state is JobState.QUEUED
    assert ledger.withdraw_jobs(job.fixed.series_instance_uid, "again", NOW) == []


def test_a_stored_job_that_waits_for_its_commitment_goes_on_at_its_time_and_also_after_its_worker_died(
    ledger: SqlLedger,
) -> None:
    bring_to(ledger, Step.SEND)
    due = LATER + timedelta(hours=1)
    stored = ledger.advance_job(claim(ledger, Step.SEND), JobEvent.FINISHED, LATER, not_before=due)
    assert ledger.list_claimable(Step.COMMIT, LATER) == []
    assert ledger.list_claimable(Step.COMMIT, due) == [stored.id]
    claim(ledger, Step.COMMIT, now=due)
    died = due + timedelta(seconds=LEASE_SECONDS + 1)
    assert [job.state for job in free_leases(ledger, died)] == [JobState.STORED]
    assert ledger.list_claimable(Step.COMMIT, died) == [stored.id]
    assert ledger.withdraw_jobs(stored.fixed.series_instance_uid, "late slice", died) == [], "it was delivered"


def owe_to_two(ledger: SqlLedger) -> list[Delivery]:
    """Bring a job to SEND, with two instances owed to each of two destinations."""
    job = bring_to(ledger, Step.SEND)
    owed = [Delivery(job.id, to, "1.2.4", f"1.2.{n}", f"{n}.dcm") for to in ("archive", "pacs") for n in (5, 6)]
    ledger.add_deliveries(owed)
    return owed


@pytest.mark.parametrize("event", [JobEvent.FINISHED, JobEvent.FAILED, JobEvent.POSTPONED])
def test_resending_owes_what_is_outstanding_or_everything_to_one_destination_or_all(
    ledger: SqlLedger, event: JobEvent
) -> None:
    owed = owe_to_two(ledger)
    sending = claim(ledger, Step.SEND)
    for one in owed[:3]:
        ledger.record_outcome(sending, DeliveryOutcome(one, True, "0000"), LATER)
    [_, pacs] = ledger.list_consignments(sending.id)
    ledger.save_consignment(sending, replace(pacs, dead=True, attempts=9, reason="no"), LATER)
    ledger.advance_job(sending, event, LATER, not_before=LATER + timedelta(days=1))

    resent = ledger.resend_job(sending.id, LATER)
    assert resent.state is JobState.FUSED
    assert ledger.list_claimable(Step.SEND, LATER) == [sending.id], "at once"
    assert [one.sop_instance_uid for one in ledger.list_undelivered(sending.id)] == ["1.2.6"]
    [archive, pacs] = ledger.list_consignments(sending.id)
    assert (pacs.dead, pacs.attempts, pacs.reason, archive.stored) == (False, 0, "", 2)

    ledger.resend_job(sending.id, LATER, "archive", everything=True)
    assert [one.destination for one in ledger.list_undelivered(sending.id)] == ["archive", "archive", "pacs"]
    ledger.resend_job(sending.id, LATER, everything=True)
    assert len(ledger.list_undelivered(sending.id)) == 4


def test_resending_what_was_never_published_or_is_being_sent_is_refused(ledger: SqlLedger) -> None:
    owe_to_two(ledger)
    with pytest.raises(TransitionForbidden, match="cellar"):
        ledger.resend_job(make_job().id, LATER, "cellar")
    claim(ledger, Step.SEND)
    with pytest.raises(TransitionForbidden):
        ledger.resend_job(make_job().id, LATER)
    ledger.add_job(make_job(name="new"))
    with pytest.raises(TransitionForbidden):
        ledger.resend_job(make_job(name="new").id, LATER)
    with pytest.raises(JobUnknown):
        ledger.resend_job("nobody", LATER)


def test_a_failed_job_that_never_published_anything_cannot_be_resent(ledger: SqlLedger) -> None:
    bring_to(ledger, Step.FUSE)
    ledger.advance_job(claim(ledger, Step.FUSE), JobEvent.FAILED, LATER)
    with pytest.raises(TransitionForbidden, match="published"):
        ledger.resend_job(make_job().id, LATER)
    assert ledger.find_job(make_job().id).state is JobState.FAILED


def test_retrying_a_job_revives_the_destinations_that_were_given_up(ledger: SqlLedger) -> None:
    owe_to_two(ledger)
    sending = claim(ledger, Step.SEND)
    [archive, _] = ledger.list_consignments(sending.id)
    ledger.save_consignment(sending, replace(archive, dead=True, attempts=9), LATER)
    ledger.advance_job(sending, JobEvent.FAILED, LATER)
    ledger.retry_job(sending.id, LATER)
    assert not any(one.dead or one.attempts for one in ledger.list_consignments(sending.id))
