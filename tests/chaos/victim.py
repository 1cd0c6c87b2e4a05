"""The command line with a fault in it: dies, or freezes, at a named point. CHAOS_FAULT is ``POINT:COUNT:SIGNAL``."""

import os
import threading
from dataclasses import dataclass, field
from signal import SIGKILL, Signals
from typing import Self

from fusionnode.cli import main
from fusionnode.faults import FaultPoint, arm

VARIABLE = "CHAOS_FAULT"


@dataclass(frozen=True)
class Fault:
    """What happens to a process the ``count``-th time it reaches ``point``."""

    point: FaultPoint
    count: int = 1
    signal: Signals = SIGKILL

    def __str__(self) -> str:
        """As the environment carries it."""
        return f"{self.point.name}:{self.count}:{self.signal.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The opposite of ``str``."""
        point, count, number = text.split(":")
        return cls(FaultPoint[point], int(count), Signals[number])


@dataclass
class Striker:
    """Counts how often this process reaches the fault's point, in whichever thread, and strikes in time."""

    fault: Fault
    _reached: int = 0
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, point: FaultPoint) -> None:
        if point is not self.fault.point:
            return
        with self._turn:
            self._reached += 1
            if self._reached == self.fault.count:
                os.kill(os.getpid(), self.fault.signal)
                # The signal of one's own thread is delivered before the call returns; that of another need not be.
                threading.Event().wait(0.05)


if __name__ == "__main__":
    if told := os.environ.pop(VARIABLE, ""):
        arm(Striker(Fault.parse(told)))
    main()
