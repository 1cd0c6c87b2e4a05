"""The ledger forgets what is old: decided under locks, in one transaction, safe to break off anywhere."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from fusionnode.domain.job import JobEvent
from fusionnode.domain.retention import RetentionLimits
from fusionnode.domain.series import PatientIdentity
from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import SpoolUnreadable
from fusionnode.flow.ports import Arrival
from fusionnode.index.store import SqlLedger, open_ledger
from tests.support.ledgers import LATER, NOW, change_bytes, enter_series, make_headers, make_job

DAYS = timedelta(days=1)
LIMITS = RetentionLimits(30 * DAYS, 180 * DAYS, 365 * DAYS)
FAR = NOW + 400 * DAYS


def _finish(ledger: SqlLedger) -> list[str]:
    found: list[str] = []
    last = ""
    while last := ledger.finish_discards(lambda paths: found.extend(paths) or (), 2, last):
        continue
    return found


def test_an_old_series_is_forgotten_with_its_patient_and_its_history_stays(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    paths = sorted(one.path for one in ledger.find_series(key).instances)
    assert [one.series_instance_uid for one in ledger.list_old_series(FAR)] == [key.series_instance_uid]
    judgement = ledger.discard_series(key.series_instance_uid, LIMITS, FAR)
    assert judgement.discard
    assert _finish(ledger) == paths
    assert _finish(ledger) == []
    assert ledger.list_old_series(FAR) == []
    [gone] = ledger.list_series((SeriesState.DISCARDED,))
    assert (gone.instances, "never paired" in gone.reason) == ((), True)
    assert ledger.list_events(key.series_instance_uid)[-1].what == "discarded"
    assert ledger.list_related([key]) == []


def test_a_series_that_is_sent_again_after_its_deletion_begins_anew_even_with_a_corrected_patient(
    ledger: SqlLedger,
) -> None:
    headers = make_headers("a-mr")
    key = enter_series(ledger, "a-mr")
    ledger.discard_series(key.series_instance_uid, LIMITS, FAR)
    corrected = [replace(one, patient=PatientIdentity("another")) for one in headers]
    assert {ledger.record_instance(one, FAR) for one in corrected} == {Arrival.NEW}
    [again] = ledger.list_series((SeriesState.REOPENED,))
    assert again.key.generation == key.generation + 1
    assert again.first_seen_at == FAR
    assert [one.patient for one in again.instances] == [PatientIdentity("another")] * len(headers)
    assert not ledger.discard_series(key.series_instance_uid, LIMITS, FAR).discard


def test_what_a_waiting_job_needs_stays_however_old_it_is(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    ledger.add_job(make_job(fixed=key))
    assert not ledger.discard_series(key.series_instance_uid, LIMITS, FAR).discard
    assert len(ledger.find_series(key).instances) == 3


def test_what_came_again_meanwhile_stays(ledger: SqlLedger) -> None:
    headers = make_headers("a-mr")
    key = enter_series(ledger, "a-mr")
    assert ledger.record_instance(headers[0], FAR) is Arrival.DUPLICATE
    assert not ledger.discard_series(key.series_instance_uid, LIMITS, FAR).discard


def test_a_file_that_another_series_names_stays(ledger: SqlLedger) -> None:
    key, other = enter_series(ledger, "a-mr"), enter_series(ledger, "b-mr")
    [first, *_] = ledger.find_series(key).instances
    moved = replace(change_bytes(first), series_instance_uid=other.series_instance_uid)
    assert ledger.record_instance(moved, NOW) is Arrival.CONFLICT
    for one in (key, other):
        ledger.set_series_state(replace(one, generation=2), SeriesState.QUARANTINED, "")
    ledger.discard_series(key.series_instance_uid, LIMITS, FAR)
    assert moved.path not in _finish(ledger)
    ledger.discard_series(other.series_instance_uid, LIMITS, FAR)
    assert moved.path in _finish(ledger)


def test_what_could_not_be_moved_is_still_listed(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    ledger.discard_series(key.series_instance_uid, LIMITS, FAR)

    def fail(_: object) -> list[str]:
        raise SpoolUnreadable("the disk")

    with pytest.raises(SpoolUnreadable):
        ledger.finish_discards(fail)
    assert len(_finish(ledger)) == 3


def test_one_that_could_not_be_moved_is_listed_and_passed_over_whatever_the_batch(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    ledger.discard_series(key.series_instance_uid, LIMITS, FAR)
    shown: list[list[str]] = []

    def keep_the_first(paths: Sequence[str]) -> list[str]:
        shown.append(list(paths))
        return [path for path in paths if path == shown[0][0]]

    last = ""
    while last := ledger.finish_discards(keep_the_first, 1, last):
        continue
    [[first], *others] = shown
    assert len(others) == 2
    assert _finish(ledger) == [first]


def test_an_arrival_waits_while_the_old_file_of_its_place_is_moved_away(ledger: SqlLedger, ledger_url: str) -> None:
    key = enter_series(ledger, "a-mr")
    [one, *_] = ledger.find_series(key).instances
    ledger.discard_series(key.series_instance_uid, LIMITS, FAR)
    order: list[str] = []
    moving = threading.Event()

    def arrive() -> None:
        other = open_ledger(ledger_url)
        moving.wait(20)
        other.record_instance(one, FAR)
        order.append("arrived")
        other.close()

    thread = threading.Thread(target=arrive)
    thread.start()

    def move(_: object) -> list[str]:
        moving.set()
        thread.join(0.3)
        order.append("moved")
        return []

    ledger.finish_discards(move)
    thread.join(20)
    assert order == ["moved", "arrived"]


def test_a_failed_job_follows_its_series_to_the_generation_that_came_again(ledger: SqlLedger) -> None:
    key = enter_series(ledger, "a-mr")
    job = make_job(fixed=key)
    ledger.add_job(job)
    claimed = ledger.claim_job(Step.PREPARE, NOW, 30, "worker")
    assert claimed is not None
    ledger.follow_sources(job.id, replace(key, generation=7), job.moving)
    assert ledger.find_job(job.id).fixed == key, "a worker has it"
    ledger.advance_job(claimed, JobEvent.FAILED, NOW)
    ledger.discard_series(key.series_instance_uid, LIMITS, FAR)
    for header in make_headers("a-mr"):
        ledger.record_instance(header, FAR)
    again = replace(key, generation=2)
    ledger.follow_sources(job.id, again, job.moving)
    assert ledger.retry_job(job.id, FAR).fixed == again


def test_old_results_are_listed_oldest_first_and_those_to_be_computed_are_counted(ledger: SqlLedger) -> None:
    jobs = [make_job(name=name, minute=minute) for minute, name in enumerate("ba")]
    for job in jobs:
        ledger.add_job(job)
    assert ledger.count_waiting() == 2
    for number in (0, 1):
        claimed = ledger.claim_job(Step.PREPARE, NOW, 30, "worker")
        assert claimed is not None
        ledger.advance_job(claimed, JobEvent.REFUSED, NOW + number * DAYS)
    assert [one.id for one in ledger.list_old_results(FAR)] == [job.id for job in jobs]
    assert [one.id for one in ledger.list_old_results(NOW + DAYS / 2)] == [jobs[0].id]
    assert ledger.count_waiting() == 0
    assert not ledger.discard_results("nobody", LIMITS, LATER).discard
