"""The round of the housekeeping, and when its clock is believed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fusionnode.domain.retention import JobStanding, Judgement, RetentionLimits, SeriesStanding
from fusionnode.domain.terms import SeriesState
from fusionnode.flow.housekeeping import ClockWatch, Housekeeper

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LIMITS = RetentionLimits(DAY, DAY, DAY)


@dataclass
class Shelf:
    """Holdings of one old series that somebody else begins to need at the last moment, and trash that remembers."""

    needed: bool = False
    given_up: list[str] = field(default_factory=list)
    thrown: list[str] = field(default_factory=list)

    def list_old_series(self, before: datetime) -> list[SeriesStanding]:
        return [SeriesStanding("1.2", 1, SeriesState.COMPLETE, False, before - DAY)]

    def list_old_results(self, before: datetime) -> list[JobStanding]:
        return []

    def discard_series(self, uid: str, limits: RetentionLimits, now: datetime) -> Judgement:
        if not self.needed:
            self.given_up.append(uid)
        return Judgement(not self.needed, "it was never paired")

    def discard_results(self, job_id: str, limits: RetentionLimits, now: datetime) -> Judgement:
        raise AssertionError("there are none")

    def finish_discards(self, remove: Callable[[Sequence[str]], None], limit: int) -> int:
        paths, self.given_up = self.given_up[:limit], self.given_up[limit:]
        remove(paths)
        return len(paths)

    def count_backlog(self) -> tuple[int, int]:
        return 0, 0

    def throw(self, places: Sequence[str]) -> None:
        self.thrown += places

    def empty(self) -> int:
        return 0

    def list_unusable(self, before: datetime) -> list[str]:
        return ["quarantine/x.dcm"]

    def list_leftovers(self, before: datetime) -> list[str]:
        return ["outbox/.job.1.staging"]


def test_what_is_old_goes_and_is_told_with_the_reason() -> None:
    shelf = Shelf(given_up=["instances/left/by/a/crash"] * 700)
    gone = Housekeeper(shelf, shelf, LIMITS).clean(NOW)
    assert [(one.kind, one.name) for one in gone] == [("series", "1.2"), ("unusable", "quarantine/x.dcm")]
    assert shelf.thrown.count("instances/left/by/a/crash") == 700
    assert shelf.thrown[-3:] == ["quarantine/x.dcm", "outbox/.job.1.staging", "1.2"]


def test_looking_changes_nothing() -> None:
    shelf = Shelf()
    assert [one.judgement.discard for one in Housekeeper(shelf, shelf, LIMITS).list_old(NOW)] == [True, True]
    assert not shelf.thrown


def test_what_is_needed_when_it_comes_to_it_stays() -> None:
    shelf = Shelf(needed=True)
    assert [one.kind for one in Housekeeper(shelf, shelf, LIMITS).clean(NOW)] == ["unusable"]


def test_without_limits_only_leftovers_go() -> None:
    shelf = Shelf(given_up=["begun"])
    assert Housekeeper(shelf, shelf, None).clean(NOW) == []
    assert shelf.thrown == ["begun", "outbox/.job.1.staging"]


def test_a_clock_that_jumps_is_not_believed_for_a_day() -> None:
    for jump in (timedelta(days=400), timedelta(days=-400)):
        clock = ClockWatch()
        assert clock.believes(NOW, 0)
        assert clock.believes(NOW + timedelta(seconds=3600), 3590)
        assert not clock.believes(NOW + jump, 3600)
        assert not clock.believes(NOW + jump + DAY / 2, 3600 + 43200)
        assert clock.believes(NOW + jump + DAY, 3600 + 86400)
