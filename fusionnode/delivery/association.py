"""Associations to DICOM nodes: how to reach them, how long to wait, and why one could not be had (edge)."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import EVT_CONN_OPEN, Event, EventHandlerType
from pynetdicom.presentation import PresentationContext

from fusionnode.errors import DestinationUnreachable


@dataclass(frozen=True)
class Destination:
    """A DICOM node that takes C-STORE, under the name the site file gives it.

    Attributes:
        tls: how to secure the connection and whom to trust; None for a plain one.
        commits: whether it offers storage commitment (PS3.4 annex J).
    """

    name: str
    ae_title: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    commits: bool = False


@dataclass(frozen=True)
class Patience:
    """How long to wait for a destination, in seconds.

    For the connection, for one answer, for any sign of life, and for a commitment report before the association in
    which it was asked for is released; most send it later, over one of their own.
    """

    connection_seconds: float = 15.0
    answer_seconds: float = 60.0
    network_seconds: float = 90.0
    report_seconds: float = 1.0


@contextmanager
def associate(
    peer: Destination,
    ae_title: str,
    contexts: list[PresentationContext],
    patience: Patience,
    handlers: Sequence[EventHandlerType] = (),
) -> Iterator[Association]:
    """Yield an association, released at the end. When the peer takes none of the contexts it is not established.

    Raises:
        DestinationUnreachable: there is none to be had; the reason says whether it is TLS.
    """
    entity = ApplicationEntity(ae_title)
    entity.connection_timeout = entity.acse_timeout = patience.connection_seconds
    entity.dimse_timeout = patience.answer_seconds
    entity.network_timeout = patience.network_seconds
    assoc = entity.associate(
        peer.host,
        peer.port,
        contexts,
        peer.ae_title,
        tls_args=(peer.tls, peer.host) if peer.tls else None,
        evt_handlers=[(EVT_CONN_OPEN, _prepare_socket), *handlers],
    )
    if not assoc.is_established and not assoc.rejected_contexts:
        raise name_unreachable(peer, _explain_refusal(assoc, peer, patience))
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


@contextmanager
def own_answers(assoc: Association) -> Iterator[None]:
    """Leave every answer to the caller that waits for it, and every request of the peer to the time after.

    The association's own loop looks for requests of the peer in the same queue and, under load, now and then takes an
    answer out of it and drops it. The caller in turn would take a request that comes first for a bad answer.
    """
    take = assoc.dimse.get_msg
    requests: list[Any] = []

    def take_answer(block: bool = False) -> tuple[Any, Any]:
        while block:
            context_id, message = take(True)
            if message is None or not message.is_valid_request:
                return context_id, message
            requests.append((context_id, message))
        return None, None

    assoc.dimse.get_msg = take_answer  # type: ignore[method-assign]
    try:
        yield
    finally:
        assoc.dimse.get_msg = take  # type: ignore[method-assign]
        for request in requests:
            assoc.dimse.msg_queue.put(request)


def name_unreachable(peer: Destination, why: str) -> DestinationUnreachable:
    """Return the error that says of ``peer`` why nothing could be done with it."""
    return DestinationUnreachable(
        f"Destination {describe_peer(peer)}: {why}.",
        remedy="Check its address and AE titles with `fusionnode doctor`; it will be tried again.",
        destination=peer.name,
        why=why,
    )


def describe_peer(peer: Destination) -> str:
    """Return its name and where it is."""
    return f"{peer.name} ({peer.ae_title} at {peer.host}:{peer.port})"


def _prepare_socket(event: Event) -> None:
    """Switch Nagle's algorithm off, and let no peer that stops reading hold a send up for ever.

    With Nagle's algorithm every small instance waits 40 ms for the peer's acknowledgement; and once connected
    pynetdicom would write to the socket without any time limit.
    """
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped.socket.settimeout(event.assoc.network_timeout)


def _explain_refusal(assoc: Association, peer: Destination, patience: Patience) -> str:
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        return f"association rejected: {answer.reason_str}"
    if peer.tls is not None and (trouble := _explain_tls(peer, peer.tls, patience.connection_seconds)):
        return trouble
    return "aborted" if assoc.is_aborted and answer is not None else "no connection, or no answer"


def _explain_tls(peer: Destination, context: ssl.SSLContext, seconds: float) -> str:
    """Shake hands once more to hear what is wrong, which pynetdicom does not tell; empty when that goes well."""
    try:
        with (
            socket.create_connection((peer.host, peer.port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=peer.host) as secured,
        ):
            # In TLS 1.3 a server that does not like our certificate says so after the handshake.
            secured.settimeout(min(seconds, 2.0))
            with suppress(TimeoutError):
                secured.recv(1)
    except ssl.SSLCertVerificationError as problem:
        return f"its certificate is not accepted: {problem.verify_message}"
    except ssl.SSLError as problem:
        return f"no TLS connection: {problem.reason or 'the handshake broke off'}"
    except OSError:
        return ""
    return ""
