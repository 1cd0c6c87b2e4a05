"""The transport side of an association: prompt acknowledgements, large reads, no polling while there is work (edge).

Nagle's algorithm in the sender and delayed acknowledgements here would cost 40 ms per instance; both are switched off
on this side. pynetdicom's own transport reads 4 KiB at a time, sleeps between polls and cannot watch file descriptors
above 1023. Nor has it a limit to how long a peer may take over one PDU.
"""

import logging
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from socketserver import BaseServer
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.transport import AssociationSocket, ThreadedAssociationServer

from fusionnode.dimse.sockets import acknowledge_at_once, read_promptly
from fusionnode.errors import format_frames
from fusionnode.intake.door import Door
from fusionnode.intake.streaming import IDLE_SECONDS, StreamingProvider
from fusionnode.malformed import NOT_CODABLE

logger = logging.getLogger(__name__)

_LOOP_SECONDS = 0.00001
# For the rest of what a peer was sending when it was told that its association is over.
_LINGER_SECONDS = 0.5
_IDLE, _CLOSING = "Sta1", "Sta13"
_INVALID_PDU = "Evt19"
# As the source of an abort (PS3.8 table 9-26).
_SERVICE_PROVIDER = 2
_SEND_BUFFER_BYTES = 1 << 15


class PromptSocket(AssociationSocket):
    """Reads whole PDUs, acknowledges at once, and waits for data instead of asking for it.

    Attributes:
        touched: whether the peer has sent anything.
    """

    touched: bool
    _poll: select.poll
    _opened: float

    @classmethod
    def take_over(cls, plain: AssociationSocket) -> "PromptSocket":
        """Return a prompt socket in the state of ``plain``, which must not be used any more."""
        prompt = cls.__new__(cls)
        # The constructor would announce the connection to the state machine a second time.
        vars(prompt).update(vars(plain))
        prompt.touched = False
        prompt._opened = time.monotonic()
        prompt._poll = select.poll()
        if plain.socket is not None:
            prompt._poll.register(plain.socket, select.POLLIN)
        return prompt

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits a moment for it unless there is something to send.

        What was read before is dealt with first: it may end the association.
        """
        if self.socket is None or self._is_connected is False:
            return False
        if not self.event_queue.empty() and not self._is_closing:
            return False
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        return bool(self._poll.poll(IDLE_SECONDS * 1000 if self.provider_queue.empty() else 0))

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or fewer when the peer closes the connection first.

        Raises:
            OSError: the peer announced a PDU above `PDU_LIMIT_BYTES`, takes too long over one, or is gone.
        """
        if self.socket is None:
            raise OSError("The connection is closed.")
        return read_promptly(self.socket, nr_bytes, self._find_deadline(), self._note_touch)

    def _note_touch(self) -> None:
        self.touched = True

    def _find_deadline(self) -> float:
        """When what is read now has to be there: an association request soon after the connection."""
        if self._is_closing:
            return time.monotonic() + _LINGER_SECONDS
        if self._assoc.requestor.primitive is None:
            return self._opened + cast("float", self._assoc.acse_timeout)
        return time.monotonic() + cast("float", self._assoc.network_timeout)

    @property
    def _is_closing(self) -> bool:
        return self._assoc.dul.state_machine.current_state == _CLOSING

    def _shutdown_socket(self) -> None:
        # pynetdicom leaves the descriptor open when the peer was quicker and there is nothing to shut down any more.
        if self.socket is not None:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()


class IntakeServer(ThreadedAssociationServer):
    """Accepts connections, lets `Door` decide about each, and sets their socket options on purpose.

    Args:
        *arguments: of pynetdicom's own server.
        door: of this listener.
        **options: of pynetdicom's own server.
    """

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, *arguments: Any, door: Door, **options: Any) -> None:
        self._door = door
        self._arriving: set[tuple[str, int]] = set()
        self._visited = False
        self._counting = threading.Lock()
        super().__init__(*arguments, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; nothing that a peer does keeps the next one waiting."""
        client, address = super().get_request()
        self._visited = True
        client.settimeout(self.ae.acse_timeout)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Answers are short; a peer that reads none of them is not worth more memory.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        acknowledge_at_once(client)
        return client, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the connection may stay; else it is closed, before a byte of it is read."""
        return self._door.admits(client_address[0], self._list_half_open())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Go on with a connection in a thread of its own."""
        with self._counting:
            self._arriving.add(client_address[:2])
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            self._note_arrival(client_address)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Secure the connection where that is asked for, and begin its association."""
        try:
            secured = self._door.secure(request, client_address[0])
            if secured is not None:
                super().process_request_thread(secured, client_address)
        finally:
            self._note_arrival(client_address)

    def service_actions(self) -> None:
        """Let pynetdicom collect its dead associations now and then, but only where there has been one.

        It goes through the whole memory of the process, and every thread waits meanwhile.
        """
        if self._visited:
            super().service_actions()
            self._visited = self._gc[0] > 0 or bool(self._arriving or self.active_associations)

    def list_inside(self) -> list[str]:
        """Return the addresses of the associations that have asked for one and were not turned away."""
        asked = [one for one in self.active_associations if one.requestor.primitive is not None and not one.is_rejected]
        return [str(one.requestor.address) for one in asked]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong before an association existed."""
        logger.error("Connection from %s failed", client_address)

    def shutdown(self) -> None:
        """Stop accepting; running associations go on."""
        # pynetdicom's own method also wants to strike the server off a list that only `start_server` fills.
        BaseServer.shutdown(self)
        self.server_close()

    def _list_half_open(self) -> list[str]:
        """Addresses of the connections that have not asked for an association, from the threads that really live."""
        associations = [one.requestor for one in self.active_associations if one.requestor.primitive is None]
        waiting = {(str(one.address), int(one.port or 0)) for one in associations}
        with self._counting:
            # For a moment a connection is both.
            return [address for address, _ in waiting | self._arriving]

    def _note_arrival(self, client_address: Any) -> None:
        with self._counting:
            self._arriving.discard(client_address[:2])


def hasten(assoc: Association, provider: StreamingProvider) -> None:
    """Give an association that has not started yet the streaming provider and the prompt socket."""
    assoc.dimse = provider
    if assoc.dul.socket is not None:
        assoc.dul.socket = PromptSocket.take_over(assoc.dul.socket)
    # The loop now waits inside `PromptSocket.ready`; its own pause would only come on top.
    assoc.dul._run_loop_delay = _LOOP_SECONDS
    machine = assoc.dul.state_machine
    vars(machine)["do_action"] = partial(_do_action, assoc.dul, machine.do_action)
    vars(assoc)["run"] = partial(_run_association, assoc, assoc.run)
    vars(assoc.dul)["run"] = partial(_run_transport, assoc.dul, assoc.dul.run)


def allow_time(assoc: Association) -> None:
    """Give an association that was let in the patience of one, for what is sent to the peer too."""
    # The peer may be gone again already.
    if assoc.dul.socket is not None and assoc.dul.socket.socket is not None:
        with suppress(OSError):
            assoc.dul.socket.socket.settimeout(assoc.network_timeout)


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


def _do_action(dul: DULServiceProvider, act: Callable[[str], None], event: str) -> None:
    """Let the state machine act; pynetdicom's thread would die of what it cannot, and leave the connection as it is.

    What of ours comes too late, when the peer was aborted already, is dropped. A PDU whose values make no sense, which
    is noticed here at the latest, is answered as an invalid one.
    """
    try:
        act(event)
    except InvalidEventError:
        with suppress(queue.Empty):
            dul.to_provider_queue.get_nowait()
    except NOT_CODABLE as problem:
        if event == _INVALID_PDU:
            raise
        logger.warning("Aborting the association of %s: %s", dul.assoc.requestor.address, type(problem).__name__)
        dul._kill_thread = False
        dul.event_queue.put(_INVALID_PDU)


def _run_association(assoc: Association, run: Callable[[], None]) -> None:
    """Run the thread that negotiates and serves; whatever a peer makes pynetdicom raise there ends the association."""
    try:
        run()
    except Exception as problem:
        logger.error("Aborting the association with %s: %s", assoc.requestor.address, format_frames(problem))
        assoc.is_established = False
        assoc.dul.event_queue.put(_INVALID_PDU)


def _run_transport(dul: DULServiceProvider, run: Callable[[], None]) -> None:
    """Run the thread that reads and writes; one that ends out of turn would leave the connection, and its evidence."""
    try:
        run()
    except Exception as problem:
        logger.error("Cutting the connection of %s: %s", dul.assoc.requestor.address, format_frames(problem))
    if dul.state_machine.current_state != _IDLE and dul.socket is not None:
        dul.assoc.is_aborted, dul.assoc.is_established = True, False
        if dul.socket.socket is not None:
            abort = A_ABORT_RQ()
            abort.source, abort.reason_diagnostic = _SERVICE_PROVIDER, 0
            dul.socket.send(abort.encode())
        dul.socket.close()
        dul.state_machine.current_state = _IDLE
        evt.trigger(dul.assoc, evt.EVT_CONN_CLOSE, {"address": (dul.assoc.requestor.address, dul.assoc.requestor.port)})
