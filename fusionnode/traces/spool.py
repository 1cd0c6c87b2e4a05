"""How full the spool is, for Prometheus: its folders are walked now and then, not at each scrape (edge)."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_FOLDERS = ("incoming", "arrivals", "instances", "quarantine", "prepared", "outbox")
_PAUSE_SECONDS = 300.0


class SpoolCollector(Collector):
    """Free space and arrivals at each scrape; bytes by folder as they were some minutes ago at most."""

    def __init__(self, root: Path, pause_seconds: float = _PAUSE_SECONDS) -> None:
        self._root, self._pause_seconds = root, pause_seconds
        self._sizes: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._walk_again, name="spool-meter", daemon=True)

    def start(self) -> None:
        """Begin to walk."""
        self._thread.start()

    def stop(self) -> None:
        """Stop walking; safe to repeat."""
        self._stop.set()

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it does not touch the disk."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; those of a spool that is away are left out."""
        try:
            disk = os.statvfs(self._root)
            waiting = _list_times(self._root / "arrivals")
        except OSError:
            return
        yield GaugeMetricFamily(
            "fusionnode_spool_free_bytes", "Free on the spool's file system.", value=disk.f_bavail * disk.f_frsize
        )
        yield GaugeMetricFamily(
            "fusionnode_spool_size_bytes", "Size of the spool's file system.", value=disk.f_blocks * disk.f_frsize
        )
        yield GaugeMetricFamily("fusionnode_arrivals", "Instances not in the ledger yet.", value=len(waiting))
        age = max(0.0, time.time() - min(waiting)) if waiting else 0.0
        yield GaugeMetricFamily("fusionnode_arrivals_age_seconds", "How long the oldest of them waits.", value=age)
        used = GaugeMetricFamily("fusionnode_spool_bytes", "Bytes by folder of the spool.", labels=["folder"])
        for folder, size in self._sizes.items():
            used.add_metric([folder], size)
        yield used

    def _walk_again(self) -> None:
        while not self._stop.is_set():
            for folder in _FOLDERS:
                self._sizes = {**self._sizes, folder: _measure(str(self._root / folder), self._stop)}
            self._stop.wait(self._pause_seconds)


def _list_times(folder: Path) -> list[float]:
    times = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                times.append(entry.stat().st_mtime)
            except FileNotFoundError:
                continue
    return times


def _measure(folder: str, stop: threading.Event) -> int:
    """Return the bytes of all files below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        if stop.is_set():
            break
        for name in names:
            try:
                total += os.lstat(Path(place) / name).st_size
            except OSError:
                continue
    return total
