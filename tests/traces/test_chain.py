"""The chain: whatever is done to a record, it shows."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.traces.chain import BEGINNING, check_lines, read_seal, seal_record

KEY = b"k" * 32


def forge(count: int, key: bytes = KEY, **facts: Any) -> list[str]:
    lines, seal = [], BEGINNING
    for number in range(count):
        line, seal = seal_record({"n": number, "text": f'"{number}",', **facts}, seal, key)
        lines.append(line)
    return lines


@pytest.mark.parametrize("key", [b"", KEY])
def test_an_untouched_chain_is_whole(key: bytes) -> None:
    assert list(check_lines(forge(5, key), key)) == []


@given(st.data())
def test_any_changed_character_breaks_it_at_that_line(data: st.DataObject) -> None:
    lines = forge(4)
    at = data.draw(st.integers(0, 3))
    place = data.draw(st.integers(0, len(lines[at]) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda one: one != lines[at][place]))
    lines[at] = lines[at][:place] + other + lines[at][place + 1 :]
    assert [flaw.line for flaw in check_lines(lines, KEY)] == [at + 1]


@pytest.mark.parametrize("change", ["remove", "double", "swap", "insert"])
def test_lines_taken_out_doubled_swapped_or_put_in_show(change: str) -> None:
    lines = forge(5)
    if change == "remove":
        del lines[2]
    elif change == "double":
        lines.insert(2, lines[2])
    elif change == "swap":
        lines[2], lines[3] = lines[3], lines[2]
    else:
        lines.insert(2, forge(3, other="x")[2])
    assert list(check_lines(lines, KEY))


def test_a_chain_made_anew_without_the_key_is_no_chain() -> None:
    assert list(check_lines(forge(3, b"another"), KEY))
    assert list(check_lines(forge(3, b""), KEY))


def test_a_record_that_numbers_itself_wrongly_shows_though_its_seal_fits() -> None:
    line, _ = seal_record({"n": 7}, BEGINNING, KEY)
    assert [flaw.words for flaw in check_lines([line], KEY)] == ["is not numbered as it should be"]


def test_a_seal_within_the_text_is_none() -> None:
    line, seal = seal_record({"n": 0, "text": ',"seal":"' + "0" * 64 + '"}'}, BEGINNING, KEY)
    assert read_seal(line) == seal
    assert read_seal(line[:-1]) == ""
