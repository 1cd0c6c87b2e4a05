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
    """Calls ``give_up`` once, in a thread of its own, when the context is still open after ``seconds``.

    What ended is never given up: the end of the context waits for a ``give_up`` that has begun, and none begins later.
    """

    def __init__(self, seconds: float, give_up: Callable[[], None]) -> None:
        self._give_up = give_up
        self._turn = threading.Lock()
        self._open = True
        self._timer = threading.Timer(seconds, copy_context().run, args=(self._strike,))
        self._timer.daemon = True

    def __enter__(self) -> Self:
        """Begin to wait."""
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop waiting."""
        # That alone leaves a moment in which the timer has looked and goes on.
        self._timer.cancel()
        with self._turn:
            self._open = False

    def _strike(self) -> None:
        with self._turn:
            if self._open:
                self._give_up()
