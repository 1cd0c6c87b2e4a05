"""The transport side of an association: prompt acknowledgements, large reads, no polling while there is work (edge).

Nagle's algorithm in the sender and delayed acknowledgements here would cost 40 ms per instance; both are switched off
on this side. pynetdicom's own transport reads 4 KiB at a time, sleeps between polls and cannot watch file descriptors
above 1023.
"""

import logging
import queue
import select
import socket
from contextlib import suppress
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket, ThreadedAssociationServer

from fusionnode.intake.streaming import IDLE_SECONDS, StreamingProvider

logger = logging.getLogger(__name__)

# Large enough for an association request that offers everything in every syntax, small enough to be harmless.
PDU_LIMIT_BYTES = 1 << 20

_LOOP_SECONDS = 0.00001


class PromptSocket(AssociationSocket):
    """Reads whole PDUs, acknowledges at once, and waits for data instead of asking for it."""

    _poll: select.poll

    @classmethod
    def take_over(cls, plain: AssociationSocket) -> "PromptSocket":
        """Return a prompt socket in the state of ``plain``, which must not be used any more."""
        prompt = cls.__new__(cls)
        # The constructor would announce the connection to the state machine a second time.
        vars(prompt).update(vars(plain))
        prompt._poll = select.poll()
        if plain.socket is not None:
            prompt._poll.register(plain.socket, select.POLLIN)
        return prompt

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a moment for it unless there is something to send."""
        if self.socket is None or self._is_connected is False:
            return False
        return bool(self._poll.poll(IDLE_SECONDS * 1000 if self.provider_queue.empty() else 0))

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or fewer when the peer closes the connection first.

        Raises:
            OSError: the peer announced a PDU above `PDU_LIMIT_BYTES`, went silent in the middle of one, or is gone.
        """
        if self.socket is None or nr_bytes > PDU_LIMIT_BYTES:
            raise OSError(f"A PDU of {nr_bytes} bytes is announced; the limit is {PDU_LIMIT_BYTES}.")
        received = bytearray(nr_bytes)
        view = memoryview(received)
        filled = 0
        while filled < nr_bytes:
            count = self.socket.recv_into(view[filled:])
            if not count:
                break
            filled += count
            _acknowledge_at_once(self.socket)
        view.release()
        del received[filled:]
        return received

    def _shutdown_socket(self) -> None:
        # pynetdicom leaves the descriptor open when the peer was quicker and there is nothing to shut down any more.
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class IntakeServer(ThreadedAssociationServer):
    """Accepts connections and sets their socket options on purpose."""

    request_queue_size = 128

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; a peer that goes silent in the middle of a PDU times out."""
        client, address = super().get_request()
        client.settimeout(self.ae.network_timeout)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        _acknowledge_at_once(client)
        return client, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong before an association existed."""
        logger.error("Connection from %s failed", client_address)

    def shutdown(self) -> None:
        """Stop accepting; running associations go on."""
        # pynetdicom's own method also wants to strike the server off a list that only `start_server` fills.
        BaseServer.shutdown(self)
        self.server_close()


def hasten(assoc: Association, provider: StreamingProvider) -> None:
    """Give an association that has not started yet the streaming provider and the prompt socket."""
    assoc.dimse = provider
    if assoc.dul.socket is not None:
        assoc.dul.socket = PromptSocket.take_over(assoc.dul.socket)
    # The loop now waits inside `PromptSocket.ready`; its own pause would only come on top.
    assoc.dul._run_loop_delay = _LOOP_SECONDS


def dismiss(assoc: Association) -> None:
    """End an association whose peer left before it asked for anything.

    pynetdicom would keep its threads, and its share of the association limit, until the request times out; every
    port check of a load balancer would cost that much.
    """
    if assoc.requestor.primitive is None:
        # Nothing instead of a request is what the association's thread gets when its waiting time is over.
        cast("queue.Queue[None]", assoc.dul.to_user_queue).put(None)


def hang_up(assoc: Association) -> None:
    """Abort an association; a connection without one is cut, as there is nobody to tell."""
    if assoc.is_established:
        assoc.abort()
    elif assoc.dul.socket is not None and assoc.dul.socket.socket is not None:
        with suppress(OSError):
            assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)


def _acknowledge_at_once(client: socket.socket) -> None:
    # The kernel falls back to delayed acknowledgements by itself, so this is repeated after every read.
    if hasattr(socket, "TCP_QUICKACK"):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
