"""Listens for associations and runs them (edge)."""

import logging
import sys
import threading
import time

from pydicom.uid import UID
from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity

from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from fusionnode.errors import SettingsInvalid
from fusionnode.flow.observing import UNOBSERVED, IntakeObserver
from fusionnode.intake.contexts import SharedContexts, build_contexts
from fusionnode.intake.door import OPEN, Door, Entrance
from fusionnode.intake.handlers import Reception
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.sockets import IntakeServer, hang_up
from fusionnode.intake.spool import STALE_SECONDS, Spool

logger = logging.getLogger(__name__)

_ACCEPT_POLL_SECONDS = 0.1
_STOP_POLL_SECONDS = 0.02


class Listener:
    """A storage SCP that answers Success once an instance is durable in the spool, and does nothing else.

    Args:
        ae_title: our title, at most 16 characters.
        host: address to bind; empty for every address.
        port: to listen on; 0 for any free one.
        spool: where instances go.
        entrance: who may come in, how many and how slowly, and whether over TLS.

    Attributes:
        observer: is told what happens; set it before `start`.

    Raises:
        SettingsInvalid: the AE title or a limit is out of range.
    """

    def __init__(
        self,
        ae_title: str,
        host: str,
        port: int,
        spool: Spool,
        entrance: Entrance = OPEN,
    ) -> None:
        self.observer: IntakeObserver = UNOBSERVED
        self._address = (host, port)
        self._spool = spool
        self._reports = ReportFolder(spool.root)
        self._entrance = entrance
        self._entity = _build_entity(ae_title, entrance.limits)
        self._server: IntakeServer | None = None
        self._thread: threading.Thread | None = None
        self._second_look: threading.Timer | None = None

    @property
    def port(self) -> int:
        """The port really listened on; the configured one while stopped."""
        return self._address[1] if self._server is None else int(self._server.server_address[1])

    @property
    def is_listening(self) -> bool:
        """Whether connections are taken at this moment."""
        return self._server is not None and self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Prepare the spool, delete what crashed listeners left in it, and begin to listen.

        Raises:
            SettingsInvalid: the spool cannot be used, or the address cannot be bound.
        """
        silence_pynetdicom()
        self._spool.prepare()
        self._reports.prepare()
        self._server = self._bind()
        self._discard_leftovers()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_ACCEPT_POLL_SECONDS,), name="intake-listener", daemon=True
        )
        self._thread.start()
        logger.info("Listening as %s on port %d", self._entity.ae_title, self.port)

    def stop(self, grace_seconds: float = 30.0) -> None:
        """Stop listening, let running associations finish for a while, abort the rest; safe to repeat."""
        if self._server is None or self._thread is None:
            return
        server, self._server = self._server, None
        if self._second_look is not None:
            self._second_look.cancel()
        server.shutdown()
        self._thread.join()
        _wait_until_idle(server, grace_seconds)
        for assoc in server.active_associations:
            hang_up(assoc)
        _wait_until_idle(server, grace_seconds)

    def _discard_leftovers(self) -> None:
        """Delete what crashed listeners left; what is too fresh to tell, after as long as it takes to be sure.

        To be called before anything is received, so that nothing of this listener is among it.
        """
        unfinished = self._spool.list_unfinished()
        self._spool.discard_leftovers(unfinished)
        self._second_look = threading.Timer(STALE_SECONDS + 1, self._spool.discard_leftovers, [unfinished])
        self._second_look.name, self._second_look.daemon = "intake-leftovers", True
        self._second_look.start()

    def _bind(self) -> IntakeServer:
        host, port = self._address
        door = Door(self._entrance, self.observer, self._spool.is_congested)
        reception = Reception(self._spool, self._reports.keep_report, self.observer, door)
        try:
            server = self._entity.make_server(
                self._address,
                contexts=SharedContexts(build_contexts()),
                evt_handlers=reception.list_handlers(),
                server_class=IntakeServer,
                door=door,
            )
        except OSError as problem:
            raise SettingsInvalid(
                f"Cannot listen on {host or '*'}:{port}: {problem.strerror}.",
                remedy="Choose a free port and an address of this host; ports below 1024 need a privilege.",
                port=port,
            ) from problem
        if not isinstance(server, IntakeServer):
            raise TypeError(f"pynetdicom made a {type(server).__name__}")
        return server


def silence_pynetdicom() -> None:
    """Keep pynetdicom from describing every message in the log; identifiers are patient data."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.WARNING)


def _build_entity(ae_title: str, limits: ListenerLimits) -> ApplicationEntity:
    limits.check()
    try:
        entity = ApplicationEntity(ae_title)
    except ValueError as problem:
        raise SettingsInvalid(f"{ae_title!r} is no AE title.", remedy="Use 1 to 16 ASCII characters.") from problem
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    # The door counts them, and leaves out those that have not asked for anything yet.
    entity.maximum_associations = sys.maxsize
    entity.maximum_pdu_size = limits.max_pdu_bytes
    entity.acse_timeout = limits.acse_seconds
    entity.dimse_timeout = entity.network_timeout = limits.network_seconds
    return entity


def _wait_until_idle(server: IntakeServer, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while server.active_associations and time.monotonic() < deadline:
        time.sleep(_STOP_POLL_SECONDS)
