"""What happens a thousand times a minute: told once, counted, and no one forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.traces.repeats import Repeats


def test_the_first_is_told_at_once_and_the_others_with_their_number() -> None:
    repeats: Repeats[str] = Repeats(60)
    assert repeats.note("a", 0) == (True, [])
    assert repeats.note("a", 1) == (False, [])
    assert repeats.note("b", 2) == (True, [])
    assert repeats.note("a", 59) == (False, [])
    assert repeats.note("a", 61) == (True, [("a", 2)])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 40)), max_size=60), st.integers(1, 4))
def test_every_one_is_told_or_counted_exactly_once(happened: list[tuple[str, float]], most: int) -> None:
    repeats: Repeats[str] = Repeats(60, most)
    now, told = 0.0, 0
    for key, pause in happened:
        now += pause
        new, due = repeats.note(key, now)
        told += new + sum(count for _, count in due)
    assert told + sum(count for _, count in repeats.drain()) == len(happened)
