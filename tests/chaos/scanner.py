"""A scanner that sends until everything was acknowledged, however often the node dies under it."""

import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.files import write_series
from tests.support.observing import Sent, send_files
from tests.support.repackaged import Patient
from tests.support.running import Overdue


@dataclass
class Scanner:
    """Sends patients in turn, in a thread of its own. Use as a context; it ends when all it was given is acknowledged.

    Attributes:
        port: of the node.
        folder: for the files that are sent.
        acknowledged: the files that were answered with Success, each once.
    """

    port: int
    folder: Path
    acknowledged: list[Sent] = field(default_factory=list)
    _given: "queue.Queue[list[Path] | None]" = field(default_factory=queue.Queue)
    _idle: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Scanner":
        self._idle.set()
        self._thread = threading.Thread(target=self._send_all, name="scanner", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._given.put(None)
        self._thread.join()

    def give(self, patient: Patient) -> None:
        """Have the patient's series sent when those before it are acknowledged."""
        place = self.folder / patient.patient_id
        place.mkdir(parents=True)
        self._idle.clear()
        self._given.put(write_series(place, [*patient.fixed, *patient.moving]))

    def await_idle(self, seconds: float = 120) -> None:
        """Wait until everything given is acknowledged.

        Raises:
            Overdue: it is not in time.
        """
        if not self._idle.wait(seconds):
            raise Overdue(f"{self._given.qsize() + 1} patients are not acknowledged yet")

    def _send_all(self) -> None:
        while (paths := self._given.get()) is not None:
            waiting = list(paths)
            while waiting and not self._over.is_set():
                answered = [one for one in send_files(self.port, waiting) if one.acknowledged]
                self.acknowledged += answered
                done = {one.path for one in answered}
                waiting = [path for path in waiting if path not in done]
                if waiting:
                    time.sleep(0.2)
            if self._given.empty():
                self._idle.set()
