"""Clocks that jump: work may be done twice or later, but nothing is lost, doubled or stuck."""

from datetime import timedelta
from pathlib import Path

import pytest

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import JobState
from fusionnode.domain.terms import Step
from fusionnode.wiring import build_sweeper
from fusionnode.worker.steps import StepRunner
from tests.support.ledgers import free_leases
from tests.support.nodes import Clock, open_test_node, queue_job, storage_pacs

YEAR = timedelta(days=365).total_seconds()
DAY = timedelta(days=1).total_seconds()
WEEK = timedelta(days=7).total_seconds()


def test_a_clock_put_back_by_years_leaves_no_job_waiting_for_them(tmp_path: Path) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path, clock())
    clock.advance(10 * YEAR)
    runner = StepRunner(node, "worker", clock)
    for step in (Step.PREPARE, Step.FUSE, Step.SEND):
        ended = runner.run_step(step, job.id)
    assert ended is not None
    assert ended.state is JobState.FUSED, "the PACS is down, so it is put off"
    assert node.ledger.claim_job(Step.SEND, clock(), 30, "worker") is None
    clock.advance(-10 * YEAR)
    with storage_pacs(tmp_path) as pacs:
        ended = StepRunner(open_test_node(tmp_path, pacs), "worker", clock).run_step(Step.SEND)
        assert ended is not None
        assert ended.state is JobState.STORED
        assert len(pacs.fetch_series(FusedIdentity(job.id).series_uid)) == 10


@pytest.mark.parametrize("jump", [YEAR, 7 * DAY, -YEAR])
def test_a_worker_that_dies_while_the_clock_is_wrong_holds_its_job_for_no_longer_than_others(
    tmp_path: Path, jump: float
) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path, clock())
    clock.advance(jump)
    assert node.ledger.claim_job(Step.PREPARE, clock(), 30, "doomed", job.id) is not None
    clock.advance(-jump)
    sweeper = build_sweeper(node)
    released = [one.id for seconds in range(0, 40, 5) for one in sweeper.release_silent(clock(), seconds)]
    assert released == [job.id]
    ended = StepRunner(node, "worker", clock).run_step(Step.PREPARE)
    assert ended is not None
    assert ended.state is JobState.PREPARED


@pytest.mark.parametrize("ahead", [YEAR, 7200, 120, -120, -2 * DAY])
def test_a_sweep_whose_clock_is_wrong_takes_steps_from_the_dead_only_and_holds_none_back(
    tmp_path: Path, ahead: float
) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path, clock())
    living = node.ledger.claim_job(Step.PREPARE, clock(), 30, "living", job.id)
    assert living is not None
    sweeper = build_sweeper(node)

    def sweep(monotonic: float) -> list[str]:
        return [one.id for one in sweeper.release_silent(clock() + timedelta(seconds=ahead), monotonic)]

    for seconds in range(0, 600, 10):
        node.ledger.renew_lease(living, clock(), 30)
        assert sweep(seconds) == []
        clock.advance(10)
    assert [sweep(seconds) for seconds in (600, 607, 614, 621)] == [[]] * 4
    clock.advance(31)
    assert sweep(628) == [job.id]
    ended = StepRunner(node, "worker", clock).run_step(Step.PREPARE)
    assert ended is not None
    assert ended.state is JobState.PREPARED


def test_a_clock_put_forward_under_a_living_worker_has_the_step_done_twice_and_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs)
        job = queue_job(node, tmp_path, clock())
        slow, quick = StepRunner(node, "slow", clock), StepRunner(node, "quick", clock)
        for step in (Step.PREPARE, Step.FUSE):
            slow.run_step(step)
        send = pacs_send = node.sender.send

        def dawdle(destination: str, deliveries: object) -> object:
            for number, outcome in enumerate(pacs_send(destination, deliveries)):  # type: ignore[arg-type]
                yield outcome
                if number == 4:
                    monkeypatch.setattr(node.sender, "send", send)
                    clock.advance(YEAR)
                    free_leases(node.ledger, clock())
                    taken = quick.run_step(Step.SEND)
                    assert taken is not None
                    assert taken.state is JobState.STORED

        monkeypatch.setattr(node.sender, "send", dawdle)
        ended = slow.run_step(Step.SEND)
        assert ended is not None
        assert (ended.state, ended.fence) == (JobState.STORED, 4)
        series = pacs.fetch_series(FusedIdentity(job.id).series_uid)
        assert len({ds.SOPInstanceUID for ds in series}) == len(series) == 10
        assert node.ledger.count_deliveries(job.id) == (10, 10)
