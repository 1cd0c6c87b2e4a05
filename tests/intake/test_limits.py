"""Limits can be kept, and a message that only pretends to come is told from one that comes slowly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.dimse.sockets import PDU_LIMIT_BYTES
from fusionnode.errors import SettingsInvalid
from fusionnode.intake.limits import ListenerLimits, Pace
from fusionnode.intake.spool import STALE_SECONDS

LIMITS = ListenerLimits(network_seconds=10, least_bytes_per_second=100)


def test_the_limits_in_force_can_be_kept() -> None:
    ListenerLimits().check()


@pytest.mark.parametrize("pdu", [0, 1024, PDU_LIMIT_BYTES + 1])
def test_an_unlimited_or_absurd_pdu_is_a_misconfiguration(pdu: int) -> None:
    with pytest.raises(SettingsInvalid, match="out of range"):
        ListenerLimits(max_pdu_bytes=pdu).check()


@pytest.mark.parametrize("whose", ["", "_per_address"])
@pytest.mark.parametrize("name", ["max_associations", "max_half_open"])
def test_a_listener_that_accepts_nobody_is_a_misconfiguration(name: str, whose: str) -> None:
    with pytest.raises(SettingsInvalid, match="out of range"):
        ListenerLimits(**{name + whose: 0}).check()


def test_an_open_association_is_aborted_before_its_evidence_is_stale() -> None:
    assert ListenerLimits().network_seconds < STALE_SECONDS


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _feed(pace: Pace, clock: _Clock, seconds: float, count: int, times: int) -> int:
    """Return after how many pieces of ``count`` bytes, one each ``seconds``, the pace is not kept; 0: never."""
    for number in range(1, times + 1):
        clock.now += seconds
        if not pace.keeps(count):
            return number
    return 0


@given(st.floats(0.01, 30), st.floats(1, 5))
def test_who_is_fast_enough_all_the_time_is_never_thrown_out(seconds: float, surplus: float) -> None:
    clock = _Clock()
    enough = int(seconds * LIMITS.least_bytes_per_second * surplus) + 1
    assert _feed(Pace(LIMITS, clock), clock, seconds, enough, 200) == 0


@given(st.floats(0.01, 5))
def test_who_trickles_is_thrown_out_within_two_windows(seconds: float) -> None:
    clock = _Clock()
    thrown = _feed(Pace(LIMITS, clock), clock, seconds, int(seconds * 50), 10_000)
    assert 0 < thrown * seconds <= 2 * LIMITS.network_seconds


def test_what_came_quickly_at_first_buys_no_time_later() -> None:
    clock = _Clock()
    pace = Pace(LIMITS, clock)
    clock.now = 10
    assert pace.keeps(10**9)
    assert _feed(pace, clock, 1, 1, 100) == 10


def test_a_new_message_begins_anew() -> None:
    clock = _Clock()
    pace = Pace(LIMITS, clock)
    clock.now = 1000
    pace.begin()
    clock.now = 1001
    assert pace.keeps(1)
