"""Log lines an operator can follow: time, level, job, message. No patient attribute ever goes in."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_job_id: ContextVar[str] = ContextVar("job_id", default="-")


class _JobFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.job_id = _job_id.get()
        return True


def configure_logging(level: int = logging.INFO) -> None:
    """Send all log lines to standard error, each with the job it belongs to. Safe to call again."""
    handler = logging.StreamHandler()
    handler.addFilter(_JobFilter())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s [%(job_id)s] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Both write identifiers of patients into their own log lines.
    for talkative in ("pynetdicom", "pydicom", "highdicom"):
        logging.getLogger(talkative).setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextmanager
def job_context(job_id: str) -> Iterator[None]:
    """Name the job in every log line of this thread while inside."""
    token = _job_id.set(job_id)
    try:
        yield
    finally:
        _job_id.reset(token)


class StepClock:
    """The narrator of the plot: logs one line per step and keeps its seconds.

    Attributes:
        seconds: by step name, in the order they ran.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self.seconds: dict[str, float] = {}
        self._logger = logger

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time one step; a step that raises is logged by whoever catches the error."""
        began = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - began
        self._logger.info("%s done in %.2f s", step, self.seconds[step])
