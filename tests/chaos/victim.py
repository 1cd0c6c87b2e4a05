"""The command line with a fault in it: dies, or freezes, at a named point.

CHAOS_FAULT is ``POINT:COUNT:SIGNAL:THREAD``, CHAOS_MARK the file that tells that the fault struck, and nothing else.
"""

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Self

from fusionnode.cli import main
from fusionnode.faults import FaultPoint, arm

VARIABLE = "CHAOS_FAULT"
MARK = "CHAOS_MARK"


@dataclass(frozen=True)
class Fault:
    """What happens to a process the ``count``-th time it reaches ``point``.

    Where the steps of a node are threads of one process, ``thread`` is the one that has to: ``send`` is any of
    ``send-1``, ``send-2``, ...; empty: whichever.
    """

    point: FaultPoint
    count: int = 1
    signal: Signals = SIGKILL
    thread: str = ""

    def __str__(self) -> str:
        """As the environment carries it."""
        return f"{self.point.name}:{self.count}:{self.signal.name}:{self.thread}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The opposite of ``str``."""
        point, count, number, thread = text.split(":")
        return cls(FaultPoint[point], int(count), Signals[number], thread)


@dataclass
class Striker:
    """Counts how often this process reaches the fault's point, and strikes in time. First it writes ``mark``."""

    fault: Fault
    mark: Path | None = None
    _reached: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, point: FaultPoint) -> None:
        thread = threading.current_thread().name.partition("-")[0]
        if point is not self.fault.point or self.fault.thread not in ("", thread):
            return
        with self._turn:
            self._reached += 1
            if self._reached == self.fault.count:
                if self.mark:
                    self.mark.touch()
                os.kill(os.getpid(), self.fault.signal)
                # The signal of one's own thread is delivered before the call returns; that of another need not be.
                threading.Event().wait(0.05)


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


if __name__ == "__main__":
    if "FAKETIME_TIMESTAMP_FILE" in os.environ:
        # Python sleeps until a moment of a monotonic clock, which libfaketime mistakes; pynetdicom dies of that.
        time.sleep = _sleep
    if told := os.environ.pop(VARIABLE, ""):
        mark = os.environ.pop(MARK, "")
        arm(Striker(Fault.parse(told), Path(mark) if mark else None))
    main()
