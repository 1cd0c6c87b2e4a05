"""Listens for associations and runs them (edge)."""

import logging
import threading
import time
from dataclasses import dataclass

from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity

from fusionnode.errors import SettingsInvalid
from fusionnode.intake.contexts import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    SharedContexts,
    build_contexts,
)
from fusionnode.intake.handlers import Reception
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.sockets import PDU_LIMIT_BYTES, IntakeServer, hang_up
from fusionnode.intake.spool import Spool

logger = logging.getLogger(__name__)

_ACCEPT_POLL_SECONDS = 0.1
_STOP_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ListenerLimits:
    """What the listener allows its peers.

    Attributes:
        max_pdu_bytes: largest PDU we ask for, 4096 to `PDU_LIMIT_BYTES`; never unlimited.
        acse_seconds: for an association request to arrive after the connection.
        network_seconds: without a byte before an association is aborted; below the age at which its evidence is stale.
        require_called_ae: reject associations that call another AE title.
        calling_ae_titles: if not empty, reject associations from any other AE title.
    """

    max_pdu_bytes: int = 131072
    acse_seconds: float = 30.0
    network_seconds: float = 90.0
    require_called_ae: bool = False
    calling_ae_titles: tuple[str, ...] = ()


class Listener:
    """A storage SCP that answers Success once an instance is durable in the spool, and does nothing else.

    Args:
        ae_title: our title, at most 16 characters.
        host: address to bind; empty for every address.
        port: to listen on; 0 for any free one.
        spool: where instances go.
        max_associations: open at the same time; further ones are rejected as transient, so peers try again.
        limits: see `ListenerLimits`.

    Raises:
        SettingsInvalid: the AE title or a limit is out of range.
    """

    def __init__(
        self,
        ae_title: str,
        host: str,
        port: int,
        spool: Spool,
        *,
        max_associations: int = 64,
        limits: ListenerLimits = ListenerLimits(),
    ) -> None:
        self._address = (host, port)
        self._spool = spool
        self._reports = ReportFolder(spool.root)
        self._entity = _build_entity(ae_title, max_associations, limits)
        self._server: IntakeServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port really listened on; the configured one while stopped."""
        return self._address[1] if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Prepare the spool, delete what crashed listeners left in it, and begin to listen.

        Raises:
            SettingsInvalid: the spool cannot be used, or the address cannot be bound.
        """
        silence_pynetdicom()
        self._spool.prepare()
        self._reports.prepare()
        self._spool.discard_leftovers()
        self._server = self._bind()
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
        server.shutdown()
        self._thread.join()
        _wait_until_idle(server, grace_seconds)
        for assoc in server.active_associations:
            hang_up(assoc)
        _wait_until_idle(server, grace_seconds)

    def _bind(self) -> IntakeServer:
        host, port = self._address
        try:
            server = self._entity.make_server(
                self._address,
                contexts=SharedContexts(build_contexts()),
                evt_handlers=Reception(self._spool, self._reports.keep_report).list_handlers(),
                server_class=IntakeServer,
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


def _build_entity(ae_title: str, max_associations: int, limits: ListenerLimits) -> ApplicationEntity:
    if not 4096 <= limits.max_pdu_bytes <= PDU_LIMIT_BYTES or max_associations < 1:
        raise SettingsInvalid(
            "The listener's limits are out of range.",
            remedy=f"max_pdu_bytes is 4096 to {PDU_LIMIT_BYTES}, max_associations at least 1.",
            max_associations=max_associations,
            max_pdu_bytes=limits.max_pdu_bytes,
        )
    try:
        entity = ApplicationEntity(ae_title)
    except ValueError as problem:
        raise SettingsInvalid(f"{ae_title!r} is no AE title.", remedy="Use 1 to 16 ASCII characters.") from problem
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_associations = max_associations
    entity.maximum_pdu_size = limits.max_pdu_bytes
    entity.acse_timeout = limits.acse_seconds
    entity.dimse_timeout = entity.network_timeout = limits.network_seconds
    entity.require_called_aet = limits.require_called_ae
    entity.require_calling_aet = list(limits.calling_ae_titles)
    return entity


def _wait_until_idle(server: IntakeServer, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while server.active_associations and time.monotonic() < deadline:
        time.sleep(_STOP_POLL_SECONDS)
