"""Several destinations of one job: none holds up another, nothing is lost or stored twice, whatever dies when."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import evt

from fusionnode.domain.job import Job, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import DestinationUnreachable, LeaseLost
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.settings import DestinationSettings, WorkSettings
from fusionnode.wiring import Node
from fusionnode.worker.deliver import Courier, explain_rest
from fusionnode.worker.heartbeat import Heartbeat
from fusionnode.worker.steps import StepRunner
from fusionnode.worker.sweeping import enter_reports
from tests.support.commitments import CommittingPeer, running_peer
from tests.support.datasets import Layout, make_mr_series
from tests.support.ledgers import free_leases
from tests.support.nodes import Clock, open_test_node, publish_objects
from tests.support.pacs import StoragePeer, find_free_port
from tests.support.running import await_value

WORK = WorkSettings(lease_seconds=30, retry_seconds=1, retry_cap_seconds=4, max_send_attempts=3, commitment_seconds=60)


@pytest.fixture
def objects() -> list[Dataset]:
    return make_mr_series(Layout(slices=4, rows=8, columns=8))


def _open(folder: Path, **facts: int) -> Node:
    """Open a node with one destination for each port by its name; other facts are of `WorkSettings`."""
    work = WORK.model_copy(update={name: fact for name, fact in facts.items() if name in WorkSettings.model_fields})
    destinations = {
        name: DestinationSettings(ae_title="TESTPACS", host="127.0.0.1", port=port, commitment=name == "committer")
        for name, port in facts.items()
        if name not in WorkSettings.model_fields
    }
    # The pipelines that come along name "pacs"; what this job owes to whom is told by its deliveries.
    spare = {"pacs": DestinationSettings(ae_title="SPARE", host="127.0.0.1", port=1)}
    return open_test_node(folder, destinations=spare | destinations, work=work)


def _run(node: Node, clock: Clock, step: Step = Step.SEND) -> Job | None:
    return StepRunner(node, "worker", clock).run_step(step)


def _accounts(node: Node, job: Job) -> dict[str, tuple[int, int, bool]]:
    found = node.ledger.list_consignments(job.id)
    return {one.destination: (one.stored, one.attempts, one.dead) for one in found}


def test_one_that_is_down_does_not_hold_up_the_other_and_is_given_up_with_the_reason(
    tmp_path: Path, objects: list[Dataset]
) -> None:
    clock = Clock()
    with StoragePeer() as peer:
        node = _open(tmp_path, archive=find_free_port(), viewer=peer.port)
        job = publish_objects(node, objects, ["archive", "viewer"])
        sent = _run(node, clock)
        assert sent is not None
        assert (sent.state, sent.error) == (JobState.FUSED, "DestinationUnreachable")
        assert _accounts(node, job) == {"archive": (0, 1, False), "viewer": (4, 0, False)}
        assert _run(node, clock) is None, "its time has not come yet"
        for _ in range(2):
            clock.advance(60)
            sent = _run(node, clock)
    assert sent is not None
    assert (sent.state, sent.error) == (JobState.FAILED, "DestinationUnreachable")
    assert "Given up on archive" in sent.reason
    assert "viewer" not in sent.reason
    assert peer.uids == [ds.SOPInstanceUID for ds in objects], "each of them once"


def test_one_instance_refused_costs_one_instance_and_only_that_is_sent_again(
    tmp_path: Path, objects: list[Dataset]
) -> None:
    clock, refused = Clock(), str(objects[2].SOPInstanceUID)
    answers = {refused: 0xA700}
    with StoragePeer(answers=answers) as peer:
        node = _open(tmp_path, viewer=peer.port)
        job = publish_objects(node, objects, ["viewer"])
        sent = _run(node, clock)
        assert sent is not None
        assert sent.state is JobState.FUSED
        assert "refused 1 of 4 instances (A700)" in sent.reason
        assert _accounts(node, job) == {"viewer": (3, 1, False)}
        answers.clear()
        clock.advance(60)
        stored = _run(node, clock)
    assert stored is not None
    assert stored.state is JobState.STORED
    assert peer.uids == [*(ds.SOPInstanceUID for ds in objects if ds.SOPInstanceUID != refused), refused]


@pytest.mark.parametrize("status", [0xA900, 0xC123, 0x0122])
def test_an_instance_refused_for_good_is_given_up_after_a_few_tries_and_the_rest_counts_as_stored(
    tmp_path: Path, objects: list[Dataset], status: int
) -> None:
    clock, refused = Clock(), str(objects[2].SOPInstanceUID)
    answers = {refused: status}
    asked: list[evt.Event] = []
    with StoragePeer(answers=answers, on_store=asked.append) as peer:
        node = _open(tmp_path, viewer=peer.port, max_send_attempts=1000, max_refusals=3)
        job = publish_objects(node, objects, ["viewer"])
        for _ in range(6):
            sent = _run(node, clock)
            clock.advance(60)
        failed = node.ledger.find_job(job.id)
        assert sent is None, "it has ended"
        assert (failed.state, failed.error) == (JobState.FAILED, "DeliveryRefused")
        assert f"refuses 1 of 4 instances for good ({status:04X}); 3 are stored" in failed.reason
        assert len(asked) == 4 + 2, "the refused one three times, the others once"
        [account] = node.ledger.list_consignments(job.id)
        assert (account.stored, account.refused, account.dead) == (3, 1, True)
        answers.clear()
        node.ledger.resend_job(job.id, clock())
        mended = _run(node, clock)
    assert mended is not None
    assert mended.state is JobState.STORED
    assert len(peer.uids) == 4


def test_want_of_room_is_waited_for_while_an_instance_beside_it_is_given_up(
    tmp_path: Path, objects: list[Dataset]
) -> None:
    clock, hopeless, roomless = Clock(), str(objects[0].SOPInstanceUID), str(objects[1].SOPInstanceUID)
    answers = {hopeless: 0xA900, roomless: 0xA700}
    with StoragePeer(answers=answers) as peer:
        node = _open(tmp_path, viewer=peer.port, max_send_attempts=1000, max_refusals=3)
        job = publish_objects(node, objects, ["viewer"])
        for _ in range(6):
            sent = _run(node, clock)
            clock.advance(60)
            assert sent is not None
            assert sent.state is JobState.FUSED
        [account] = node.ledger.list_consignments(job.id)
        assert (account.stored, account.refused, account.dead) == (2, 1, False)
        answers.clear()
        failed = _run(node, clock)
    assert failed is not None
    assert (failed.state, failed.error) == (JobState.FAILED, "DeliveryRefused")
    assert len(peer.uids) == 3


def test_what_a_committing_destination_did_take_is_committed_before_the_job_fails(
    tmp_path: Path, objects: list[Dataset]
) -> None:
    clock = Clock()
    with running_peer(CommittingPeer(refuse={str(objects[0].SOPInstanceUID): 0xC000})) as peer:
        node = _open(tmp_path, committer=peer.port, max_refusals=1)
        job = publish_objects(node, objects, ["committer"])
        waiting = _run(node, clock)
        assert waiting is not None
        assert waiting.state is JobState.FUSED, "the report is waited for"
        await_value(lambda: len(peer.answers) == len(peer.asked) == 1)
        assert enter_reports(node, clock()) == 1
        failed = _run(node, clock)
    assert failed is not None
    assert (failed.state, failed.error) == (JobState.FAILED, "DeliveryRefused")
    [account] = node.ledger.list_consignments(job.id)
    assert (account.stored, account.committed, account.refused) == (3, 3, 1)
    assert sorted(peer.stored) == sorted(ds.SOPInstanceUID for ds in objects[1:])


def test_what_was_given_up_is_sent_by_one_command(tmp_path: Path, objects: list[Dataset]) -> None:
    clock, port = Clock(), find_free_port()
    node = _open(tmp_path, archive=port)
    job = publish_objects(node, objects, ["archive"])
    for _ in range(3):
        clock.advance(60)
        _run(node, clock)
    assert node.ledger.find_job(job.id).state is JobState.FAILED
    with StoragePeer() as peer:
        mended = _open(tmp_path, archive=peer.port)
        mended.ledger.resend_job(job.id, clock(), "archive")
        stored = _run(mended, clock)
    assert stored is not None
    assert stored.state is JobState.STORED
    assert len(peer.uids) == 4


def test_a_destination_that_left_the_site_file_is_given_up_at_once_and_the_other_one_served(
    tmp_path: Path, objects: list[Dataset]
) -> None:
    with StoragePeer() as peer:
        node = _open(tmp_path, viewer=peer.port)
        job = publish_objects(node, objects, ["gone", "viewer"])
        failed = _run(node, Clock())
    assert failed is not None
    assert (failed.state, failed.error) == (JobState.FAILED, "SettingsInvalid")
    assert _accounts(node, job) == {"gone": (0, 1, True), "viewer": (4, 0, False)}


def test_destinations_are_served_at_the_same_time(tmp_path: Path, objects: list[Dataset]) -> None:
    met = threading.Barrier(2, timeout=20)

    def meet(_: object) -> None:
        if not met.broken and met.n_waiting < 2:
            met.wait()

    # Each answers its first instance only when the other one has been sent one too.
    first, second = StoragePeer(on_store=meet), StoragePeer(on_store=meet)
    with first, second:
        node = _open(tmp_path, one=first.port, two=second.port)
        job = publish_objects(node, objects, ["one", "two"])
        _run(node, Clock())
    assert node.ledger.find_job(job.id).state is JobState.STORED
    assert not met.broken


class _Counting:
    """A sender that knows no destination to answer, and counts how often it was asked."""

    def __init__(self, error: Exception) -> None:
        self.asked = 0
        self._error = error

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        self.asked += 1
        raise self._error

    def offers_commitment(self, destination: str) -> bool:
        return False

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        raise self._error

    def echo(self, destination: str) -> str:
        raise self._error


def test_one_that_did_not_answer_is_asked_once_for_all_its_jobs(tmp_path: Path, objects: list[Dataset]) -> None:
    node = _open(tmp_path)
    job = publish_objects(node, objects, ["archive"])
    sender = _Counting(DestinationUnreachable("down"))
    node = replace(node, sender=sender)
    clock = Clock()
    runner = StepRunner(node, "worker", clock)
    runner.run_step(Step.SEND)
    node.ledger.resend_job(job.id, clock())
    runner.run_step(Step.SEND)
    assert sender.asked == 1
    assert _accounts(node, job) == {"archive": (0, 1, False)}, "counted all the same"
    clock.advance(61)
    runner.run_step(Step.SEND)
    assert sender.asked == 2


def test_a_defect_at_one_destination_is_told_without_foreign_text_and_ends_only_that_one(
    tmp_path: Path, objects: list[Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    node = _open(tmp_path)
    job = publish_objects(node, objects, ["archive"])
    node = replace(node, sender=_Counting(ZeroDivisionError("patient DOE^JOHN")))
    failed = _run(node, Clock())
    assert failed is not None
    assert failed.state is JobState.FAILED
    assert _accounts(node, job) == {"archive": (0, 1, True)}
    assert "ZeroDivisionError" in failed.reason
    assert "DOE" not in caplog.text + failed.reason


def test_what_a_worker_says_that_lost_its_lease_is_dropped(tmp_path: Path, objects: list[Dataset]) -> None:
    clock = Clock()
    with StoragePeer() as peer:
        node = _open(tmp_path, viewer=peer.port)
        job = publish_objects(node, objects, ["viewer"])
        slow = StepRunner(node, "slow", clock)
        record = node.ledger.record_outcome
        taken: list[Job | None] = []

        def overtake(*arguments: Any, **options: Any) -> None:
            record(*arguments, **options)
            if not taken:
                clock.advance(31)
                free_leases(node.ledger, clock())
                taken.append(None)
                taken[0] = StepRunner(node, "quick", clock).run_step(Step.SEND)

        node.ledger.record_outcome = overtake  # type: ignore[method-assign]
        slow.run_step(Step.SEND)
    [quick] = taken
    assert quick is not None
    assert (quick.state, quick.fence) == (JobState.STORED, 4)
    assert node.ledger.find_job(job.id) == quick, "what the slow one had to say was dropped"
    with pytest.raises(LeaseLost):
        node.ledger.save_consignment(
            replace(job, fence=3, state=JobState.SENDING), node.ledger.list_consignments(job.id)[0], clock()
        )


def test_a_worker_that_hears_that_its_lease_is_lost_stops_sending(tmp_path: Path, objects: list[Dataset]) -> None:
    clock = Clock()
    with StoragePeer() as peer:
        node = _open(tmp_path, viewer=peer.port)
        job = publish_objects(node, objects, ["viewer"])
        claimed = node.ledger.claim_job(Step.SEND, clock(), 30, "slow")
        assert claimed is not None
        record = node.ledger.record_outcome

        def overtake(*arguments: Any, **options: Any) -> None:
            record(*arguments, **options)
            free_leases(node.ledger, clock() + timedelta(days=1))
            await_value(lambda: heartbeat._lost, pause=0.01)

        node.ledger.record_outcome = overtake  # type: ignore[method-assign]
        with Heartbeat(node.ledger, claimed, clock, 0.03) as heartbeat, pytest.raises(LeaseLost):
            Courier(node.ledger, node.sender, WORK, clock).go_round(claimed, heartbeat)
    assert len(peer.uids) == 1
    assert _accounts(node, job) == {"viewer": (1, 0, False)}


class _Killed(BaseException):
    """The process died here."""


def _die_at(node: Node, moment: int) -> None:
    """Let the process die at the ``moment``-th thing it does to the ledger while it delivers; once."""
    calls = itertools.count(1)

    def wrap(name: str, *, after: bool) -> None:
        do = getattr(node.ledger, name)

        def step(*arguments: Any, **options: Any) -> Any:
            if not after and next(calls) == moment:
                raise _Killed
            done = do(*arguments, **options)
            if after and next(calls) == moment:
                raise _Killed
            return done

        setattr(node.ledger, name, step)

    for name in ("record_outcome", "save_consignment", "open_commitment", "advance_job"):
        wrap(name, after=False)
        wrap(name, after=True)


@pytest.mark.parametrize("moment", range(1, 13))
def test_killed_at_any_moment_the_next_worker_ends_it_with_everything_stored_and_committed(
    tmp_path: Path, objects: list[Dataset], moment: int
) -> None:
    clock = Clock()
    with running_peer(CommittingPeer()) as peer:
        node = _open(tmp_path, committer=peer.port)
        job = publish_objects(node, objects[:2], ["committer"])
        doomed = _open(tmp_path, committer=peer.port)
        _die_at(doomed, moment)
        died = 0
        for _ in range(12):
            worker = doomed if not died else node
            enter_reports(node, clock())
            for step in (Step.SEND, Step.COMMIT):
                try:
                    StepRunner(worker, "worker", clock).run_step(step)
                except _Killed:
                    died += 1
            if node.ledger.find_job(job.id).state is JobState.COMMITTED:
                break
            await_value(lambda: len(peer.answers) == len(peer.asked))
            clock.advance(31)
            free_leases(node.ledger, clock())
        assert died == 1
        assert node.ledger.find_job(job.id).state is JobState.COMMITTED
    assert set(peer.stored) == {ds.SOPInstanceUID for ds in objects[:2]}
    assert len(peer.stored) <= 3, "at most the one under way is sent again"
    [account] = node.ledger.list_consignments(job.id)
    assert (account.total, account.stored, account.committed) == (2, 2, 2)


def test_nothing_in_the_way_needs_no_words(tmp_path: Path, objects: list[Dataset]) -> None:
    node = _open(tmp_path, viewer=find_free_port())
    job = publish_objects(node, objects, ["viewer"])
    assert explain_rest(node.ledger.list_consignments(job.id)) is None
    assert node.ledger.list_claimable(Step.SEND, job.moment - timedelta(days=1)) == [job.id]
