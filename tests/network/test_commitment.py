"""Storage commitment from asking to the ledger: with a real Orthanc, and with peers that report otherwise or not."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import SpoolFull
from fusionnode.flow.commitment import MAX_REPORT_BYTES, MAX_REPORT_ITEMS
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from fusionnode.intake.statuses import Status
from fusionnode.settings import DestinationSettings, WorkSettings
from fusionnode.wiring import Node, build_listener
from fusionnode.worker.jobs import list_job_facts
from fusionnode.worker.steps import StepRunner
from fusionnode.worker.sweeping import enter_reports
from tests.support.commitments import CommittingPeer, running_peer, send_report
from tests.support.datasets import Layout, make_mr_series
from tests.support.nodes import Clock, open_test_node, publish_objects
from tests.support.pacs import find_free_port, running_orthanc
from tests.support.running import await_value

WORK = WorkSettings(lease_seconds=30, retry_seconds=1, retry_cap_seconds=4, commitment_seconds=100)


def _open_node(folder: Path, port: int, ae_title: str = "COMMITTER", listening: int = 0) -> Node:
    destination = DestinationSettings(ae_title=ae_title, host="127.0.0.1", port=port, commitment=True)
    work = WORK.model_copy(update={"max_commitment_requests": 3})
    return open_test_node(folder, destinations={"pacs": destination}, work=work, port=listening)


@contextmanager
def _listening(node: Node) -> Iterator[Listener]:
    listener = build_listener(node.settings)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def _be_patient(node: Node) -> Node:
    """Let it await a report over the asking association however busy this machine is."""
    [(name, one)] = node.settings.destinations.items()
    assert isinstance(one, DestinationSettings)
    peers = {name: Destination(name, one.ae_title, one.host, one.port, node.settings.ae_title, commits=True)}
    sender = AssociationSender(node.settings.spool, peers, keep_report=node.reports.keep_report, report_seconds=30)
    return replace(node, sender=sender)


def _slow_answers_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give whoever would release an association before its answers are out the time to do so."""
    send = DIMSEServiceProvider.send_msg

    def dawdle(self: DIMSEServiceProvider, primitive: Any, context_id: int) -> None:
        if isinstance(primitive, N_EVENT_REPORT) and primitive.MessageIDBeingRespondedTo is not None:
            time.sleep(0.3)
        send(self, primitive, context_id)

    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", dawdle)


def _publish(node: Node) -> Job:
    return publish_objects(node, make_mr_series(Layout(slices=10, rows=16, columns=16)))


def _state(runner: StepRunner, step: Step) -> JobState:
    job = runner.run_step(step)
    assert job is not None
    return job.state


@pytest.mark.system
def test_orthanc_commits_to_what_it_has_and_what_it_lost_is_sent_again(tmp_path: Path) -> None:
    clock, listening = Clock(), find_free_port()
    modality = {"AET": "FUSIONNODE", "Host": "127.0.0.1", "Port": listening, "AllowStorageCommitment": True}
    with running_orthanc(tmp_path / "orthanc", {"DicomModalities": {"fusionnode": modality}}) as pacs:
        node = _open_node(tmp_path, pacs.port, "ORTHANC", listening)
        runner = StepRunner(node, "worker", clock)
        job = _publish(node)
        with _listening(node):
            ask = node.sender.request_commitment

            def lose_one_first(*arguments: object) -> None:
                instance = json.loads(pacs.request("/instances"))[0]
                pacs.request(f"/instances/{instance}", method="DELETE")
                node.sender.request_commitment = ask  # type: ignore[method-assign]
                ask(*arguments)  # type: ignore[arg-type]

            node.sender.request_commitment = lose_one_first  # type: ignore[method-assign]
            assert _state(runner, Step.SEND) is JobState.STORED
            await_value(lambda: enter_reports(node, clock()))
            [account] = node.ledger.list_consignments(job.id)
            assert (account.total, account.stored, account.committed) == (10, 9, 9)
            clock.advance(60)
            assert node.ledger.find_job(job.id).state is JobState.FUSED, "one is owed again"
            assert _state(runner, Step.SEND) is JobState.STORED
            await_value(lambda: enter_reports(node, clock()))
            assert _state(runner, Step.COMMIT) is JobState.COMMITTED
        assert len(json.loads(pacs.request("/instances"))) == 10
    [fact] = list_job_facts(node.settings)
    assert fact["destinations"][0]["committed"] == 10


@pytest.mark.parametrize("over", ["its own association", "the asking one", "the asking one, before the answer"])
def test_a_report_over_any_association_reaches_the_ledger(
    tmp_path: Path, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow_answers_down(monkeypatch)
    clock = Clock()
    with running_peer(CommittingPeer(report_first="before" in over)) as peer:
        node = _open_node(tmp_path, peer.port)
        node = node if "own" in over else _be_patient(node)
        runner = StepRunner(node, "worker", clock)
        _publish(node)
        with _listening(node) as listener:
            peer.report_to = listener.port if "own" in over else None
            assert _state(runner, Step.SEND) is JobState.STORED
            await_value(lambda: peer.answers)
            assert peer.answers == [0x0000]
            assert enter_reports(node, clock()) == 1
    assert _state(runner, Step.COMMIT) is JobState.COMMITTED
    assert len(peer.asked) == 1
    assert list(node.reports.list_reports()) == []
    assert runner.run_step(Step.COMMIT) is None


def test_a_report_that_comes_before_the_step_ended_is_not_lost(tmp_path: Path) -> None:
    clock = Clock()
    with running_peer(CommittingPeer()) as peer:
        node = _open_node(tmp_path, peer.port)
        runner = StepRunner(node, "worker", clock)
        job = _publish(node)
        save = node.ledger.save_consignment

        def dawdle(*arguments: object) -> None:
            await_value(lambda: peer.answers)
            assert enter_reports(node, clock()) == 0, "a worker has the job"
            save(*arguments)  # type: ignore[arg-type]

        node.ledger.save_consignment = dawdle  # type: ignore[method-assign]
        assert _state(runner, Step.SEND) is JobState.STORED
    assert enter_reports(node, clock()) == 1
    assert _state(runner, Step.COMMIT) is JobState.COMMITTED
    assert node.ledger.find_job(job.id).state is JobState.COMMITTED


def test_a_peer_that_never_reports_is_asked_again_and_then_given_up_with_the_reason(tmp_path: Path) -> None:
    clock = Clock()
    with running_peer(CommittingPeer(silent=True)) as peer:
        node = _open_node(tmp_path, peer.port)
        runner = StepRunner(node, "worker", clock)
        job = _publish(node)
        states = [_state(runner, Step.SEND)]
        while states[-1] is JobState.STORED:
            assert runner.run_step(Step.COMMIT) is None, "its time has not come yet"
            clock.advance(101)
            states.append(_state(runner, Step.COMMIT))
        assert states == [JobState.STORED] * 3 + [JobState.FAILED]
        assert len(peer.asked) == len({one.TransactionUID for one in peer.asked}) == 3
        assert len(peer.stored) == 10, "nothing was sent twice"
        failed = node.ledger.find_job(job.id)
        assert failed.error == "DeliveryUncommitted"
        assert "has not committed" in failed.reason

        peer.silent = False
        node.ledger.resend_job(job.id, clock())
        assert _state(runner, Step.SEND) is JobState.STORED
        await_value(lambda: peer.answers)
        # A late report on the first question has nothing to say any more; the one on the last does.
        node.reports.keep_report(_report_on(peer, 0))  # type: ignore[attr-defined]
        assert enter_reports(node, clock()) == 1
        assert _state(runner, Step.COMMIT) is JobState.COMMITTED


def _build_report(instances: int, padding: int = 0) -> Dataset:
    report = Dataset()
    report.TransactionUID = "1.2.3"
    report.ReferencedSOPSequence = [Dataset() for _ in range(instances)]
    for number, item in enumerate(report.ReferencedSOPSequence):
        item.ReferencedSOPInstanceUID = f"1.2.{number}"
    report.add_new(0x00091001, "OB", bytes(padding))
    return report


@pytest.mark.parametrize("report", [_build_report(MAX_REPORT_ITEMS + 1), _build_report(1, MAX_REPORT_BYTES)])
def test_a_report_beyond_all_need_is_refused_and_the_next_one_is_kept(tmp_path: Path, report: Dataset) -> None:
    listener = Listener("FUSIONNODE", "127.0.0.1", 0, Spool(tmp_path, reserve_bytes=0))
    listener.start()
    try:
        assert send_report(listener.port, report) == Status.INVALID_ARGUMENT
        assert send_report(listener.port, _build_report(2)) == 0x0000
    finally:
        listener.stop()
    [kept] = (tmp_path / "reports").iterdir()
    assert json.loads(kept.read_text())["committed"] == ["1.2.0", "1.2.1"]


def _report_on(peer: CommittingPeer, number: int) -> object:
    from fusionnode.flow.commitment import read_report

    return read_report(peer.build_report(peer.asked[number]))


def test_a_peer_that_does_not_take_the_request_is_tried_again(tmp_path: Path) -> None:
    clock = Clock()
    with running_peer(CommittingPeer(status=0x0213)) as peer:
        node = _open_node(tmp_path, peer.port)
        runner = StepRunner(node, "worker", clock)
        job = _publish(node)
        assert _state(runner, Step.SEND) is JobState.STORED
        [account] = node.ledger.list_consignments(job.id)
        assert (account.stored, account.attempts, account.error) == (10, 1, "CommitmentRefused")
        assert "0213" in account.reason
        peer.status = 0x0000
        clock.advance(60)
        assert _state(runner, Step.COMMIT) is JobState.STORED
        await_value(lambda: peer.answers)
        assert enter_reports(node, clock()) == 1
        assert _state(runner, Step.COMMIT) is JobState.COMMITTED
        assert len(peer.stored) == 10


@pytest.mark.parametrize("role", [True, False])
def test_the_listener_answers_success_only_for_a_report_that_is_durable(tmp_path: Path, role: bool) -> None:
    node = open_test_node(tmp_path)
    report = Dataset()
    report.TransactionUID = "1.2.3"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.4", "1.2.5"
    report.ReferencedSOPSequence = [item]
    with _listening(node) as listener:
        assert send_report(listener.port, report, role=role) == 0x0000
        [(name, kept)] = node.reports.list_reports()
        assert (kept.transaction_uid, kept.committed, dict(kept.lost)) == ("1.2.3", {"1.2.5"}, {})
        node.reports.discard_report(name)
        del report.TransactionUID
        assert send_report(listener.port, report, role=role) == 0x0115
        report.TransactionUID = "1.2.3"
        (tmp_path / "spool" / "reports").rename(tmp_path / "away")
        assert send_report(listener.port, report, role=role) == 0x0110
    assert list((tmp_path / "away").iterdir()) == []


def test_a_report_is_taken_when_instances_are_not_and_refused_when_there_is_hardly_any_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path).free >> 20
    report = Dataset()
    report.TransactionUID = "1.2.3"
    node = open_test_node(tmp_path, spool_reserve_mb=2 * free)
    with pytest.raises(SpoolFull):
        node.spool.check_space()
    with _listening(node) as listener:
        assert send_report(listener.port, report) == 0x0000
    [(name, _)] = node.reports.list_reports()
    node.reports.discard_report(name)
    # As an association meets it that was there before.
    monkeypatch.setattr(Spool, "is_congested", lambda _: False)
    with _listening(open_test_node(tmp_path, spool_reserve_mb=2**40)) as listener:
        assert send_report(listener.port, report) == 0x0213
    assert list(node.reports.list_reports()) == []
