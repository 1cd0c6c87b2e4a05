"""Log lines an operator can follow: time, level, job, message. No patient attribute ever goes in."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_job_id: ContextVar[str] = ContextVar("job_id", default="-")


_TALKATIVE = ("pynetdicom", "pydicom", "highdicom", "dicomweb_client", "py.warnings")
_logger = logging.getLogger(__name__)


class _LineFilter(logging.Filter):
    """Adds the job, and drops what the DICOM libraries say: they quote values, patients' among them.

    A filter and not a level, because these libraries set their loggers' levels themselves when they are imported.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.job_id = _job_id.get()
        return not record.name.startswith(_TALKATIVE)


class _WarningLog:
    """Takes the place of `warnings.showwarning`: tells of each place that warned once, and never what it said.

    The DICOM libraries quote the values they warn of, patients' among them, and Python would print that.
    """

    def __init__(self) -> None:
        self._told: set[tuple[str, int]] = set()

    def __call__(self, message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        if (filename, lineno) in self._told:
            return
        self._told.add((filename, lineno))
        place = "/".join(Path(filename).parts[-2:])
        _logger.info(
            "%s at %s:%d; its words may quote patients' data and are left out", category.__name__, place, lineno
        )


def configure_logging(level: int = logging.INFO) -> None:
    """Send all log lines to standard error, each with the job it belongs to. Safe to call again.

    Python's warnings become log lines without their words.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_LineFilter())
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s [%(job_id)s] %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.showwarning = _WarningLog()  # type: ignore[assignment]


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

    def __init__(self, logger: logging.Logger, tell: Callable[[str], None] | None = None) -> None:
        """``tell`` hears the name of each step when it begins, for a progress bar."""
        self.seconds: dict[str, float] = {}
        self._logger = logger
        self._tell = tell

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time one step; a step that raises is logged by whoever catches the error."""
        if self._tell is not None:
            self._tell(step)
        began = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - began
        self._logger.info("%s done in %.2f s", step, self.seconds[step])
