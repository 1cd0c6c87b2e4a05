"""Fetches a series until it is whole, and says what is missing where it does not become so."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from fusionnode.errors import ArchiveUnreachable, RetrievalIncomplete
from fusionnode.retrieval.archive import Archive, Inbox
from fusionnode.retrieval.findings import FoundInstance, FoundSeries

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Perseverance:
    """How often a series is asked for, and how long the first rest is (seconds); each further one is twice as long."""

    attempts: int = 4
    pause_seconds: float = 1.0
    sleep: Callable[[float], None] = time.sleep


def retrieve_series(
    archive: Archive, series: FoundSeries, inbox: Inbox, perseverance: Perseverance = Perseverance()
) -> int:
    """Bring into the inbox what it lacks of a series; return how many instances the series has.

    An instance that is here already is not fetched again. What did not come is asked for again, by name.

    Raises:
        RetrievalIncomplete: some instances never came, or the archive lists fewer than it says it has.
        ArchiveUnreachable: it did not answer, however often it was asked.
        SpoolFull: there is no room.
    """
    came, trouble, listed = 0, None, _List(())
    for attempt in range(perseverance.attempts):
        if attempt:
            perseverance.sleep(perseverance.pause_seconds * 2 ** (attempt - 1))
        trouble = None
        try:
            listed = _List(tuple(archive.find_instances(series)))
            missing = listed.find_missing(inbox)
            if missing or listed.is_short(series, came):
                whole = len(missing) == listed.count or not missing
                came = archive.fetch(series, missing or listed.instances, inbox, whole=whole)
                missing = listed.find_missing(inbox)
        except ArchiveUnreachable as unreachable:
            trouble = unreachable
            logger.warning("series %s, attempt %d: %s", series.series_instance_uid, attempt + 1, unreachable)
            continue
        if not missing and not listed.is_short(series, came):
            return max(listed.count, came)
        logger.warning("series %s, attempt %d: not whole yet", series.series_instance_uid, attempt + 1)
    raise trouble or _tell_incomplete(archive, series, listed, inbox)


@dataclass(frozen=True)
class _List:
    """The instances that an archive lists of a series."""

    instances: tuple[FoundInstance, ...]

    @property
    def count(self) -> int:
        return len(self.instances)

    def find_missing(self, inbox: Inbox) -> tuple[FoundInstance, ...]:
        missing = set(inbox.list_missing(one.sop_instance_uid for one in self.instances))
        return tuple(one for one in self.instances if one.sop_instance_uid in missing)

    def is_short(self, series: FoundSeries, came: int) -> bool:
        """Whether the archive counts more than it lists (it may limit its answers) and than came unlisted."""
        return max(self.count, came) < max(series.instances or 0, 1)


def _tell_incomplete(archive: Archive, series: FoundSeries, listed: _List, inbox: Inbox) -> RetrievalIncomplete:
    missing = listed.find_missing(inbox)
    if missing:
        words = f"{len(missing)} of {listed.count} instances of it never came"
        remedy = "Look into the archive's log, then run the batch again."
    else:
        words = f"it counts {series.instances or 'some'} instances of it and lists {listed.count}"
        remedy = "Raise the archive's limit of answers to a query, or repair its index."
    return RetrievalIncomplete(
        f"Archive {archive.name} does not hand over series {series.series_instance_uid}: {words}.",
        remedy=remedy,
        series=series.series_instance_uid,
        missing=[one.sop_instance_uid for one in missing],
    )
