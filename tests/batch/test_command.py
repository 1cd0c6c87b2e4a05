"""What is told while a batch runs."""

import io

import pytest
from rich.console import Console

from fusionnode.batch.command import BarTeller, LineTeller, describe_rate, open_bars
from fusionnode.batch.request import Progress


@pytest.mark.parametrize(
    ("done", "left", "seconds", "expected"),
    [
        (0, 5, 10.0, ""),
        (3, 0, 60.0, "3.0 a minute"),
        (3, 9, 60.0, "3.0 a minute, about 3 min left"),
        (60, 1, 60.0, "60.0 a minute, less than 1 min left"),
        (1, 3, 120.0, "30.0 an hour, about 6 min left"),
        (10, 3000, 600.0, "1.0 a minute, about 50 h left"),
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
    for now[0] in (99.0, 150.0):
        tell(Progress(99, 99, 99, 99))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "fetched 99 of 99, 60.0 a minute; fused 99 of 99, 60.6 a minute"


def test_what_an_earlier_run_did_is_no_rate_of_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    tell = LineTeller(lambda: now[0])
    tell(Progress(5, 10, 5, 10))
    now[0] = 60.0
    tell(Progress(7, 10, 6, 7))
    last = capsys.readouterr().err.splitlines()[-1]
    # Seven studies gave seven pairs, so ten will give ten.
    assert last == "fetched 7 of 10, 2.0 a minute, about 2 min left; fused 6 of 7, 1.0 a minute, about 4 min left"


def test_bars_show_both_counts_with_their_pace_however_slowly_pairs_come() -> None:
    now = [0.0]
    out = io.StringIO()
    with open_bars(Console(file=out, force_terminal=True, width=120)) as bars:
        tell = BarTeller(bars, lambda: now[0])
        tell(Progress(2, 4, 0, 2))
        for minute in (1, 2):
            now[0] = 60.0 * minute
            tell(Progress(4, 4, minute, 4))
        assert [(task.completed, task.total) for task in bars.tasks] == [(4, 4), (2, 4)]
    shown = out.getvalue()
    assert "1.0 a minute, about 2 min left" in shown
    assert "2/4" in shown


@pytest.mark.parametrize(("state", "expected"), [((0, 0, 0, 0), 0), ((2, 10, 0, 3), 15), ((5, 5, 1, 4), 4)])
def test_as_many_pairs_are_expected_of_the_rest_as_came_of_the_first(state: tuple[int, ...], expected: int) -> None:
    assert Progress(*state).expected_pairs == expected
