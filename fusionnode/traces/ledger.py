"""What the ledger tells Prometheus, asked when somebody scrapes, whichever process did the work (edge)."""

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fusionnode.domain.job import WORKING, JobEvent, JobState
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import LedgerUnavailable
from fusionnode.flow.overview import Happening, Overview
from fusionnode.traces.meters import Meters

logger = logging.getLogger(__name__)

_STEPS = {state.value: step.value for step, state in WORKING.items()}
_ENDS = {one.value for one in (JobState.STORED, JobState.COMMITTED, JobState.REFUSED, JobState.FAILED)} | {
    JobState.SUPERSEDED.value
}
_LATECOMERS = 200
_MOST_AT_ONCE = 5_000
_REMEMBERED = 10_000
_WORDS_OF_OURS = frozenset({"no-presentation-context", "not-encodable", "not-accounted-for"})


class LedgerCollector(Collector):
    """Gauges of the ledger, and the steps that ended since this process began."""

    def __init__(self, overview: Overview, meters: Meters, clock: Callable[[], datetime]) -> None:
        self._overview, self._clock = overview, clock
        self._follower = Follower(overview, meters)
        # From now on, not from the first scrape on; without a database the first scrape does it.
        self._catch_up()
        meters.do_before(self._catch_up)

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it does not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; without a database only the one that says so."""
        up = GaugeMetricFamily("fusionnode_ledger_up", "1 while the database answers.")
        try:
            families = list(self._read())
        except LedgerUnavailable as unavailable:
            logger.warning("metrics without the ledger: %s", unavailable)
            families = []
        up.add_metric([], 1.0 if families else 0.0)
        yield up
        yield from families

    def _catch_up(self) -> None:
        with suppress(LedgerUnavailable):
            self._follower.catch_up()

    def _read(self) -> Iterator[Metric]:
        now = self._clock()
        yield _by("fusionnode_jobs", "Jobs by state.", "state", self._overview.count_jobs(), JobState)
        yield _by("fusionnode_series", "Series by state.", "state", self._overview.count_series(), SeriesState)
        waiting = GaugeMetricFamily("fusionnode_queue_jobs", "Jobs that wait for a step.", labels=["step"])
        age = GaugeMetricFamily("fusionnode_queue_age_seconds", "How long the oldest of them waits.", labels=["step"])
        for one in self._overview.list_backlogs(now):
            waiting.add_metric([one.step.value], one.jobs)
            age.add_metric([one.step.value], _measure(one.since, now))
        yield from (waiting, age, *self._read_debts(now), *self._read_tries())

    def _read_debts(self, now: datetime) -> Iterator[Metric]:
        label = ["destination"]
        owed = GaugeMetricFamily("fusionnode_undelivered_instances", "Instances not stored there.", labels=label)
        age = GaugeMetricFamily(
            "fusionnode_oldest_undelivered_seconds", "Age of the oldest job that owes it something.", labels=label
        )
        dead = GaugeMetricFamily("fusionnode_given_up_jobs", "Jobs that were given up for it.", labels=label)
        for one in self._overview.list_debts():
            owed.add_metric([one.destination], one.instances)
            age.add_metric([one.destination], _measure(one.since, now))
            dead.add_metric([one.destination], one.given_up)
        yield from (owed, age, dead)

    def _read_tries(self) -> Iterator[Metric]:
        label = ["destination", "status"]
        attempts = GaugeMetricFamily(
            "fusionnode_delivery_attempts", "Attempts at instances, by how the last one ended.", labels=label
        )
        sums: dict[tuple[str, str], int] = {}
        for one in self._overview.list_tries():
            key = (one.destination, classify_status(one.status))
            sums[key] = sums.get(key, 0) + one.attempts
        for key, count in sorted(sums.items()):
            attempts.add_metric(list(key), count)
        yield attempts


class Follower:
    """Reads the ledger's log from where it stood when this process began, and measures what ended since.

    Lines become visible in the order of their transactions' ends, not of their numbers, so the last few are read again.
    """

    def __init__(self, overview: Overview, meters: Meters) -> None:
        self._overview, self._meters = overview, meters
        self._turn = threading.Lock()
        self._from: int | None = None
        self._last = 0
        self._seen: set[int] = set()
        self._claimed: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    def catch_up(self) -> None:
        """Measure what was not measured yet.

        Raises:
            LedgerUnavailable: the next call goes on.
        """
        with self._turn:
            if self._from is None:
                self._from = self._last = self._overview.find_last_happening()
            after = max(self._from, self._last - _LATECOMERS)
            for one in self._overview.list_happenings(after, _MOST_AT_ONCE):
                if one.number not in self._seen:
                    self._seen.add(one.number)
                    self._measure(one)
                self._last = max(self._last, one.number)
            self._seen = {number for number in self._seen if number > self._last - _LATECOMERS}

    def _measure(self, one: Happening) -> None:
        states = re.match(r"(\w+)(?: to (\w+))?,", one.detail)
        if states is None:
            return
        state, after = states.groups()
        step = _STEPS.get(state)
        if one.what == JobEvent.CLAIMED and step:
            self._claimed[one.subject, step] = one.at
            while len(self._claimed) > _REMEMBERED:
                self._claimed.popitem(last=False)
        elif step:
            begun = self._claimed.pop((one.subject, step), None)
            if begun is not None:
                seconds = max(0.0, (one.at - begun).total_seconds())
                self._meters.step_seconds.labels(step, _name_outcome(one.what)).observe(seconds)
        if after in _ENDS and after != state:
            self._meters.jobs_ended.labels(after).inc()


def classify_status(status: str) -> str:
    """Return one of few words for what a destination answered (PS3.7 annex C): a peer may answer anything."""
    if not status:
        return "not-tried"
    if status == "0000":
        return "success"
    if not re.fullmatch(r"[0-9A-F]{4}", status):
        word = status.partition(" ")[0]
        return "lost" if status.startswith("lost-") else word if word in _WORDS_OF_OURS else "other"
    classes = {"B": "warning", "A7": "out-of-resources", "A8": "mismatch", "A9": "mismatch", "C": "not-understood"}
    return classes.get(status[0]) or classes.get(status[:2]) or "failure"


def _name_outcome(event: str) -> str:
    return event if event in set(JobEvent) else "other"


def _measure(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _by(name: str, words: str, label: str, counts: dict[str, int], known: type[JobState] | type[SeriesState]) -> Metric:
    """A gauge that also says zero, so that an alert can compare it."""
    family = GaugeMetricFamily(name, words, labels=[label])
    for state in known:
        family.add_metric([state.value], counts.get(state.value, 0))
    return family
