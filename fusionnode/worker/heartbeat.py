"""Keeps the lease of a running step alive, and notices when it was lost."""

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from datetime import datetime
from types import TracebackType
from typing import Self

from fusionnode.domain.job import Job
from fusionnode.errors import LeaseLost, Unavailable, format_frames
from fusionnode.flow.ports import Ledger

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews the lease of ``job`` three times per lease while the context is open."""

    def __init__(self, ledger: Ledger, job: Job, clock: Callable[[], datetime], lease_seconds: float) -> None:
        self._ledger = ledger
        self._job = job
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._stop = threading.Event()
        self._lost: LeaseLost | None = None
        name = f"heartbeat-{job.id[:8]}"
        self._thread = threading.Thread(target=copy_context().run, args=(self._beat,), name=name, daemon=True)

    def __enter__(self) -> Self:
        """Start beating."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop beating."""
        self._stop.set()
        self._thread.join()

    def require_lease(self) -> None:
        """Say whether the lease held all along.

        Raises:
            LeaseLost: another worker took the step over.
        """
        if self._lost is not None:
            raise self._lost

    def _beat(self) -> None:
        while not self._stop.wait(self._lease_seconds / 3):
            try:
                self._ledger.renew_lease(self._job, self._clock(), self._lease_seconds)
            except LeaseLost as lost:
                self._lost = lost
                return
            except Unavailable as unavailable:
                # The next beat may succeed; if none does, the lease runs out and the fence protects the result.
                logger.warning("lease not renewed: %s", unavailable)
            except Exception as error:
                logger.error("defect in the heartbeat; the next beat tries again: %s", format_frames(error))
