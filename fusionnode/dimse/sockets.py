"""The transport side of an association: no delayed packet, no delayed acknowledgement, no wait without end (edge)."""

import socket
from functools import partial

from pynetdicom.events import Event

READ_BYTES = 131072
"""The largest PDU asked for, and read at a time."""


def hasten(event: Event) -> None:
    """Send and acknowledge at once: either delay costs 40 ms for each instance. Called when a connection opens.

    A peer that stops in the middle of a PDU, reading or writing, would otherwise be waited for without end.
    """
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped.socket.settimeout(event.assoc.network_timeout)
        wrapped.recv = partial(read_promptly, wrapped.socket)  # type: ignore[method-assign]


def read_promptly(source: socket.socket, count: int) -> bytearray:
    """Read ``count`` bytes, or fewer where the peer hangs up, and let no peer wait for an acknowledgement.

    Many write the head of a PDU by itself, and its body only once that was acknowledged. The kernel falls back to
    delayed acknowledgements by itself, so they are switched off with every read.
    """
    received = bytearray()
    while len(received) < count:
        if hasattr(socket, "TCP_QUICKACK"):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        chunk = source.recv(min(count - len(received), READ_BYTES))
        if not chunk:
            break
        received += chunk
    return received
