"""The Celery form: messages are ids, and a broker that is away costs nothing."""

import logging
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Task
from celery.contrib.testing.worker import start_worker
from celery.signals import task_prerun

from fusionnode.domain.job import JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import SettingsInvalid
from fusionnode.worker.app import Announcer, Dispatcher, build_app, list_served, register_step
from tests.support.nodes import MOMENT, make_settings, open_test_node, queue_job
from tests.support.running import await_port, await_value, free_port
from tests.support.tools import require_tool


@pytest.fixture(autouse=True)
def _keep_logging() -> Iterator[None]:
    """Celery's worker sets the root logger up for itself, also when it runs inside a test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    binary, port = require_tool("redis-server"), free_port()
    process = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    )
    try:
        await_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def test_without_a_broker_the_scaled_out_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="broker"):
        build_app(make_settings(tmp_path))


def test_a_broker_that_does_not_answer_is_no_loss(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        node = open_test_node(tmp_path, broker_url=url)
        job = queue_job(node, tmp_path)
        announcer = Announcer(node.ledger, Dispatcher(build_app(node.settings)))
        assert announcer.announce(MOMENT, 0.0) == 0
        assert node.ledger.list_claimable(Step.PREPARE, MOMENT) == [job.id]


@pytest.mark.system
def test_a_job_is_announced_once_and_again_when_the_broker_forgot_it(tmp_path: Path, redis_url: str) -> None:
    node = open_test_node(tmp_path, broker_url=redis_url)
    queue_job(node, tmp_path)
    announcer = Announcer(node.ledger, Dispatcher(build_app(node.settings)), repeat_seconds=30)
    assert [announcer.announce(MOMENT, moment) for moment in (0.0, 1.0, 31.0)] == [1, 0, 0]
    redis.Redis.from_url(redis_url).flushall()
    assert [announcer.announce(MOMENT, moment) for moment in (32.0, 62.0)] == [1, 0]


def test_a_broker_that_hangs_is_waited_for_once_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        node = open_test_node(tmp_path, broker_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        queue_job(node, tmp_path)
        monkeypatch.setattr(node.ledger, "list_claimable", lambda *_: ["a", "b", "c"])
        dispatcher = Dispatcher(build_app(node.settings), patience_seconds=0.3)
        asked: list[Step] = []
        count = dispatcher.count_backlog
        monkeypatch.setattr(dispatcher, "count_backlog", lambda step: asked.append(step) or count(step))
        assert Announcer(node.ledger, dispatcher).announce(MOMENT, 0.0) == 0
        assert asked == [Step.PREPARE]


@pytest.mark.system
def test_the_queue_does_not_grow_while_no_worker_runs(tmp_path: Path, redis_url: str) -> None:
    node = open_test_node(tmp_path, broker_url=redis_url)
    queue_job(node, tmp_path)
    dispatcher = Dispatcher(build_app(node.settings))
    announcer = Announcer(node.ledger, dispatcher, repeat_seconds=30)
    assert sum(announcer.announce(MOMENT, 31.0 * minute) for minute in range(200)) == 1
    assert dispatcher.count_backlog(Step.PREPARE) == 1


@pytest.mark.system
def test_what_is_to_be_sent_keeps_no_commitment_from_being_announced(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = open_test_node(tmp_path, broker_url=redis_url)
    waiting = {Step.SEND: ["a", "b", "c"]}
    monkeypatch.setattr(node.ledger, "list_claimable", lambda step, _: waiting.get(step, []))
    dispatcher = Dispatcher(build_app(node.settings))
    announcer = Announcer(node.ledger, dispatcher)
    assert announcer.announce(MOMENT, 0.0) == 3
    # As the worker that fused it does by itself.
    assert dispatcher.dispatch(Step.SEND, "a")
    waiting[Step.COMMIT] = ["d"]
    assert announcer.announce(MOMENT, 1.0) == 1
    assert announcer.announce(MOMENT, 31.0) == 0, "a message of each is there"


@pytest.mark.system
def test_a_doubled_message_does_the_work_once(tmp_path: Path, redis_url: str) -> None:
    node = open_test_node(tmp_path, broker_url=redis_url)
    job = queue_job(node, tmp_path)
    app = build_app(node.settings)
    register_step(app, node, Step.PREPARE)
    dispatcher = Dispatcher(app)
    assert all(dispatcher.dispatch(Step.PREPARE, job.id) for _ in range(3))
    assert dispatcher.dispatch(Step.PREPARE, "no-such-job")
    with start_worker(app, pool="solo", queues=["prepare"], perform_ping_check=False):
        await_value(lambda: node.ledger.find_job(job.id).state is JobState.PREPARED, seconds=30)
    assert node.ledger.find_job(job.id).fence == 1


def test_a_worker_for_sending_is_one_for_commitments_too() -> None:
    both = (Step.SEND, Step.COMMIT)
    assert [list_served(step) for step in Step] == [(Step.PREPARE,), (Step.FUSE,), both, both]


@pytest.mark.system
def test_much_that_is_to_be_sent_holds_up_no_commitment(tmp_path: Path, redis_url: str) -> None:
    node = open_test_node(tmp_path, broker_url=redis_url)
    app = build_app(node.settings)
    served = list_served(Step.SEND)
    for step in served:
        register_step(app, node, step)
    dispatcher, begun = Dispatcher(app), list[str]()
    for step in (*[Step.SEND] * 20, *[Step.COMMIT] * 3):
        assert dispatcher.dispatch(step, "no-such-job")

    def note(task: Task, **_: object) -> None:
        begun.append(task.name.removeprefix("fusionnode."))

    task_prerun.connect(note)
    try:
        with start_worker(app, pool="solo", queues=[*served], perform_ping_check=False):
            await_value(lambda: len(begun) == 23, seconds=30)
    finally:
        task_prerun.disconnect(note)
    assert begun[:6].count(Step.COMMIT) == 3, "by turns"
