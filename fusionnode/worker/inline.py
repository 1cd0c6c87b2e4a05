"""The embedded default: listener, sweep and the workers of every step as threads of one process. No broker."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from fusionnode.domain.terms import Step
from fusionnode.flow.observing import UNOBSERVED, IntakeObserver
from fusionnode.wiring import Node, build_listener, build_sweeper, name_worker
from fusionnode.worker.housekeeping import repeat_housekeeping
from fusionnode.worker.steps import StepRunner, next_step
from fusionnode.worker.sweeping import enter_reports, repeat_sweep


class EmbeddedNode:
    """A whole node in this process. ``start`` returns at once; ``stop`` lets running steps end.

    ``observer`` is told what happens at the listener, ``swept`` after every round of the sweep whether it was whole.
    """

    def __init__(
        self, node: Node, observer: IntakeObserver = UNOBSERVED, swept: Callable[[bool], None] = lambda whole: None
    ) -> None:
        self._node = node
        self._swept = swept
        self._stop = threading.Event()
        self._wake = {step: threading.Event() for step in Step}
        self._listener = build_listener(node.settings)
        self._listener.observer = observer
        self._threads = [threading.Thread(target=self._sweep, name="sweep")]
        self._threads += [
            threading.Thread(target=self._work, args=(step, role), name=role)
            for step in Step
            for role in _name_roles(step, node.settings.work.senders)
        ]
        keep = threading.Thread(target=repeat_housekeeping, args=(node, self._stop), name="housekeeping")
        self._threads.append(keep)

    @property
    def port(self) -> int:
        """The port the listener really has (the site file may say 0)."""
        return self._listener.port

    @property
    def is_listening(self) -> bool:
        """Whether the listener takes connections at this moment."""
        return self._listener.is_listening

    def list_dead(self) -> list[str]:
        """Return the names of the threads that should run and do not."""
        return [thread.name for thread in self._threads if not thread.is_alive()]

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
        repeat_sweep(build_sweeper(self._node), pause_seconds, self._stop, self._tell, self._swept)

    def _tell(self) -> None:
        # First, so that no trouble with a report keeps the workers waiting.
        self._wake_workers()
        enter_reports(self._node, datetime.now(UTC))

    def _wake_workers(self) -> None:
        for event in self._wake.values():
            event.set()

    def _work(self, step: Step, role: str) -> None:
        runner = StepRunner(self._node, name_worker(role), lambda: datetime.now(UTC))
        following = next_step(step)
        if step is Step.FUSE:
            runner.warm_up()
        while not self._stop.is_set():
            if runner.run_quietly(step) is None:
                self._wake[step].wait(timeout=self._node.settings.settle.sweep_seconds)
                self._wake[step].clear()
            elif following:
                self._wake[following].set()


def _name_roles(step: Step, senders: int) -> list[str]:
    """Return a name for each worker of ``step``: one computes at a time, several send, for each waits for its peers."""
    return [f"{step}-{number}" for number in range(1, senders + 1)] if step is Step.SEND else [step]
