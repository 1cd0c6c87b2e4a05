"""What is counted in this process, for Prometheus (edge). No label holds a patient, a UID or any text a peer chose."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from fusionnode import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STORE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_STEP_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class Meters:
    """The counters of one process, and what is asked for only when somebody scrapes."""

    def __init__(self) -> None:
        # A registry of its own, so that several nodes in one process do not count together.
        self.registry = CollectorRegistry()
        self._before: list[Callable[[], None]] = []
        self.store_seconds = Histogram(
            "fusionnode_cstore_seconds",
            "From the first byte of a C-STORE data set to the answer.",
            ["outcome"],
            buckets=_STORE_SECONDS,
            registry=self.registry,
        )
        self.instances = self._count("fusionnode_instances_received", "C-STORE requests answered.", "status")
        self.associations = self._count("fusionnode_associations", "Associations asked of the listener.", "outcome")
        self.associations_open = Gauge(
            "fusionnode_associations_open", "Associations open at this moment.", registry=self.registry
        )
        self.step_seconds = Histogram(
            "fusionnode_step_seconds",
            "From a step being claimed to its end.",
            ["step", "outcome"],
            buckets=_STEP_SECONDS,
            registry=self.registry,
        )
        self.jobs_ended = self._count("fusionnode_jobs_ended", "Jobs that came to an end.", "verdict")
        self.last_sweep = Gauge(
            "fusionnode_last_sweep_timestamp_seconds",
            "Unix time of the last round of the sweep that came to its end.",
            registry=self.registry,
        )
        build = Gauge("fusionnode_build_info", "Always 1.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)

    def watch(self, name: str, words: str, ask: Callable[[], float]) -> None:
        """Have ``ask`` called at each scrape for the value of a gauge."""
        Gauge(name, words, registry=self.registry).set_function(ask)

    def watch_each(self, name: str, words: str, label: str, ask: Callable[[], Mapping[str, float]]) -> None:
        """Have ``ask`` called at each scrape for the values of a gauge, by what its label says."""
        self.add(_Each(name, words, label, ask))

    def do_before(self, action: Callable[[], None]) -> None:
        """Have ``action`` done at the beginning of each scrape; it counts what is then told."""
        self._before.append(action)

    def add(self, collector: Collector) -> None:
        """Have ``collector`` asked at each scrape."""
        self.registry.register(collector)

    def expose(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        for action in self._before:
            action()
        return generate_latest(self.registry)

    def _count(self, name: str, words: str, label: str) -> Counter:
        return Counter(name, words, [label], registry=self.registry)


class _Each(Collector):
    """A gauge whose labels are not known before somebody asks."""

    def __init__(self, name: str, words: str, label: str, ask: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._words, self._label, self._ask = name, words, label, ask

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge."""
        family = GaugeMetricFamily(self._name, self._words, labels=[self._label])
        for text, value in self._ask().items():
            family.add_metric([text], value)
        yield family
