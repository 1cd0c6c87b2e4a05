"""The transport side of an association: no delayed packet, no delayed acknowledgement, no wait without end (edge)."""

import select
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import cast

from pynetdicom.association import Association
from pynetdicom.events import Event

READ_BYTES = 131072
"""The largest PDU asked for of a peer that this node calls."""

PDU_LIMIT_BYTES = 1 << 20
"""The largest PDU taken at all: an association request may offer everything in every syntax, and is still below it."""


def hasten(event: Event) -> None:
    """Send and acknowledge at once: either delay costs 40 ms for each instance. Called when a connection opens.

    A peer that stops in the middle of a PDU, reading or writing, or only trickles, would otherwise be waited for
    without end.
    """
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wrapped.socket.settimeout(event.assoc.network_timeout)
        acknowledge_at_once(wrapped.socket)
        wrapped.recv = partial(_read_in_time, event.assoc, wrapped.socket)  # type: ignore[method-assign]


def read_promptly(
    source: socket.socket, count: int, deadline: float, heard: Callable[[], None] = lambda: None
) -> bytearray:
    """Read ``count`` bytes, or fewer where the peer hangs up, and let no peer wait for an acknowledgement.

    Many write the head of a PDU by itself, and its body only once that was acknowledged.

    Args:
        source: has a time-out of its own, for what TLS needs beyond the bytes that are there.
        count: as announced by the peer.
        deadline: of `time.monotonic`, for all of them, however often a few come.
        heard: called whenever some came.

    Raises:
        OSError: the peer announced more than `PDU_LIMIT_BYTES`, takes too long, or is gone.
    """
    if count > PDU_LIMIT_BYTES:
        raise OSError(f"A PDU of {count} bytes is announced; the limit is {PDU_LIMIT_BYTES}.")
    received = bytearray(count)
    filled = 0
    with memoryview(received) as view:
        while filled < count:
            _await_bytes(source, deadline)
            some = source.recv_into(view[filled:])
            if not some:
                break
            filled += some
            heard()
            acknowledge_at_once(source)
    del received[filled:]
    return received


def acknowledge_at_once(source: socket.socket) -> None:
    """Switch delayed acknowledgements off; the kernel falls back to them by itself, so again after every read."""
    if hasattr(socket, "TCP_QUICKACK"):
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _read_in_time(assoc: Association, source: socket.socket, count: int) -> bytearray:
    return read_promptly(source, count, time.monotonic() + cast("float", assoc.network_timeout))


def _await_bytes(source: socket.socket, deadline: float) -> None:
    if isinstance(source, ssl.SSLSocket) and source.pending():
        return
    poll = select.poll()
    poll.register(source, select.POLLIN)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError("the peer takes too long over one PDU")
