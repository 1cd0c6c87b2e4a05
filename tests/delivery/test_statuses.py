"""Every answer means one of four things, by the tables of the Standard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.delivery.statuses import (
    FILE_MISSING,
    FILE_MISTAKEN,
    FILE_UNREADABLE,
    NO_PRESENTATION_CONTEXT,
    NOT_ACCOUNTED_FOR,
    NOT_ENCODABLE,
    judge_status,
)
from fusionnode.flow.ports import Delivery

DELIVERY = Delivery("job", "pacs", "1.2.4", "1.2.5", "5.dcm")


@given(status=st.integers(0, 0xFFFF))
def test_stored_are_success_and_warnings_and_nothing_that_is_final(status: int) -> None:
    outcome = judge_status(DELIVERY, f"{status:04X}")
    assert outcome.stored == (status == 0 or 0xB000 <= status <= 0xBFFF)
    of_the_data_set = 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF
    assert outcome.final == (of_the_data_set or status == 0x0122)


@pytest.mark.parametrize(
    ("word", "final"),
    [
        (NO_PRESENTATION_CONTEXT, True),
        (NOT_ENCODABLE, True),
        (NOT_ACCOUNTED_FOR, False),
        (FILE_MISSING, False),
        (FILE_MISTAKEN, False),
        (FILE_UNREADABLE, False),
        ("no answer", False),
    ],
)
def test_of_our_own_words_those_are_final_that_speak_of_the_object_and_the_peer(word: str, final: bool) -> None:
    outcome = judge_status(DELIVERY, word)
    assert (outcome.stored, outcome.final) == (False, final)
