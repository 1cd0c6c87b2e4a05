"""What monitoring may ask of a process: its metrics, whether it is alive, and whether it can take images."""

import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import redis

from fusionnode.errors import FusionNodeError
from fusionnode.flow.overview import Overview
from fusionnode.intake.spool import Spool
from fusionnode.settings import Settings
from fusionnode.traces.endpoint import Check, Checks, Endpoint
from fusionnode.traces.ledger import LedgerCollector
from fusionnode.traces.spool import SpoolCollector
from fusionnode.traces.watcher import Watcher
from fusionnode.wiring import open_spool

_BROKER_SECONDS = 3.0


class Monitor:
    """Serves HTTP while the context is open, if the site wants it; else it does nothing.

    Args:
        port: to serve on; None for not at all.
        alive: what must run in this process.
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
        if overview is not None:
            watcher.meters.add(LedgerCollector(overview, watcher.meters, lambda: datetime.now(UTC)))
        common = {"spool": lambda: check_spool(spool), "audit": lambda: check_audit(watcher)}
        self.endpoint = Endpoint(
            settings.http.host, port, watcher.meters.expose, Checks(alive), Checks({**common, **ready})
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
