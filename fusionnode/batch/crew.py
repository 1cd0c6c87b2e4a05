"""The workers of a batch: threads that each take whatever step of whatever job comes next."""

import logging
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from fusionnode.domain.terms import Step
from fusionnode.errors import Unavailable, format_frames
from fusionnode.wiring import Node, name_worker
from fusionnode.worker.steps import StepRunner

logger = logging.getLogger(__name__)

_STEPS = (Step.SEND, Step.FUSE, Step.PREPARE)
"""What is nearest to its end goes first, so that little lies about half done."""

_REST_SECONDS = 0.2


class Crew:
    """Works on the jobs of a node while the context lasts; leaving it lets running steps end."""

    def __init__(self, node: Node, workers: int) -> None:
        self._node = node
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"worker-{number}") for number in range(workers)
        ]

    def __enter__(self) -> Self:
        """Begin to work."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop after the running steps."""
        if kind is not None:
            logger.warning("stopping; the steps that run are brought to an end; the same command goes on from there")
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        runner = StepRunner(self._node, f"{name_worker('batch')}-{number}", lambda: datetime.now(UTC))
        while not self._stop.is_set():
            if not _run_next(runner):
                self._stop.wait(_REST_SECONDS)


def _run_next(runner: StepRunner) -> bool:
    """Run one step; False when there was none or the ledger could not be reached."""
    try:
        return any(runner.run_step(step) is not None for step in _STEPS)
    except Unavailable as unavailable:
        logger.warning("put off: %s", unavailable)
    except Exception as error:
        logger.error("defect around a step; the lease frees the job: %s", format_frames(error))
    return False
