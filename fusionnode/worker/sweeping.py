"""The sweep as a loop: alone in a process that announces jobs to the broker, or a thread of the embedded node."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from fusionnode.errors import Unavailable, format_frames
from fusionnode.flow.sweep import Sweeper

logger = logging.getLogger(__name__)


def repeat_sweep(sweeper: Sweeper, pause_seconds: float, stop: threading.Event, tell: Callable[[], None]) -> None:
    """Sweep, then ``tell`` the workers, until ``stop`` is set; trouble is logged and the next round tries again."""
    while not stop.is_set():
        try:
            sweeper.sweep(datetime.now(UTC), time.monotonic())
            tell()
        except Unavailable as unavailable:
            logger.warning("sweep put off: %s", unavailable)
        except Exception as error:
            logger.error("defect in the sweep; the next round tries again: %s", format_frames(error))
        stop.wait(pause_seconds)
