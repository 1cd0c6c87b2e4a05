"""Decides who comes in to a listener, and tells of everybody who does not (edge)."""

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

from fusionnode.flow.observing import UNOBSERVED, IntakeObserver, RemotePeer
from fusionnode.intake.access import (
    ANYBODY,
    CONGESTED,
    CONTEXT_UNSUPPORTED,
    TOO_MANY,
    AllowList,
    Rejection,
    parse_address,
)
from fusionnode.intake.limits import DEFAULT_LIMITS, ListenerLimits
from fusionnode.intake.tls import read_subject, shake_hands

logger = logging.getLogger(__name__)

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_REASONS = {
    (1, 1, 1): "no reason can be given",
    (1, 1, 2): "application context not supported",
    (1, 1, 3): "calling AE title not allowed from its address",
    (1, 1, 7): "called AE title not ours",
    (2, 3, 1): "hardly any space is left in the spool",
    (2, 3, 2): "too many associations",
}


@dataclass(frozen=True)
class Entrance:
    """What a listener asks of those who come.

    Attributes:
        allowed: who they may be.
        limits: how many they may be, and how slow.
        context: makes the TLS context for the next connection; None: connections are not secured.
    """

    allowed: AllowList = ANYBODY
    limits: ListenerLimits = DEFAULT_LIMITS
    context: Callable[[], ssl.SSLContext] | None = None


OPEN = Entrance()


class Door:
    """Turns away whom the entrance of a listener does not admit. Everybody who is, is logged and told of."""

    def __init__(
        self,
        entrance: Entrance = OPEN,
        observer: IntakeObserver = UNOBSERVED,
        is_congested: Callable[[], bool] = lambda: False,
    ) -> None:
        """``is_congested`` tells whether so little space is left that nobody is let in any more."""
        self.entrance = entrance
        self._observer = observer
        self._is_congested = is_congested

    def admits(self, address: str, half_open: Sequence[str]) -> bool:
        """Whether a connection may stay open, before any byte of it is read.

        Args:
            address: it comes from.
            half_open: addresses of the connections that have not asked for an association yet.
        """
        limits = self.entrance.limits
        if not self.entrance.allowed.admits(parse_address(address)):
            self.tell(RemotePeer(address=address), "address not allowed")
        elif len(half_open) >= limits.max_half_open or half_open.count(address) >= limits.max_half_open_per_address:
            self.tell(RemotePeer(address=address), "too many connections without an association")
        else:
            return True
        return False

    def secure(self, client: socket.socket, address: str) -> socket.socket | None:
        """Return the connection as it is to be used; None where it was closed because its TLS handshake failed."""
        if self.entrance.context is None:
            return client
        try:
            return shake_hands(client, self.entrance.context(), self.entrance.limits.acse_seconds)
        except OSError as problem:
            self.tell(RemotePeer(address=address), f"TLS: {_name_problem(problem)}")
            return None

    def judge(self, assoc: Association, inside: Sequence[str]) -> Rejection | None:
        """Return why an association request is turned away, None where it is not.

        Args:
            assoc: has just asked.
            inside: addresses of the associations that have asked and were not turned away, this one included.
        """
        peer, limits = describe_peer(assoc), self.entrance.limits
        rejection = self.entrance.allowed.judge(parse_address(peer.address), peer.ae_title, peer.called)
        request = cast("A_ASSOCIATE", assoc.requestor.primitive)
        if rejection is None and str(request.application_context_name) != _APPLICATION_CONTEXT:
            rejection = CONTEXT_UNSUPPORTED
        of_this = inside.count(peer.address)
        if rejection is None and (
            len(inside) > limits.max_associations or of_this > limits.max_associations_per_address
        ):
            rejection = TOO_MANY
        if rejection is None and self._is_congested():
            rejection = CONGESTED
        return rejection

    def reject(self, assoc: Association, rejection: Rejection) -> None:
        """Answer an association request with a rejection, and wait until it is on its way."""
        try:
            self.tell(describe_peer(assoc), _REASONS[rejection])
        finally:
            # Whatever goes wrong in the telling, the peer stays outside.
            assoc.acse.send_reject(*rejection)
            assoc.kill()

    def tell(self, peer: RemotePeer, reason: str) -> None:
        """Log and tell that somebody was turned away; ``reason`` is a few words of ours, never the peer's."""
        logger.warning("%r at %s turned away: %s", peer.ae_title, peer.address, reason)
        self._observer.association_refused(peer, reason)


OPEN_DOOR = Door()


def describe_peer(assoc: Association) -> RemotePeer:
    """Return who is at the other end of an association, as far as it said so."""
    requestor, request = assoc.requestor, assoc.requestor.primitive
    calling = str(getattr(request, "calling_ae_title", None) or requestor.ae_title or "").strip()
    called = str(getattr(request, "called_ae_title", None) or "").strip()
    connection = assoc.dul.socket.socket if assoc.dul.socket else None
    return RemotePeer(calling, called, str(requestor.address), read_subject(connection))


def _name_problem(problem: OSError) -> str:
    """What OpenSSL calls it, in its own words: those of the peer never get here."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"certificate not accepted ({problem.verify_message})"
    if isinstance(problem, ssl.SSLError):
        return (problem.reason or "handshake failed").lower().replace("_", " ")
    return "took too long" if isinstance(problem, TimeoutError) else "connection lost in the handshake"
