"""The steps of a job on a real ledger, a real spool and a real storage SCP."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydicom import dcmread

from fusionnode.capture.identity import FusedIdentity
from fusionnode.domain.job import JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import LedgerUnavailable
from fusionnode.wiring import Node
from fusionnode.worker.steps import StepRunner, next_step
from tests.support.ledgers import free_leases
from tests.support.nodes import Clock, open_test_node, queue_job, storage_pacs


def _runner(node: Node, clock: Clock, worker: str = "worker-1") -> StepRunner:
    return StepRunner(node, worker, clock)


def test_the_steps_follow_each_other_and_end() -> None:
    assert [next_step(step) for step in Step] == [Step.FUSE, Step.SEND, None, None]


def test_a_job_goes_from_queued_to_stored_and_its_slices_are_in_the_pacs(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        node = open_test_node(tmp_path, pacs)
        job = queue_job(node, tmp_path)
        runner = _runner(node, Clock())
        states = [ended.state for step in Step if (ended := runner.run_step(step, job.id))]
        assert states == [JobState.PREPARED, JobState.FUSED, JobState.STORED]
        assert len(pacs.fetch_series(FusedIdentity(job.id).series_uid)) == 10
        assert node.ledger.count_deliveries(job.id) == (10, 10)
        assert not list((tmp_path / "spool" / "prepared").iterdir())


def test_times_on_the_objects_are_those_of_the_site_s_clocks(tmp_path: Path) -> None:
    node = open_test_node(tmp_path, time_zone="Asia/Tokyo")
    job = queue_job(node, tmp_path)
    for step in (Step.PREPARE, Step.FUSE):
        _runner(node, Clock()).run_step(step, job.id)
    owed = node.ledger.list_undelivered(job.id)
    written = {dcmread(tmp_path / "spool" / one.path).SeriesTime for one in owed}
    assert written == {"140607.000000"}, "05:06:07 UTC is nine hours later in Tokyo"


def test_warming_up_tells_of_a_pipeline_that_cannot_fuse_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path)
    caplog.clear()
    _runner(node, Clock()).warm_up()
    assert not caplog.records

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanting = replace(node, settings=node.settings.model_copy(update={"device": "cuda"}))
    _runner(wanting, Clock()).warm_up()

    assert [record.levelname for record in caplog.records] == ["ERROR"] * len(node.pipelines)
    assert "GPU" in caplog.text


def test_warming_up_survives_whatever_a_device_may_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("fusionnode.worker.steps.warm_up", fail)
    _runner(open_test_node(tmp_path), Clock()).warm_up()


def test_a_job_is_not_done_by_what_its_pipeline_has_become(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    pipeline = node.pipelines[job.pipeline]
    output = pipeline.output.model_copy(update={"colour_bar": True})
    changed = replace(node, pipelines={job.pipeline: pipeline.model_copy(update={"output": output})})
    ended = _runner(changed, Clock()).run_step(Step.PREPARE, job.id)
    assert ended is not None
    assert (ended.state, ended.error) == (JobState.FAILED, "PipelineInvalid")
    assert f"{job.pipeline}@{job.pipeline_version}" in ended.reason


def test_a_step_with_nothing_to_claim_does_nothing(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    assert _runner(node, Clock()).run_step(Step.PREPARE) is None


def test_a_pacs_that_is_down_is_waited_for_and_nothing_is_computed_again(tmp_path: Path) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    runner = _runner(node, clock)
    runner.run_step(Step.PREPARE)
    runner.run_step(Step.FUSE)
    deferred = runner.run_step(Step.SEND)
    assert deferred is not None
    assert (deferred.state, deferred.error) == (JobState.FUSED, "DestinationUnreachable")
    assert runner.run_step(Step.SEND) is None, "its time has not come yet"
    with storage_pacs(tmp_path) as pacs:
        clock.advance(60)
        node = open_test_node(tmp_path, pacs)
        stored = _runner(node, clock).run_step(Step.SEND)
        assert stored is not None
        assert stored.state is JobState.STORED
        assert len(pacs.fetch_series(FusedIdentity(job.id).series_uid)) == 10


def test_a_missing_source_is_tried_again_and_then_given_up(tmp_path: Path) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    for path in (tmp_path / "spool" / "instances").rglob("*.dcm"):
        path.unlink()
    states = []
    for _ in range(3):
        clock.advance(600)
        ended = _runner(node, clock).run_step(Step.PREPARE, job.id)
        assert ended is not None
        states.append(ended.state)
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert node.ledger.find_job(job.id).error == "SpoolFileMissing"


def test_a_defect_fails_the_job_loudly_without_quoting_foreign_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)

    secret = "patient DOE^JOHN"

    def explode(*_: object) -> None:
        raise ZeroDivisionError(secret)

    monkeypatch.setattr("fusionnode.worker.steps.prepare_pair", explode)
    ended = _runner(node, Clock()).run_step(Step.PREPARE, job.id)
    assert ended is not None
    assert (ended.state, ended.error) == (JobState.FAILED, "ZeroDivisionError")
    assert "explode" in caplog.text
    assert "DOE" not in caplog.text + ended.reason


@pytest.mark.parametrize(("trouble", "told"), [(LedgerUnavailable("-"), "put off"), (KeyError("DOE"), "defect")])
def test_a_step_that_cannot_even_be_claimed_ends_no_worker_and_quotes_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: Exception, told: str
) -> None:
    node = open_test_node(tmp_path)

    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setattr(node.ledger, "claim_job", fail)
    assert _runner(node, Clock()).run_quietly(Step.PREPARE) is None
    assert told in caplog.text
    assert "DOE" not in caplog.text


def test_a_ledger_that_hiccups_when_the_fusion_is_done_costs_a_repetition_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    runner = _runner(node, clock)
    runner.run_step(Step.PREPARE)

    def hiccup(*_: object) -> None:
        raise LedgerUnavailable("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(node.ledger, "advance_job", hiccup)
        with pytest.raises(LedgerUnavailable):
            runner.run_step(Step.FUSE)
    clock.advance(3600)
    assert [one.id for one in free_leases(node.ledger, clock())] == [job.id]
    ended = runner.run_step(Step.FUSE)
    assert ended is not None
    assert ended.state is JobState.FUSED
    assert node.ledger.count_deliveries(job.id) == (0, 10)


def test_a_worker_whose_lease_was_taken_over_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    slow = _runner(node, clock)
    quick = _runner(node, clock, "worker-2")
    do_the_work = StepRunner._prepare

    def dawdle(runner: StepRunner, *claimed: object) -> object:
        outlook = do_the_work(runner, *claimed)  # type: ignore[arg-type]
        if runner is slow:
            clock.advance(3600)
            free_leases(node.ledger, clock())
            assert quick.run_step(Step.PREPARE, job.id) is not None
        return outlook

    monkeypatch.setattr(StepRunner, "_prepare", dawdle)
    ended = slow.run_step(Step.PREPARE, job.id)
    assert ended is not None
    assert (ended.state, ended.fence) == (JobState.PREPARED, 2)


@pytest.mark.parametrize(("tries", "state"), [(1, JobState.QUEUED), (3, JobState.FAILED)])
def test_a_step_that_hangs_is_ended_with_its_process_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int, state: JobState
) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    work = node.settings.work.model_copy(update={"step_seconds": 0.1})
    node = replace(node, settings=node.settings.model_copy(update={"work": work}))
    job = queue_job(node, tmp_path)
    ended = threading.Event()

    def hang(*_: object) -> None:
        assert ended.wait(30)

    monkeypatch.setattr("fusionnode.worker.steps.prepare_pair", hang)
    for _ in range(tries):
        ended.clear()
        clock.advance(600)
        left = StepRunner(node, "worker", clock, ended.set).run_step(Step.PREPARE, job.id)
        assert left is not None
    assert (left.state, left.error) == (state, "StepOverdue")
    assert "0.1 s" in left.reason
    assert not list((tmp_path / "spool" / "prepared").glob("*.npz"))


def test_a_step_that_kills_its_worker_again_and_again_fails_at_last(tmp_path: Path) -> None:
    clock = Clock()
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    for _ in range(node.settings.work.max_attempts):
        assert node.ledger.claim_job(Step.PREPARE, clock(), 30, "doomed", job.id)
        clock.advance(60)
        assert free_leases(node.ledger, clock())
    ended = _runner(node, clock).run_step(Step.PREPARE, job.id)
    assert ended is not None
    assert ended.state is JobState.FAILED
    assert "never ended" in ended.reason
