"""What is told while a batch runs."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress as Bars

from fusionnode.batch.command import BarTeller, LineTeller, describe_rate
from fusionnode.batch.request import Progress


@pytest.mark.parametrize(
    ("done", "left", "seconds", "expected"),
    [
        (0, 5, 10.0, ""),
        (3, 0, 60.0, ", 3.0 a minute"),
        (3, 9, 60.0, ", 3.0 a minute, about 3 min left"),
        (60, 1, 60.0, ", 60.0 a minute, about 1 min left"),
        (1, 1, 0.0, ""),
    ],
)
def test_rate_and_time_left(done: int, left: int, seconds: float, expected: str) -> None:
    assert describe_rate(done, left, seconds) == expected


def test_lines_are_few_and_the_last_state_is_always_told(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    tell = LineTeller(lambda: now[0])
    for second in range(100):
        now[0] = float(second)
        tell(Progress(fetched=second, found=99, ended=0, pairs=second))
        tell(Progress(fetched=second, found=99, ended=0, pairs=second))
    tell(Progress(99, 99, 99, 99))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("fetched 99 of 99, fused 99 of 99, 60.0 a minute")


def test_what_an_earlier_run_did_is_no_rate_of_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    tell = LineTeller(lambda: now[0])
    tell(Progress(5, 10, 5, 10))
    now[0] = 60.0
    tell(Progress(10, 10, 6, 10))
    assert "1.0 a minute, about 4 min left" in capsys.readouterr().err


def test_bars_show_both_counts() -> None:
    out = io.StringIO()
    with Bars(console=Console(file=out, force_terminal=True, width=120)) as bars:
        BarTeller(bars)(Progress(3, 4, 1, 2))
        assert [(task.completed, task.total) for task in bars.tasks] == [(3, 4), (1, 2)]
