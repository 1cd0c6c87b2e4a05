"""What is remembered of the clock outlives the process, and what is spoilt is as good as forgotten."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusionnode.errors import SpoolFull, SpoolUnreadable
from fusionnode.flow import housekeeping
from fusionnode.workbench.clock import ClockFile

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(1, 24_000).map(lambda days: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days))


def test_it_is_what_the_plot_calls_its_memory(tmp_path: Path) -> None:
    memory: housekeeping.ClockMemory = ClockFile(tmp_path)
    assert memory.recall() is None


@settings(max_examples=20)
@given(since=MOMENTS, seen=MOMENTS, later=MOMENTS)
def test_what_was_kept_is_recalled_by_the_next_process(
    since: datetime, seen: datetime, later: datetime, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("spool")
    for moment in (seen, later):
        ClockFile(root).keep(since, moment)
        recalled = ClockFile(root).recall()
        assert recalled is not None
        assert recalled[0] == since
        assert abs(recalled[1] - moment) < timedelta(milliseconds=1)
    assert [path.name for path in root.iterdir()] == ["clock.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"since": 5}', '{"since": "2030"}', '{"since": "2030-01-01"}', "\0"])
def test_what_is_spoilt_is_as_good_as_forgotten_and_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock.json").write_text(text)
    memory = ClockFile(tmp_path)
    assert memory.recall() is None
    memory.keep(NOW, NOW)
    assert memory.recall() == (NOW, NOW)


def test_on_a_full_disk_the_last_look_is_kept_all_the_same_and_trouble_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ClockFile(tmp_path)
    memory.keep(NOW, NOW)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    memory.keep(NOW, NOW + timedelta(days=1))
    assert memory.recall() == (NOW, NOW + timedelta(days=1))
    with pytest.raises(SpoolFull, match="clock"):
        memory.keep(NOW + timedelta(days=2), NOW + timedelta(days=2))
    assert memory.recall() == (NOW, NOW + timedelta(days=1))
    assert [path.name for path in tmp_path.iterdir()] == ["clock.json"]
    with pytest.raises(SpoolUnreadable):
        ClockFile(tmp_path / "nowhere").keep(NOW, NOW)
