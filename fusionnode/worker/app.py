"""The scaled-out form: Celery on Redis. A message is a job id and nothing else; the ledger decides."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from celery import Celery
from celery.signals import setup_logging
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from fusionnode.domain.terms import Step
from fusionnode.errors import SettingsInvalid
from fusionnode.flow.ports import Ledger
from fusionnode.settings import Settings
from fusionnode.wiring import Node, build_sweeper, name_worker
from fusionnode.worker.steps import StepRunner, next_step
from fusionnode.worker.sweeping import enter_reports, repeat_sweep

logger = logging.getLogger(__name__)

_TASK = "fusionnode.{step}"


def build_app(settings: Settings) -> Celery:
    """Return a Celery application that speaks to the site's broker and to nothing else.

    Raises:
        SettingsInvalid: the site names no broker.
    """
    broker_url = settings.broker_url.get_secret_value()
    if not broker_url:
        raise SettingsInvalid(
            "No broker is set, so there is nothing to share work through.",
            remedy="Set broker_url (or FUSIONNODE_BROKER_URL), or run `fusionnode serve`.",
        )
    app = Celery("fusionnode", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # Acknowledged after the step, so a killed worker's message comes back; the lease decides who works.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": 3600, "socket_timeout": 10, "socket_connect_timeout": 5},
    )
    return app


class Dispatcher:
    """Publishes job ids. A message that cannot be sent is no loss: the sweep publishes again."""

    def __init__(self, app: Celery, patience_seconds: float = 5.0) -> None:
        self._app = app
        patience = {"socket_timeout": patience_seconds, "socket_connect_timeout": patience_seconds}
        self._redis = Redis.from_url(app.conf.broker_url, **patience)

    def dispatch(self, step: Step, job_id: str) -> bool:
        """Publish one id to the queue of ``step``; False when the broker does not answer."""
        try:
            self._app.send_task(_TASK.format(step=step), args=[job_id], queue=step.value, retry=False)
        except (OperationalError, OSError) as error:
            logger.warning("job %s not announced to %s: %s", job_id, step, type(error).__name__)
            return False
        return True

    def count_backlog(self, step: Step) -> int | None:
        """Return how many messages wait in the queue of ``step``; None when the broker does not answer."""
        try:
            return int(self._redis.llen(step.value))
        except RedisError as error:
            logger.warning("the broker does not answer: %s", type(error).__name__)
            return None


class Announcer:
    """Tells workers of every claimable job, again after ``repeat_seconds`` for those still waiting.

    Nothing is said while the queue holds a message for every waiting job already, so it stays short however long no
    worker runs; and the round ends at the first sign that the broker is away, so that a sweep never hangs on it.
    """

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, repeat_seconds: float = 30.0) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._repeat_seconds = repeat_seconds
        self._told: dict[tuple[Step, str], float] = {}

    def announce(self, now: datetime, monotonic: float) -> int:
        """Publish what is due; return how many messages went out."""
        claimable = {(step, job_id) for step in Step for job_id in self._ledger.list_claimable(step, now)}
        self._told = {key: told for key, told in self._told.items() if key in claimable}
        sent = 0
        for step in Step:
            waiting = sorted(job_id for of, job_id in claimable if of is step)
            due = [one for one in waiting if monotonic - self._told.get((step, one), -1e9) >= self._repeat_seconds]
            backlog = self._dispatcher.count_backlog(step) if due else 0
            if backlog is None:
                break
            for job_id in due if backlog < len(waiting) else ():
                if not self._dispatcher.dispatch(step, job_id):
                    return sent
                self._told[step, job_id] = monotonic
                sent += 1
        return sent


def list_served(step: Step) -> tuple[Step, ...]:
    """Return the steps that a worker for ``step`` does, from one queue each: who sends also sees to the commitments.

    The broker serves the queues in turns, so that however much there is to send, no commitment waits behind all of it.
    """
    return (Step.SEND, Step.COMMIT) if step in (Step.SEND, Step.COMMIT) else (step,)


def run_sweep(node: Node, stop: threading.Event, swept: Callable[[bool], None]) -> None:
    """Sweep and announce in this process until ``stop`` is set; ``swept`` hears of every round whether it was whole."""
    announcer = Announcer(node.ledger, Dispatcher(build_app(node.settings)))

    def tell() -> None:
        # First, so that no trouble with a report keeps the workers waiting.
        announcer.announce(datetime.now(UTC), time.monotonic())
        enter_reports(node, datetime.now(UTC))

    repeat_sweep(build_sweeper(node), node.settings.settle.sweep_seconds, stop, tell, swept)


def run_worker(node: Node, step: Step) -> None:
    """Consume the queues of `list_served` in this process until told to stop.

    The solo pool neither forks (CUDA cannot be initialised again after a fork) nor prefetches; more workers are
    more processes.
    """
    app = build_app(node.settings)
    setup_logging.connect(_leave_logging)
    served = list_served(step)
    for one in served:
        register_step(app, node, one)
    arguments = ["worker", "--pool", "solo", "--queues", ",".join(served), "--hostname", f"{name_worker(step)}@%h"]
    app.worker_main(
        [*arguments, "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    )


def _leave_logging(**_: object) -> None:
    """Keep the log as it is; unasked, Celery would give the level of its own loggers, WARNING, to all others."""
    logging.getLogger("celery").setLevel(logging.WARNING)


def register_step(app: Celery, node: Node, step: Step) -> None:
    """Make the task of ``step`` known to ``app``."""
    runner = StepRunner(node, name_worker(step), lambda: datetime.now(UTC))
    dispatcher = Dispatcher(app)
    if step is Step.FUSE:
        runner.warm_up()

    def run(job_id: str) -> None:
        job = runner.run_quietly(step, job_id)
        following = next_step(step)
        if job is not None and following is not None:
            dispatcher.dispatch(following, job_id)

    app.task(run, name=_TASK.format(step=step))
