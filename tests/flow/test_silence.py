"""A lease counts as lapsed once it stayed the same for as long as one lasts, before the eyes of whoever judges."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.job import Lease
from fusionnode.flow.silence import Silence

LONG = 30.0
UNTIL = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HELD = Lease("job", 1, UNTIL)


@given(st.lists(st.floats(0.1, LONG / 2), min_size=1, max_size=30), st.timedeltas(timedelta(days=-400), timedelta(400)))
def test_who_renews_is_never_silent_whatever_his_clock_shows(pauses: list[float], wrong: timedelta) -> None:
    silence, monotonic = Silence(LONG), 0.0
    for number, pause in enumerate(pauses):
        monotonic += pause
        renewed = Lease("job", 1, UNTIL + wrong + timedelta(seconds=number))
        assert silence.find_lapsed([renewed], monotonic) == []


@given(st.lists(st.floats(0.1, 2 * LONG), min_size=2, max_size=30))
def test_who_does_not_is_silent_once_a_lease_has_passed_since_the_first_look(pauses: list[float]) -> None:
    silence, monotonic = Silence(LONG), 0.0
    for number, pause in enumerate(pauses):
        monotonic += pause if number else 0.0
        assert silence.find_lapsed([HELD], monotonic) == ([HELD] if monotonic > LONG else [])


def test_another_fence_or_a_gap_begins_anew() -> None:
    silence = Silence(LONG)
    assert silence.find_lapsed([HELD], 0) == []
    again = Lease("job", 2, UNTIL)
    assert silence.find_lapsed([again], LONG + 1) == []
    assert silence.find_lapsed([], LONG + 2) == []
    assert silence.find_lapsed([again], 3 * LONG) == []
    assert silence.find_lapsed([again], 4 * LONG + 1) == [again]
