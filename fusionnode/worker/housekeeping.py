"""Deletes what is old and measures what there is: a thread beside the sweep, and a command."""

import logging
import threading
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from fusionnode.errors import SettingsInvalid, Unavailable, format_frames
from fusionnode.flow.housekeeping import ClockWatch, Finding, Housekeeper
from fusionnode.flow.observing import ExchangeObserver
from fusionnode.index.store import open_ledger
from fusionnode.intake.quota import Load, measure_bytes, write_load
from fusionnode.settings import QuotaSettings, Settings
from fusionnode.wiring import Node, build_housekeeper, build_watcher, load_pipelines, open_node

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 10.0
_MEASURE_SECONDS = 300.0
_CLEAN_SECONDS = 3600.0


class Housekeeping:
    """What is done in each round of one process, and how long ago each part of it was.

    The spool is walked through every five minutes, and only where a quota asks for it. It is cleaned every hour,
    at first an hour after the first round: a host that starts with a wrong clock has put it right by then.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._housekeeper = build_housekeeper(node.settings, node.pipelines, node.holdings)
        self._clock = ClockWatch()
        self._spool_bytes, self._walk = 0, ""
        self._measured_at = float("-inf")
        self._cleaned_at: float | None = None

    def go_round(self, now: datetime, monotonic: float) -> None:
        """Do what is due.

        Raises:
            Unavailable: the database or the spool is.
        """
        believed = self._clock.believes(now, monotonic)
        if self._cleaned_at is None:
            self._cleaned_at = monotonic
        try:
            if believed and monotonic - self._cleaned_at >= _CLEAN_SECONDS:
                _clean(self._housekeeper, now, self._node.observer)
                self._cleaned_at = monotonic
        finally:
            # Afterwards, as a full disk hinders what is written here and not the deleting; and whatever hinders that,
            # or the quota would speak for ever of what was measured last, and all ages would begin again.
            self._housekeeper.watch_clock(now)
            if self._node.settings.quota != QuotaSettings():
                self._measure(monotonic)

    def _measure(self, monotonic: float) -> None:
        root = self._node.settings.spool
        if self._node.settings.quota.spool_gb and monotonic - self._measured_at >= _MEASURE_SECONDS:
            self._spool_bytes, self._walk = measure_bytes(root), uuid.uuid4().hex
            self._measured_at = monotonic
        write_load(root, Load(self._spool_bytes, self._node.holdings.count_waiting(), self._walk))


def repeat_housekeeping(node: Node, stop: threading.Event) -> None:
    """Go round until ``stop`` is set; trouble is logged and the next round tries again."""
    housekeeping = Housekeeping(node)
    while not stop.is_set():
        try:
            housekeeping.go_round(datetime.now(UTC), time.monotonic())
        except Unavailable as unavailable:
            logger.warning("housekeeping put off: %s", unavailable)
        except Exception as error:
            logger.error("defect in housekeeping; the next round tries again: %s", format_frames(error))
        stop.wait(_PAUSE_SECONDS)


def clean_spool(settings: Settings, *, dry_run: bool) -> list[dict[str, Any]]:
    """Delete what may be deleted, or with ``dry_run`` only tell; return everything old with its fate, as JSON values.

    Raises:
        Misconfigured: a pipeline, the spool or the database schema is wrong; with ``dry_run`` also where there is none.
        Unavailable: the database does not answer.
    """
    now = datetime.now(UTC)
    if dry_run:
        found = _look(settings, now)
    else:
        with build_watcher(settings, "clean") as watcher:
            node = open_node(settings)
            housekeeper = build_housekeeper(settings, node.pipelines, node.holdings)
            found = _clean(housekeeper, now, watcher)
            housekeeper.watch_clock(now)
    return [
        {"kind": one.kind, "name": one.name, "goes": one.judgement.discard, "why": one.judgement.why} for one in found
    ]


def _look(settings: Settings, now: datetime) -> list[Finding]:
    """Return what is old, without making or changing anything: neither a spool nor a ledger."""
    for place in (settings.spool, *settings.list_ledger_files()):
        if not place.exists():
            raise SettingsInvalid(f"There is no {place}, so no node has run here.", remedy="Name the node's site file.")
    pipelines = load_pipelines(settings, known_destinations=None)
    with closing(open_ledger(settings.ledger_url)) as ledger:
        return build_housekeeper(settings, pipelines, ledger).list_old(now)


def _clean(housekeeper: Housekeeper, now: datetime, observer: ExchangeObserver) -> list[Finding]:
    gone = housekeeper.clean(now, observer)
    if gone:
        logger.info("housekeeping deleted %d series and results", len(gone))
    return gone
