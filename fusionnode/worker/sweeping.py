"""The sweep as a loop: alone in a process that announces jobs to the broker, or a thread of the embedded node."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fusionnode.domain.series import InstanceHeader
from fusionnode.errors import Unavailable, format_frames
from fusionnode.flow.commitment import collect_reports
from fusionnode.flow.ports import StoredFile
from fusionnode.flow.sweep import Sweeper
from fusionnode.wiring import Node
from fusionnode.worker.policy import retry_delay_seconds

logger = logging.getLogger(__name__)


def repeat_sweep(
    sweeper: Sweeper,
    pause_seconds: float,
    stop: threading.Event,
    tell: Callable[[], None],
    swept: Callable[[bool], None],
) -> None:
    """Sweep, then ``tell`` the workers, until ``stop`` is set; trouble is logged and the next round tries again.

    ``swept`` is called with False for every arrival that is come to, so that a long round is not taken for one that
    hangs; and after every round, with whether there was no trouble in it.
    """
    sweeper = _tell_of_arrivals(sweeper, swept)
    while not stop.is_set():
        whole = False
        try:
            sweeper.sweep(datetime.now(UTC), time.monotonic())
            tell()
            whole = True
        except Unavailable as unavailable:
            logger.warning("sweep put off: %s", unavailable)
        except Exception as error:
            logger.error("defect in the sweep; the next round tries again: %s", format_frames(error))
        swept(whole)
        stop.wait(pause_seconds)


def _tell_of_arrivals(sweeper: Sweeper, swept: Callable[[bool], None]) -> Sweeper:
    """Return a sweeper as ``sweeper`` that calls ``swept`` with False before it reads an arrival."""
    read_header = sweeper.read_header

    def tell_and_read(stored: StoredFile) -> InstanceHeader:
        swept(False)
        return read_header(stored)

    return replace(sweeper, read_header=tell_and_read)


def enter_reports(node: Node, now: datetime) -> int:
    """Enter the storage commitment reports that came; return how many. What was lost is sent again after a pause.

    Raises:
        LedgerUnavailable: the next round goes on where this one stopped.
    """

    def again(requests: int) -> datetime:
        return now + timedelta(seconds=retry_delay_seconds(requests, node.settings.work, "report"))

    return collect_reports(node.ledger, node.reports, now, again)
