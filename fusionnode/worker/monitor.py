"""What monitoring may ask of a process: its metrics, whether it is alive, and whether it can take images."""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import redis

from fusionnode.certificates import find_end
from fusionnode.errors import FusionNodeError, SettingsInvalid
from fusionnode.flow.overview import Overview
from fusionnode.intake.spool import Spool
from fusionnode.settings import Settings
from fusionnode.traces.endpoint import Check, Checks, Endpoint
from fusionnode.traces.ledger import LedgerCollector
from fusionnode.traces.meters import Meters
from fusionnode.traces.spool import SpoolCollector
from fusionnode.traces.watcher import Watcher
from fusionnode.wiring import open_spool

_BROKER_SECONDS = 3.0
_ROUND_SECONDS = 900.0


class Monitor:
    """Serves HTTP while the context is open, if the site wants it; else it does nothing.

    Args:
        port: to serve on; None for not at all.
        alive: what must run in this process besides what looks after the audit trail.
        ready: what it needs besides spool and audit trail, which are always looked at.
        overview: of the ledger, where this process tells of it.
    """

    def __init__(
        self,
        settings: Settings,
        watcher: Watcher,
        port: int | None,
        alive: Mapping[str, Check],
        ready: Mapping[str, Check],
        overview: Overview | None = None,
    ) -> None:
        self._undo = ExitStack()
        self.endpoint: Endpoint | None = None
        if port is None:
            return
        spool = open_spool(settings)
        self._spool_meter = SpoolCollector(spool.root)
        watcher.meters.add(self._spool_meter)
        watcher.meters.watch_each(
            "fusionnode_certificate_end_timestamp_seconds",
            "When a file of certificates is of no use any more (Unix time); 0 where that cannot be read.",
            "file",
            lambda: read_certificate_ends(settings),
        )
        if overview is not None:
            watcher.meters.add(LedgerCollector(overview, watcher.meters, lambda: datetime.now(UTC)))
        common = {"spool": lambda: check_spool(spool), "audit": lambda: check_audit(watcher)}
        self.endpoint = Endpoint(
            settings.http.host,
            port,
            watcher.meters.expose,
            Checks({"audit": check_true(lambda: watcher.is_minding, "looked after"), **alive}),
            Checks({**common, **ready}),
        )

    def __enter__(self) -> Self:
        """Begin to serve.

        Raises:
            SettingsInvalid: the address cannot be bound.
        """
        if self.endpoint is not None:
            self.endpoint.start()
            self._undo.callback(self.endpoint.stop)
            self._spool_meter.start()
            self._undo.callback(self._spool_meter.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Serve no more."""
        self._undo.close()


class Rounds:
    """Knows how long ago the sweep last came to an arrival or to the end of a round.

    A round that was put off, as without a database, has ended too: starting the process again would bring nothing back.

    Args:
        meters: are told of each round that was whole.
        seconds: without either after which the sweep counts as hanging.
        clock: seconds that only grow.
    """

    def __init__(
        self, meters: Meters, seconds: float = _ROUND_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._meters, self._seconds, self._clock = meters, seconds, clock
        self._moved_at = clock()

    def note(self, whole: bool) -> None:
        """The sweep goes on, or has come to the end of a round that was whole."""
        self._moved_at = self._clock()
        if whole:
            self._meters.last_sweep.set(time.time())

    def check(self) -> str:
        """Say how long ago that was, or this process began.

        Raises:
            FusionNodeError: it is so long that the sweep must hang.
        """
        age = self._clock() - self._moved_at
        if age > self._seconds:
            raise FusionNodeError(
                f"The sweep has stood still for {age:.0f} s.", remedy="See the log, and start the process again."
            )
        return f"went on {age:.0f} s ago"


def read_certificate_ends(settings: Settings) -> dict[str, float]:
    """Return for each file of certificates, as it is at this moment, when it is of no use any more.

    That is in seconds since 1970 (UTC), and 0 where it cannot be read.
    """
    ends = {}
    for path, is_authority in settings.list_certificate_files().items():
        try:
            ends[str(path)] = find_end(path, is_authority=is_authority).timestamp()
        except SettingsInvalid:
            ends[str(path)] = 0.0
    return ends


def check_spool(spool: Spool) -> str:
    """Write a file where instances arrive, and take it away.

    Raises:
        SpoolFull: less space is free than the reserve.
        OSError: it cannot be written.
    """
    spool.check_space()
    probe = spool.incoming / f"{uuid.uuid4().hex}.part"
    try:
        probe.write_bytes(b"fusionnode")
    finally:
        probe.unlink(missing_ok=True)
    return f"{spool.free_bytes() >> 20} MiB free"


def check_audit(watcher: Watcher) -> str:
    """Look whether every audit record is on disk.

    Raises:
        FusionNodeError: some wait.
    """
    trouble = watcher.look_after()
    if trouble:
        raise FusionNodeError(f"{trouble}.", remedy="Make room, or let this process write there.")
    return "written"


def check_database(overview: Overview) -> str:
    """Ask the database for something small.

    Raises:
        LedgerUnavailable: it does not answer.
    """
    overview.find_last_happening()
    return "answers"


def check_broker(settings: Settings) -> str:
    """Greet the broker, where there is one.

    Raises:
        redis.RedisError: it does not answer.
    """
    url = settings.broker_url.get_secret_value()
    if not url:
        return "none; the node works embedded"
    patience = {"socket_connect_timeout": _BROKER_SECONDS, "socket_timeout": _BROKER_SECONDS}
    with redis.Redis.from_url(url, **patience) as broker:
        broker.ping()
    return "answers"


def check_true(well: Callable[[], bool], words: str) -> Check:
    """Return a check that says ``words`` is so, or that it is not."""

    def ask() -> str:
        if not well():
            raise FusionNodeError(f"Not {words}.", remedy="See the log, and start the process again.")
        return words

    return ask


def check_threads(list_dead: Callable[[], list[str]]) -> Check:
    """Return a check that names the threads that should run and do not."""

    def ask() -> str:
        dead = list_dead()
        if dead:
            raise FusionNodeError(f"Ended: {', '.join(dead)}.", remedy="See the log, and start the process again.")
        return "all run"

    return ask
