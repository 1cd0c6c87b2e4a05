"""The learning rate rises, then falls, and never leaves its limits."""

import pytest

from fusionnode.training.schedules import cosine_rate


def test_the_rate_rises_over_the_warmup_and_falls_ever_after() -> None:
    rates = [cosine_rate(step, 2000, 1e-3) for step in range(2000)]

    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[99] == pytest.approx(1e-3)
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
    assert all(0 < rate <= 1e-3 for rate in rates)


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_very_short_run_has_rates_too(steps: int) -> None:
    assert all(0 < cosine_rate(step, steps, 1e-3) <= 1e-3 for step in range(steps))


def test_past_the_end_the_floor_stays() -> None:
    assert cosine_rate(5000, 1000, 1e-3) == pytest.approx(1e-5)
