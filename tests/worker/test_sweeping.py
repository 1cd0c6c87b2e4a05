"""The sweep as a loop outlives trouble."""

import threading
from typing import Any, cast

import pytest

from fusionnode.errors import Unavailable
from fusionnode.flow.sweep import Sweeper
from fusionnode.worker.sweeping import repeat_sweep


@pytest.mark.parametrize("trouble", [Unavailable("the database is away"), ZeroDivisionError()])
def test_repeat_sweep_tries_again_after_trouble(trouble: Exception) -> None:
    stop = threading.Event()
    rounds: list[str] = []

    class Troubled:
        def sweep(self, *_: Any) -> None:
            rounds.append("sweep")
            if len(rounds) == 1:
                raise trouble

    def tell() -> None:
        rounds.append("tell")
        stop.set()

    repeat_sweep(cast("Sweeper", Troubled()), 0.01, stop, tell)
    assert rounds == ["sweep", "sweep", "tell"]
