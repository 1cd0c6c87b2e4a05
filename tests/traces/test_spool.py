"""How full the spool is, without walking it for everybody who asks."""

import os
import time
from pathlib import Path

from fusionnode.traces.meters import Meters
from fusionnode.traces.spool import SpoolCollector
from tests.support.running import await_value
from tests.traces.test_meters import read


def make_collector(root: Path) -> tuple[SpoolCollector, Meters]:
    for folder in ("arrivals", "instances/ab", "outbox"):
        (root / folder).mkdir(parents=True)
    collector, meters = SpoolCollector(root), Meters()
    meters.add(collector)
    return collector, meters


def test_arrivals_are_counted_with_the_age_of_the_oldest(tmp_path: Path) -> None:
    _, meters = make_collector(tmp_path)
    for name, age in (("a", 50), ("b", 5)):
        (tmp_path / "arrivals" / name).write_bytes(b"x")
        os.utime(tmp_path / "arrivals" / name, (time.time() - age,) * 2)
    told = read(meters)
    assert told["fusionnode_arrivals", ()] == 2
    assert 50 <= told["fusionnode_arrivals_age_seconds", ()] < 500
    assert 0 < told["fusionnode_spool_free_bytes", ()] < told["fusionnode_spool_size_bytes", ()]


def test_bytes_are_measured_folder_by_folder_in_a_thread(tmp_path: Path) -> None:
    collector, meters = make_collector(tmp_path)
    (tmp_path / "instances" / "ab" / "x.dcm").write_bytes(b"x" * 1234)
    collector.start()
    try:
        key = ("fusionnode_spool_bytes", (("folder", "instances"),))
        assert await_value(lambda: read(meters).get(key), seconds=20) == 1234
    finally:
        collector.stop()
        collector.stop()


def test_a_spool_that_is_away_is_left_out(tmp_path: Path) -> None:
    meters = Meters()
    meters.add(SpoolCollector(tmp_path / "nothing"))
    assert not [name for name, _ in read(meters) if "spool" in name]
