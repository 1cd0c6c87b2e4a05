"""The embedded default: listener, sweep and one worker per step as threads of one process. No broker."""

import logging
import threading
from datetime import UTC, datetime

from fusionnode.domain.terms import Step
from fusionnode.errors import Unavailable, format_frames
from fusionnode.wiring import Node, build_listener, build_sweeper, name_worker
from fusionnode.worker.steps import StepRunner, next_step
from fusionnode.worker.sweeping import enter_reports, repeat_sweep

logger = logging.getLogger(__name__)


class EmbeddedNode:
    """A whole node in this process. ``start`` returns at once; ``stop`` lets running steps end."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stop = threading.Event()
        self._wake = {step: threading.Event() for step in Step}
        self._listener = build_listener(node.settings)
        self._threads = [threading.Thread(target=self._sweep, name="sweep")]
        self._threads += [threading.Thread(target=self._work, args=(step,), name=step) for step in Step]

    @property
    def port(self) -> int:
        """The port the listener really has (the site file may say 0)."""
        return self._listener.port

    def start(self) -> None:
        """Open the port and begin to work.

        Raises:
            Misconfigured: the port cannot be had.
        """
        self._listener.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close the port, then wait for the running steps."""
        self._listener.stop()
        self._stop.set()
        self._wake_workers()
        for thread in self._threads:
            thread.join()

    def _sweep(self) -> None:
        pause_seconds = self._node.settings.settle.sweep_seconds
        repeat_sweep(build_sweeper(self._node), pause_seconds, self._stop, self._tell)

    def _tell(self) -> None:
        # First, so that no trouble with a report keeps the workers waiting.
        self._wake_workers()
        enter_reports(self._node, datetime.now(UTC))

    def _wake_workers(self) -> None:
        for event in self._wake.values():
            event.set()

    def _work(self, step: Step) -> None:
        runner = StepRunner(self._node, name_worker(step), lambda: datetime.now(UTC))
        following = next_step(step)
        if step is Step.FUSE:
            runner.warm_up()
        while not self._stop.is_set():
            if not _run_quietly(runner, step):
                self._wake[step].wait(timeout=self._node.settings.settle.sweep_seconds)
                self._wake[step].clear()
            elif following:
                self._wake[following].set()


def _run_quietly(runner: StepRunner, step: Step) -> bool:
    """Run one step; False when there was nothing to do or the ledger could not be reached."""
    try:
        return runner.run_step(step) is not None
    except Unavailable as unavailable:
        logger.warning("%s put off: %s", step, unavailable)
    except Exception as error:
        logger.error("defect around %s; the lease frees the job: %s", step, format_frames(error))
    return False
