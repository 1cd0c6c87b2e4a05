"""The counters: what Prometheus parses, and nothing that could name a person or grow without bound."""

from prometheus_client.parser import text_string_to_metric_families

from fusionnode.traces.meters import Meters


def read(meters: Meters) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(meters.expose().decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_two_processes_in_one_do_not_count_together() -> None:
    first, second = Meters(), Meters()
    first.instances.labels("0000").inc()
    assert read(first)["fusionnode_instances_received_total", (("status", "0000"),)] == 1
    assert ("fusionnode_instances_received_total", (("status", "0000"),)) not in read(second)


def test_a_gauge_is_asked_when_somebody_scrapes() -> None:
    meters, values = Meters(), iter([3.0, 5.0])
    meters.watch("fusionnode_test", "Words.", lambda: next(values))
    assert [read(meters)["fusionnode_test", ()] for _ in range(2)] == [3.0, 5.0]


def test_a_gauge_of_many_is_asked_when_somebody_scrapes() -> None:
    meters, values = Meters(), {"a": 1.0}
    meters.watch_each("fusionnode_test", "Words.", "file", lambda: values)
    assert read(meters)["fusionnode_test", (("file", "a"),)] == 1
    values.update(a=2.0, b=3.0)
    assert [read(meters)["fusionnode_test", (("file", name),)] for name in "ab"] == [2, 3]


def test_every_metric_has_our_prefix_and_its_words() -> None:
    for family in text_string_to_metric_families(Meters().expose().decode()):
        assert family.name.startswith("fusionnode_")
        assert family.documentation
