"""Ends a process whose step hangs: a thread that computes cannot be ended, the process it is in can."""

import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Self

EXIT_STATUS = 70
"""What a process ends with that gave a step up (EX_SOFTWARE of sysexits.h); whoever runs it starts it again."""


def end_process() -> None:
    """End this process at once: whatever hangs would keep an orderly end waiting, too."""
    os._exit(EXIT_STATUS)


class Watchdog:
    """Calls ``give_up`` once, in a thread of its own, when the context is still open after ``seconds``."""

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._timer = threading.Timer(seconds, copy_context().run, args=(give_up,))
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Begin to wait."""
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop waiting."""
        self._timer.cancel()
