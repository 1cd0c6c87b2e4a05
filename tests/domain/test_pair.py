"""Pairs and rejections are values: equal when they say the same, usable in sets, and unchangeable."""

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest

from fusionnode.domain.pair import Pair, Rejection
from fusionnode.domain.series import SeriesKey

FIXED, MOVING = SeriesKey("1.2", 1), SeriesKey("1.3", 1)


def test_pairs_that_say_the_same_are_the_same() -> None:
    first, again = (Pair("mr-pt", FIXED, MOVING, 1.0, shared_frame=True) for _ in range(2))
    assert {first, again} == {first}
    assert first != Pair("mr-pt", FIXED, SeriesKey("1.3", 2), 1.0, shared_frame=True)


def test_rejections_that_say_the_same_are_the_same() -> None:
    first, again = (Rejection("mr-pt", (FIXED,), "no partner yet") for _ in range(2))
    assert {first, again} == {first}
    assert first != Rejection("mr-pt", (FIXED,), "closed")


def test_when_a_rejection_was_said_makes_it_no_other() -> None:
    first = Rejection("mr-pt", (FIXED,), "no partner yet")
    assert first == Rejection("mr-pt", (FIXED,), "no partner yet", datetime(2026, 1, 1, tzinfo=UTC))


def test_a_pair_cannot_be_changed() -> None:
    pair = Pair("mr-pt", FIXED, MOVING, 1.0, shared_frame=True)
    with pytest.raises(FrozenInstanceError):
        pair.fixed = MOVING  # type: ignore[misc]
