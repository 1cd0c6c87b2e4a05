"""The closed lists of words: stored in databases and files, so none may change in silence."""

from enum import StrEnum

import pytest

from fusionnode.domain.terms import UNSETTLED, Role, SeriesState, Step, Unit


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (Role, "fixed moving"),
        (Unit, "arbitrary BQML SUVbw CNTS PROPCPS"),
        (SeriesState, "receiving candidate complete reopened quarantined ignored discarded"),
        (Step, "prepare fuse send commit"),
    ],
)
def test_the_stored_words_are_these(words: type[StrEnum], values: str) -> None:
    assert [word.value for word in words] == values.split()
    assert all(words(str(word)) is word for word in words)


def test_what_is_closed_is_not_unsettled() -> None:
    closed = {SeriesState.COMPLETE, SeriesState.QUARANTINED, SeriesState.IGNORED, SeriesState.DISCARDED}
    assert set(SeriesState) - UNSETTLED == closed
