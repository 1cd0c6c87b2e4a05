"""Log lines an operator can follow: time, level, job, message. No patient attribute ever goes in."""

import json
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from fusionnode.errors import format_frames

_job_id: ContextVar[str] = ContextVar("job_id", default="-")
_series: ContextVar[tuple[str, ...]] = ContextVar("series", default=())

_TALKATIVE = ("pynetdicom", "pydicom", "highdicom", "dicomweb_client", "py.warnings")
_logger = logging.getLogger(__name__)


class _LineFilter(logging.Filter):
    """Adds job and series, and drops what the DICOM libraries say: they quote values, patients' among them.

    A filter and not a level, because these libraries set their loggers' levels themselves when they are imported.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "job_id"):
            record.job_id = _job_id.get()
        if not hasattr(record, "series"):
            record.series = list(_series.get())
        return not record.name.startswith(_TALKATIVE)


class _JsonFormatter(logging.Formatter):
    """One JSON object on each line; what does not apply is left out.

    An exception is told by its kind and the places it passed, not by its words: a foreign one may quote a patient.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": self._role,
            "pid": os.getpid(),
            "thread": record.threadName,
            "job": "" if getattr(record, "job_id", "-") == "-" else record.__dict__["job_id"],
            "series": getattr(record, "series", []),
            "association": getattr(record, "association", ""),
        }
        if record.exc_info and record.exc_info[1]:
            facts["exception"] = format_frames(record.exc_info[1])
        return json.dumps({name: value for name, value in facts.items() if value}, ensure_ascii=False)


class _TextFormatter(logging.Formatter):
    """The same without braces, for eyes."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s [%(job_id)s] %(name)s: %(message)s")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging gives it
        """Return the kind and the places, without the words."""
        return format_frames(ei[1])


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


def configure_logging(level: int = logging.INFO, *, as_json: bool = False, role: str = "fusionnode") -> None:
    """Send all log lines to standard error, each with the job it belongs to. Safe to call again.

    Python's warnings become log lines without their words.

    Args:
        level: the least that is told.
        as_json: one JSON object on each line instead of text.
        role: of this process, such as ``serve``, for lines of JSON.
    """
    handler = logging.StreamHandler()
    handler.addFilter(_LineFilter())
    handler.setFormatter(_JsonFormatter(role) if as_json else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    warnings.showwarning = _WarningLog()  # type: ignore[assignment]


def configure_service(role: str, *, as_json: bool) -> None:
    """Set the log lines of a process that runs for long; what ends it, or a thread, is told without its words."""
    configure_logging(logging.getLogger().level, as_json=as_json, role=role)
    threading.excepthook = _log_thread_end
    sys.excepthook = _log_end


@contextmanager
def job_context(job_id: str, series: Iterable[str] = ()) -> Iterator[None]:
    """Name the job and the series (UIDs) it is about in every log line of this context while inside."""
    job_token, series_token = _job_id.set(job_id), _series.set(tuple(series))
    try:
        yield
    finally:
        _series.reset(series_token)
        _job_id.reset(job_token)


def _log_end(_kind: type[BaseException], problem: BaseException, _trace: TracebackType | None) -> None:
    _logger.critical("the process ends: %s", format_frames(problem))


def _log_thread_end(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "unknown"
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        _logger.error("thread %s ended: %s", name, format_frames(ended.exc_value))


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
