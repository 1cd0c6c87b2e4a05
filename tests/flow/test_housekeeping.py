"""The round of the housekeeping, and when its clock is believed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.retention import JobStanding, Judgement, RetentionLimits, SeriesStanding
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import SpoolUnreadable, Unavailable
from fusionnode.flow.housekeeping import ClockWatch, Housekeeper, end_deletions
from fusionnode.flow.observing import UNOBSERVED, Unobserved

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = RetentionLimits(DAY, DAY, DAY)


@dataclass
class Shelf:
    """Holdings of one old series that somebody else begins to need at the last moment, and trash that remembers.

    It is the memory of the clock as well.
    """

    needed: bool = False
    received: datetime | None = None
    known: tuple[datetime, datetime] | None = (datetime(2020, 1, 1, tzinfo=UTC), NOW)
    given_up: list[str] = field(default_factory=list)
    thrown: list[str] = field(default_factory=list)
    stuck: tuple[str, ...] = ()

    def list_old_series(self, before: datetime) -> list[SeriesStanding]:
        return [SeriesStanding("1.2", 1, SeriesState.COMPLETE, False, self.received or before - DAY)]

    def recall(self) -> tuple[datetime, datetime] | None:
        return self.known

    def keep(self, since: datetime, seen: datetime) -> None:
        self.known = (since, seen)

    def list_old_results(self, before: datetime) -> list[JobStanding]:
        return []

    def discard_series(self, uid: str, limits: RetentionLimits, now: datetime) -> Judgement:
        if not self.needed:
            self.given_up.append(uid)
        return Judgement(not self.needed, "it was never paired")

    def discard_results(self, job_id: str, limits: RetentionLimits, now: datetime) -> Judgement:
        raise AssertionError("there are none")

    def finish_discards(self, remove: Callable[[Sequence[str]], Collection[str]], limit: int, after: str) -> str:
        paths = sorted(path for path in self.given_up if path > after)[:limit]
        stuck = remove(paths)
        self.given_up = [path for path in self.given_up if path not in paths or path in stuck]
        return paths[-1] if len(paths) == limit else ""

    def count_waiting(self) -> int:
        return 0

    def throw(self, places: Sequence[str]) -> dict[str, Unavailable]:
        stuck = [place for place in places if place.startswith(self.stuck)]
        self.thrown += [place for place in places if place not in stuck]
        return {place: SpoolUnreadable(f"{place} is stuck.") for place in stuck}

    def empty(self) -> int:
        return 0

    def list_unusable(self, before: datetime) -> list[str]:
        return ["quarantine/x.dcm"]

    def list_leftovers(self, before: datetime) -> list[str]:
        return ["outbox/.job.1.staging"]


@dataclass
class Listener(Unobserved):
    """Remembers the kinds and names of what was deleted."""

    deleted: list[tuple[str, str]] = field(default_factory=list)

    def data_deleted(self, kind: str, name: str, why: str) -> None:
        assert why
        self.deleted.append((kind, name))


def test_what_is_old_goes_and_is_told_with_the_reason() -> None:
    shelf = Shelf(given_up=[f"instances/left/by/a/crash/{number}" for number in range(700)])
    gone = Housekeeper(shelf, shelf, shelf, LIMITS).clean(NOW, UNOBSERVED)
    assert [(one.kind, one.name) for one in gone] == [("series", "1.2"), ("unusable", "quarantine/x.dcm")]
    assert len(shelf.thrown) == 703
    assert shelf.thrown[-3:] == ["quarantine/x.dcm", "outbox/.job.1.staging", "1.2"]


def test_what_cannot_be_moved_hinders_nothing_else_is_named_and_stays_listed(caplog: pytest.LogCaptureFixture) -> None:
    stuck = [f"instances/aa/{number:04}" for number in range(1300)]
    shelf = Shelf(given_up=[*stuck, "instances/ab"], stuck=("instances/aa/", "quarantine/"))
    told = Listener()
    assert [one.kind for one in Housekeeper(shelf, shelf, shelf, LIMITS).clean(NOW, told)] == ["series"]
    assert shelf.thrown == ["instances/ab", "outbox/.job.1.staging", "1.2"]
    assert told.deleted == [("series", "1.2")], "what is still there was not deleted"
    assert shelf.given_up == stuck
    assert "1301 places could not be cleared. The first: instances/aa/0000 is stuck." in caplog.text
    with pytest.raises(SpoolUnreadable, match="instances/aa/0000"):
        end_deletions(shelf, shelf)
    shelf.stuck = ()
    end_deletions(shelf, shelf)
    assert (shelf.given_up, shelf.thrown[3:]) == ([], stuck)


def test_who_is_told_of_deletions_knows_of_each_as_soon_as_it_is_decided() -> None:
    shelf, told = Shelf(), Listener()

    def break_off(_: datetime) -> list[str]:
        raise SpoolUnreadable("The disk went.")

    shelf.list_leftovers = break_off  # type: ignore[method-assign]
    with pytest.raises(SpoolUnreadable):
        Housekeeper(shelf, shelf, shelf, LIMITS).clean(NOW, told)
    assert told.deleted == [("series", "1.2"), ("unusable", "quarantine/x.dcm")]


def test_looking_changes_nothing() -> None:
    shelf = Shelf()
    assert [one.judgement.discard for one in Housekeeper(shelf, shelf, shelf, LIMITS).list_old(NOW)] == [True, True]
    assert not shelf.thrown


def test_what_is_needed_when_it_comes_to_it_stays() -> None:
    shelf = Shelf(needed=True)
    assert [one.kind for one in Housekeeper(shelf, shelf, shelf, LIMITS).clean(NOW, UNOBSERVED)] == ["unusable"]


def test_without_limits_only_leftovers_go() -> None:
    shelf = Shelf(given_up=["begun"])
    housekeeper = Housekeeper(shelf, shelf, shelf, None)
    assert housekeeper.clean(NOW, UNOBSERVED) == []
    housekeeper.watch_clock(NOW + 400 * DAY)
    assert shelf.known == Shelf().known
    assert shelf.thrown == ["begun", "outbox/.job.1.staging"]


def _find_end(shelf: Shelf, limit: timedelta, begin: datetime) -> timedelta:
    """Return after how much time on the clock the series goes, where somebody looks every day."""
    housekeeper = Housekeeper(shelf, shelf, shelf, RetentionLimits(limit, limit, limit))
    age = timedelta()
    while not _list_going(housekeeper, begin + age) & {"series"}:
        housekeeper.watch_clock(begin + age)
        age += DAY
    return age


def _list_going(housekeeper: Housekeeper, now: datetime) -> set[str]:
    return {one.kind for one in housekeeper.list_old(now) if one.judgement.discard}


@pytest.mark.parametrize("days", [1, 8, 30])
@given(wrong=st.integers(-20_000, 0).map(lambda days: days * DAY))
def test_received_by_a_clock_that_was_slow_by_anything_it_stays_all_its_time_but_a_day_or_a_quarter(
    days: int, wrong: timedelta
) -> None:
    limit = days * DAY
    shelf = Shelf(received=NOW + wrong, known=(NOW + wrong, NOW + wrong))
    assert limit >= _find_end(shelf, limit, NOW) >= limit - max(DAY, limit / 4)


@given(wrong=st.integers(8, 20_000).map(lambda days: days * DAY))
def test_a_clock_that_starts_years_ahead_and_is_put_right_deletes_nothing_before_its_time(wrong: timedelta) -> None:
    shelf = Shelf(received=NOW, known=(NOW - 300 * DAY, NOW))
    housekeeper = Housekeeper(shelf, shelf, shelf, RetentionLimits(30 * DAY, 30 * DAY, 30 * DAY))
    for hour in range(3):
        now = NOW + wrong + timedelta(hours=hour)
        assert not _list_going(housekeeper, now)
        housekeeper.watch_clock(now)
    assert _find_end(shelf, 30 * DAY, NOW) == 30 * DAY


def test_the_age_of_a_file_is_believed_no_more_than_that_of_a_series() -> None:
    shelf = Shelf(received=NOW, known=(NOW, NOW))
    housekeeper = Housekeeper(shelf, shelf, shelf, RetentionLimits(30 * DAY, 30 * DAY, 3 * DAY))
    for days in range(3):
        assert _list_going(housekeeper, NOW + days * DAY) == set()
        housekeeper.watch_clock(NOW + days * DAY)
    assert _list_going(housekeeper, NOW + 3 * DAY) == {"unusable"}


def test_a_clock_that_goes_evenly_is_believed_also_over_a_night_or_a_week_without_a_node() -> None:
    received = NOW - 25 * DAY
    assert _find_end(Shelf(received=received), 30 * DAY, NOW) == 5 * DAY
    assert _find_end(Shelf(received=received, known=(NOW - 90 * DAY, NOW - 7 * DAY)), 30 * DAY, NOW) == 5 * DAY
    assert _find_end(Shelf(received=received, known=(NOW - 90 * DAY, NOW - 8 * DAY)), 30 * DAY, NOW) == 30 * DAY
    assert _find_end(Shelf(received=received, known=None), 30 * DAY, NOW) == 30 * DAY


def test_a_clock_that_jumps_is_not_believed_for_a_day() -> None:
    for jump in (timedelta(days=400), timedelta(days=-400)):
        clock = ClockWatch()
        assert clock.believes(NOW, 0)
        assert clock.believes(NOW + timedelta(seconds=3600), 3590)
        assert not clock.believes(NOW + jump, 3600)
        assert not clock.believes(NOW + jump + DAY / 2, 3600 + 43200)
        assert clock.believes(NOW + jump + DAY, 3600 + 86400)
