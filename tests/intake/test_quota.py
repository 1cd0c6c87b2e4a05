"""A node takes on no more than it is told to, and goes on by itself."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.errors import SpoolFull, SpoolUnreadable
from fusionnode.intake.quota import Gauge, Load, Quota, measure_bytes, write_load
from fusionnode.intake.spool import Spool

COUNTS = st.integers(0, 50)


@given(load=st.builds(Load, COUNTS, COUNTS), quota=st.builds(Quota, COUNTS, COUNTS))
def test_it_refuses_exactly_where_a_bound_is_reached(
    load: Load, quota: Quota, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("spool")
    write_load(root, load)
    pairs = [(getattr(load, name), getattr(quota, name)) for name in vars(quota)]
    reached = any(bound and found >= bound for found, bound in pairs)
    try:
        Gauge(root, quota).check()
    except SpoolFull:
        assert reached
    else:
        assert not reached


def test_what_was_accepted_counts_until_the_spool_is_measured_again(tmp_path: Path) -> None:
    gauge = Gauge(tmp_path, Quota(spool_bytes=100))
    gauge.note_accepted(60)
    gauge.check()
    write_load(tmp_path, Load(50, 0, "first"))
    gauge.check()
    gauge.note_accepted(50)
    with pytest.raises(SpoolFull, match="quota is 100"):
        gauge.check()
    write_load(tmp_path, Load(50, 1, "first"))
    os.utime(tmp_path / "load.json", (1, 1))
    with pytest.raises(SpoolFull):
        gauge.check()
    write_load(tmp_path, Load(99, 1, "second"))
    gauge.check()


@pytest.mark.parametrize("text", ["", "[1]", '{"what": 1}'])
def test_a_load_that_cannot_be_read_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "load.json").write_text(text)
    Gauge(tmp_path, Quota(spool_bytes=1)).check()


def test_a_load_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "load.json").mkdir()
    with pytest.raises(SpoolUnreadable, match="cannot be noted"):
        write_load(tmp_path, Load(1))
    assert [path.name for path in tmp_path.iterdir()] == ["load.json"]


def test_the_bytes_of_all_files_are_measured(tmp_path: Path) -> None:
    for name, size in (("a/b/one", 10), ("two", 5)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    found = measure_bytes(tmp_path)
    assert found - (tmp_path / "link").lstat().st_size == 15


def test_a_spool_above_its_quota_accepts_nothing_and_then_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=0, quota=Quota(waiting_jobs=3))
    spool.prepare()
    write_load(tmp_path, Load(waiting_jobs=3))
    with pytest.raises(SpoolFull, match="3 jobs waiting"):
        spool.check_space()
    write_load(tmp_path, Load(waiting_jobs=2))
    spool.check_space()
