"""What happens a thousand times a minute: told once, counted, and no one forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.traces.repeats import Repeats


def test_the_first_is_told_at_once_and_the_others_with_their_number() -> None:
    repeats: Repeats[str] = Repeats(60, 9, str.upper)
    assert repeats.note("a", 0) == (True, [])
    assert repeats.note("a", 1) == (False, [])
    assert repeats.note("b", 2) == (True, [])
    assert repeats.note("a", 59) == (False, [])
    assert repeats.note("a", 61) == (True, [("a", 2)])


def test_what_is_new_beyond_the_limit_is_counted_together_until_there_is_room_again() -> None:
    repeats: Repeats[str] = Repeats(60, 2, lambda _: "others")
    assert [repeats.note(key, 0)[0] for key in "abcdea"] == [True, True, False, False, False, False]
    assert repeats.note("f", 61) == (True, [("a", 1), ("others", 3)])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 40)), max_size=60), st.integers(1, 4))
def test_every_one_is_told_or_counted_exactly_once_and_never_too_many(
    happened: list[tuple[str, float]], most: int
) -> None:
    repeats: Repeats[str] = Repeats(60, most, lambda _: "others")
    now, counted, told = 0.0, 0, []
    for key, pause in happened:
        now += pause
        new, due = repeats.note(key, now)
        told += [now] * new
        counted += sum(count for _, count in due)
        assert sum(now - one < 60 for one in told) <= most
    assert len(told) + counted + sum(count for _, count in repeats.drain()) == len(happened)
