"""The plot of getting rid: what is delivered and old enough goes, what waits never does."""

import logging
from collections.abc import Callable, Collection, Sequence
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
from fusionnode.errors import Unavailable
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.observing import ExchangeObserver

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

    def finish_discards(self, remove: Callable[[Sequence[str]], Collection[str]], limit: int, after: str) -> str:
        """Have ``remove`` take up to ``limit`` of the given up paths that follow ``after`` out of sight; forget them.

        Those that ``remove`` returns stay listed. Returns the last path, with which to go on; empty at the end.
        """

    def count_waiting(self) -> int:
        """How many jobs are still to be computed."""


class Trash(Protocol):
    """Where files go before they are gone."""

    def throw(self, places: Sequence[str]) -> dict[str, Unavailable]:
        """Move what lies at ``places``, relative to the spool, out of sight; what is not there is gone already.

        Returns those that could not be moved, and what hindered each.
        """

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

    def clean(self, now: datetime, observer: ExchangeObserver) -> list[Finding]:
        """Delete what may be deleted at ``now``; return what that was.

        ``observer`` is told of each right after the ledger decided it, before the files go; of what was unusable, which
        the ledger does not know, after. A process that dies in between leaves the ledger's own event alone. What cannot
        be moved is logged, hinders nothing else, and is tried again the next time.

        Raises:
            Unavailable: the database or the spool is; the next round goes on where this one stopped.
        """
        # What an earlier round began, before anything else is decided.
        stuck = _take_away(self.holdings, self.trash)
        gone = []
        for found in self.list_old(now):
            if found.kind == "unusable":
                hindered = self.trash.throw([found.name])
                stuck |= hindered
                decided = None if hindered else found
            else:
                decided = self._discard(found, now)
            if decided is not None:
                _tell(decided, observer)
                gone.append(decided)
        stuck |= self.trash.throw(self.trash.list_leftovers(now - _LEFTOVER))
        stuck |= _take_away(self.holdings, self.trash)
        if stuck:
            logger.warning("%d places could not be cleared. The first: %s", len(stuck), next(iter(stuck.values())))
        return gone

    def _discard(self, found: Finding, now: datetime) -> Finding | None:
        """Decide once more, where nobody can interfere; None when it has to stay after all."""
        if not found.judgement.discard or self.limits is None:
            return None
        give_up = self.holdings.discard_series if found.kind == "series" else self.holdings.discard_results
        judgement = give_up(found.name, self._date_limits(self.limits, now), now)
        return Finding(found.kind, found.name, judgement) if judgement.discard else None


def end_deletions(holdings: Holdings, trash: Trash) -> None:
    """Take what was given up out of sight, also what a process left that died over it, and away.

    Raises:
        Unavailable: the database or the spool is, or something could not be moved, and all else was; whatever is left
            is still listed.
    """
    stuck = _take_away(holdings, trash)
    if stuck:
        raise next(iter(stuck.values()))


def _take_away(holdings: Holdings, trash: Trash) -> dict[str, Unavailable]:
    """Do so past whatever cannot be moved; return that, and what hindered it."""
    stuck: dict[str, Unavailable] = {}

    def remove(places: Sequence[str]) -> dict[str, Unavailable]:
        hindered = trash.throw(places)
        stuck.update(hindered)
        return hindered

    last = holdings.finish_discards(remove, _BATCH, "")
    while last:
        last = holdings.finish_discards(remove, _BATCH, last)
    trash.empty()
    return stuck


def _tell(gone: Finding, observer: ExchangeObserver) -> None:
    observer.data_deleted(gone.kind, gone.name, gone.judgement.why)
    logger.info("%s %s: deleted, because %s", gone.kind, gone.name, gone.judgement.why)
    reach(FaultPoint.DISCARD_DECIDED)


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
