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


@given(st.lists(st.floats(0.1, LONG / 4), min_size=2, max_size=60))
def test_who_does_not_is_silent_once_a_lease_has_passed_since_the_first_look(pauses: list[float]) -> None:
    silence, seen = Silence(LONG), 0.0
    for number, pause in enumerate(pauses):
        seen += pause if number else 0.0
        assert silence.find_lapsed([HELD], seen) == ([HELD] if seen > LONG else [])


@given(st.floats(LONG, 1e6))
def test_time_in_which_nobody_looked_is_held_against_no_worker(away: float) -> None:
    silence = Silence(LONG)
    assert silence.find_lapsed([HELD], 0) == []
    assert silence.find_lapsed([HELD], away) == [], "the database was away: he could not renew"
    renewed = Lease("job", 1, UNTIL + timedelta(seconds=away))
    assert silence.find_lapsed([renewed], away + LONG / 3) == []


def test_rounds_that_last_longer_than_a_lease_free_the_steps_of_the_dead_all_the_same() -> None:
    silence = Silence(LONG)
    found = [silence.find_lapsed([HELD], 2 * LONG * number) for number in range(6)]
    assert found == [[], [], [], [], [], [HELD]]


def test_another_fence_or_a_gap_begins_anew() -> None:
    silence = Silence(LONG)
    looks = iter(range(0, 1000, 5))

    def look_for(lease: Lease, seconds: int) -> list[Lease]:
        return [one for _ in range(0, seconds, 5) for one in silence.find_lapsed([lease], next(looks))]

    assert look_for(HELD, 35) == []
    again = Lease("job", 2, UNTIL)
    assert look_for(again, 35) == []
    assert silence.find_lapsed([], next(looks)) == []
    assert look_for(again, 35) == []
    assert look_for(again, 5) == [again]
