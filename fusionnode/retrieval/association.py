"""An association with an archive, and one request over it (edge)."""

import logging
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import EVT_CONN_OPEN, Event, EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from fusionnode.errors import ArchiveUnreachable

logger = logging.getLogger(__name__)

MAX_PDU_BYTES = 131072
PENDING = frozenset({0xFF00, 0xFF01})


@dataclass(frozen=True)
class Peer:
    """An archive that speaks DIMSE, under the name the site file gives it.

    Attributes:
        calling_ae_title: what this node calls itself.
        tls: how to secure the connection; None for none.
    """

    name: str
    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    tls: ssl.SSLContext | None = None

    def describe_trouble(self, why: str) -> ArchiveUnreachable:
        """Return the error that says what went wrong with this archive."""
        return ArchiveUnreachable(
            f"Archive {self.name} ({self.ae_title} at {self.host}:{self.port}): {why}.",
            remedy="Check its address and AE titles; it must know this node's AE title as well.",
            archive=self.name,
            why=why,
        )


@dataclass(frozen=True)
class Patience:
    """How long to wait for an archive, in seconds: for the connection, and for the next message or byte."""

    connection_seconds: float = 15.0
    answer_seconds: float = 300.0


@dataclass(frozen=True)
class Roles:
    """The storage classes in which the archive may send, and what takes each instance."""

    negotiations: Sequence[SCP_SCU_RoleSelectionNegotiation] = ()
    handlers: Sequence[EventHandlerType] = ()


@contextmanager
def associate(
    peer: Peer, contexts: list[PresentationContext], patience: Patience, roles: Roles = Roles()
) -> Iterator[Association]:
    """Yield an association, released at the end, or aborted where the caller left it in the middle of something.

    Raises:
        ArchiveUnreachable: it could not be had.
    """
    entity = ApplicationEntity(peer.calling_ae_title)
    entity.maximum_pdu_size = MAX_PDU_BYTES
    entity.connection_timeout = entity.acse_timeout = patience.connection_seconds
    entity.dimse_timeout = entity.network_timeout = patience.answer_seconds
    assoc = entity.associate(
        peer.host,
        peer.port,
        contexts,
        peer.ae_title,
        max_pdu=MAX_PDU_BYTES,
        ext_neg=list(roles.negotiations) or None,
        evt_handlers=[(EVT_CONN_OPEN, _hasten), *roles.handlers],
        tls_args=(peer.tls, peer.host) if peer.tls else None,
    )
    if not assoc.is_established:
        raise peer.describe_trouble(_explain(assoc))
    _keep_answers(assoc)
    finished = False
    try:
        yield assoc
        finished = True
    finally:
        if not finished:
            assoc.abort()
        elif assoc.is_established:
            assoc.release()


def require_status(peer: Peer, status: Dataset, what: str) -> int:
    """Return the status of an answer.

    Raises:
        ArchiveUnreachable: there is none: the association broke, or no answer came in time.
    """
    if "Status" not in status:
        raise peer.describe_trouble(f"{what}: the association broke, or no answer came in time")
    return int(status.Status)


def has_context(assoc: Association, sop_class: UID) -> bool:
    """Whether the archive accepted the class."""
    return any(context.abstract_syntax == sop_class for context in assoc.accepted_contexts)


def _hasten(event: Event) -> None:
    """Send and acknowledge at once: either delay costs 40 ms for each instance that is fetched."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that stops in the middle of a PDU would otherwise be waited for without end.
        wrapped.socket.settimeout(event.assoc.network_timeout)
        wrapped.recv = partial(_read_promptly, wrapped.socket)  # type: ignore[method-assign]


def _read_promptly(source: socket.socket, count: int) -> bytearray:
    """Read ``count`` bytes, or fewer where the peer hangs up, and let no peer wait for an acknowledgement.

    Many write the head of a PDU by itself, and its body only once that was acknowledged. The kernel falls back to
    delayed acknowledgements by itself, so they are switched off with every read.
    """
    received = bytearray()
    while len(received) < count:
        if hasattr(socket, "TCP_QUICKACK"):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        chunk = source.recv(min(count - len(received), MAX_PDU_BYTES))
        if not chunk:
            break
        received += chunk
    return received


def _keep_answers(assoc: Association) -> None:
    """Leave every message to the caller that waits for it; the association's own loop now and then takes one away."""
    take = assoc.dimse.get_msg
    assoc.dimse.get_msg = lambda block=False: take(True) if block else (None, None)  # type: ignore[method-assign]


def _explain(assoc: Association) -> str:
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        return f"association rejected: {answer.reason_str}"
    if answer is not None and assoc.rejected_contexts:
        return "it takes none of the services asked for"
    return "aborted" if assoc.is_aborted and answer is not None else "no connection, or no answer"
