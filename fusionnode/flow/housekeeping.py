"""The plot of getting rid: what is delivered and old enough goes, what waits never does."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from fusionnode.domain.retention import (
    JobStanding,
    Judgement,
    RetentionLimits,
    SeriesStanding,
    judge_results,
    judge_series,
)
from fusionnode.faults import FaultPoint, reach

logger = logging.getLogger(__name__)

_BATCH = 500
_LEFTOVER = timedelta(days=1)
"""Nothing is being written for as long as this; what is older was left by a worker that died."""
_ABSENCE = timedelta(days=1)
"""Nobody may have looked at the clock for as long as this, or a quarter of the shortest limit if that is longer."""


class Holdings(Protocol):
    """What the ledger knows of what is kept, and how it forgets. Every method is one transaction."""

    def list_old_series(self, before: datetime) -> list[SeriesStanding]:
        """The closed series that were received last before ``before``, oldest first, with their jobs."""

    def list_old_results(self, before: datetime) -> list[JobStanding]:
        """The ended jobs that did so before ``before`` and whose results are kept, oldest first."""

    def discard_series(self, uid: str, limits: RetentionLimits, now: datetime) -> Judgement:
        """Forget the instances of a series and give its files up, if that is right at this very moment."""

    def discard_results(self, job_id: str, limits: RetentionLimits, now: datetime) -> Judgement:
        """Give up what a job published, if that is right at this very moment."""

    def finish_discards(self, remove: Callable[[Sequence[str]], None], limit: int) -> int:
        """Have ``remove`` take up to ``limit`` paths that were given up out of sight, and forget them."""

    def count_waiting(self) -> int:
        """How many jobs are still to be computed."""


class Trash(Protocol):
    """Where files go before they are gone."""

    def throw(self, places: Sequence[str]) -> None:
        """Move what lies at ``places``, relative to the spool, out of sight; what is not there is gone already."""

    def empty(self) -> int:
        """Delete what lies there; return how much it was."""

    def list_unusable(self, before: datetime) -> list[str]:
        """Places of what was set aside as unusable, and with it the reasons, before ``before``."""

    def list_leftovers(self, before: datetime) -> list[str]:
        """Places of unfinished results that nobody wrote to since ``before``."""


class ClockMemory(Protocol):
    """What is known of the clock of this node from one process to the next."""

    def recall(self) -> tuple[datetime, datetime] | None:
        """Return (since when it goes evenly, what it showed last); None when nobody looked before."""

    def keep(self, since: datetime, seen: datetime) -> None:
        """Remember both."""


@dataclass(frozen=True)
class Finding:
    """Something that is old, and whether it goes: ``kind`` is ``series``, ``results`` or ``unusable``."""

    kind: str
    name: str
    judgement: Judgement


@dataclass
class Housekeeper:
    """Deletes by age. Any number of them may run at once, beside the sweep and the workers.

    An age is believed as far back as the clock is known to go evenly: what was received in the year 1970, as a host
    without a battery has it, is not half a century old when the clock is put right.

    Attributes:
        limits: None: nothing that was received or made is deleted.
    """

    holdings: Holdings
    trash: Trash
    memory: ClockMemory
    limits: RetentionLimits | None

    def watch_clock(self, now: datetime) -> None:
        """Note that the clock shows ``now``; to be called far more often than once a day.

        Raises:
            Unavailable: the spool is.
        """
        if self.limits is None:
            return
        since = self._date_limits(self.limits, now).since
        if since == now and self.memory.recall() is not None:
            logger.warning("the clock was put, or nobody watched it for long; all ages count from now on")
        self.memory.keep(since, now)

    def _date_limits(self, limits: RetentionLimits, now: datetime) -> RetentionLimits:
        """Return the limits with the moment before which no date is believed; that is now after a jump of the clock."""
        known = self.memory.recall()
        if known is None or abs(now - known[1]) > max(_ABSENCE, limits.shortest / 4):
            return replace(limits, since=now)
        return replace(limits, since=known[0])

    def list_old(self, now: datetime) -> list[Finding]:
        """Return what is old enough to be looked at, and what would become of it; changes nothing."""
        if self.limits is None:
            return []
        before, limits = now - self.limits.shortest, self._date_limits(self.limits, now)
        series = [
            Finding("series", one.series_instance_uid, judge_series(one, limits, now))
            for one in self.holdings.list_old_series(before)
        ]
        results = [
            Finding("results", one.id, judge_results(one, limits, now))
            for one in self.holdings.list_old_results(before)
        ]
        why = Judgement(True, f"it was unusable, more than {limits.failed.days} days ago")
        unusable = self.trash.list_unusable(now - limits.failed) if now - limits.since >= limits.failed else []
        return [*series, *results, *(Finding("unusable", place, why) for place in unusable)]

    def clean(self, now: datetime) -> list[Finding]:
        """Delete what may be deleted at ``now``; return what that was.

        Raises:
            Unavailable: the database or the spool is; the next round goes on where this one stopped.
        """
        # What an earlier round began, before anything else is decided.
        end_deletions(self.holdings, self.trash)
        gone = [one for one in (self._discard(found, now) for found in self.list_old(now)) if one is not None]
        self.trash.throw(
            [one.name for one in gone if one.kind == "unusable"] + self.trash.list_leftovers(now - _LEFTOVER)
        )
        end_deletions(self.holdings, self.trash)
        return gone

    def _discard(self, found: Finding, now: datetime) -> Finding | None:
        """Decide once more, where nobody can interfere; None when it has to stay after all."""
        if not found.judgement.discard or self.limits is None:
            return None
        judgement, limits = found.judgement, self._date_limits(self.limits, now)
        if found.kind == "series":
            judgement = self.holdings.discard_series(found.name, limits, now)
        elif found.kind == "results":
            judgement = self.holdings.discard_results(found.name, limits, now)
        if not judgement.discard:
            return None
        reach(FaultPoint.DISCARD_DECIDED)
        logger.info("%s %s: deleted, because %s", found.kind, found.name, judgement.why)
        return Finding(found.kind, found.name, judgement)


def end_deletions(holdings: Holdings, trash: Trash) -> None:
    """Take what was given up out of sight, also what a process left that died over it, and away.

    Raises:
        Unavailable: the database or the spool is; whatever is left is still listed.
    """
    while holdings.finish_discards(trash.throw, _BATCH) == _BATCH:
        continue
    trash.empty()


@dataclass
class ClockWatch:
    """Notices when the clock of this host was put forward or back, for then no age can be believed.

    Attributes:
        tolerance: by how much the clock may drift against the time that passed.
        rest: for how long it is not believed after a jump; a human may have set it right, or wrong.
    """

    tolerance: timedelta = timedelta(hours=1)
    rest: timedelta = timedelta(days=1)
    _began: tuple[datetime, float] | None = None
    _rests_until: float = float("-inf")

    def believes(self, now: datetime, monotonic: float) -> bool:
        """Return whether ages may be told from ``now``; ``monotonic`` is in seconds, from any moment."""
        began_at, began = self._began or (now, monotonic)
        drift = (now - began_at) - timedelta(seconds=monotonic - began)
        if abs(drift) > self.tolerance:
            logger.warning("the clock was put %s by %s; nothing is deleted for a while", _tell_way(drift), abs(drift))
            self._rests_until = monotonic + self.rest.total_seconds()
            began_at, began = now, monotonic
        self._began = (began_at, began)
        return monotonic >= self._rests_until


def _tell_way(drift: timedelta) -> str:
    return "forward" if drift > timedelta() else "back"
