"""Answers /metrics, /healthz and /readyz over HTTP (edge). Nobody who is slow, silent or many can make it hang."""

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from fusionnode import __version__
from fusionnode.errors import FusionNodeError, SettingsInvalid
from fusionnode.traces.meters import CONTENT_TYPE

logger = logging.getLogger(__name__)

Check = Callable[[], str]
"""Says in words what it found; raises where that is ill. ``FusionNodeError`` speaks for itself."""

_CHECK_SECONDS = 5.0
_SILENCE_SECONDS = 5.0
_CONNECTION_SECONDS = 30.0
_CONNECTIONS = 16
# A connection that gave way to another may still have its thread, which waits for an answer.
_THREADS = 2 * _CONNECTIONS
_POLL_SECONDS = 0.1


class _Asked:
    """One question that is being answered, in a thread that keeps no process from ending."""

    def __init__(self, name: str, question: Check) -> None:
        self._question = question
        self._answered = threading.Event()
        self._answer: dict[str, Any] = {}
        threading.Thread(target=self._run, name=f"check-{name}", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether there is an answer."""
        return self._answered.is_set()

    def await_answer(self, seconds: float) -> dict[str, Any] | None:
        """Return what was answered, None where that takes too long."""
        return self._answer if self._answered.wait(seconds) else None

    def _run(self) -> None:
        try:
            self._answer = {"well": True, "words": self._question()}
        except FusionNodeError as error:
            self._answer = {"well": False, "words": str(error)}
        except Exception as error:  # whatever a check trips over is what the operator has to hear, without its words
            self._answer = {"well": False, "words": type(error).__name__}
        self._answered.set()


class Checks:
    """Questions that each have a few seconds for their answer; one that hangs is not asked a second time meanwhile."""

    def __init__(self, questions: Mapping[str, Check], seconds: float = _CHECK_SECONDS) -> None:
        self._questions = questions
        self._seconds = seconds
        self._turn = threading.Lock()
        self._asked: dict[str, _Asked] = {}

    def ask(self) -> tuple[bool, dict[str, dict[str, Any]]]:
        """Return whether all is well, and by name what each one said."""
        with self._turn:
            for name, question in self._questions.items():
                if name not in self._asked or self._asked[name].is_over:
                    self._asked[name] = _Asked(name, question)
            asked = dict(self._asked)
        deadline = time.monotonic() + self._seconds
        late = {"well": False, "words": f"did not answer within {self._seconds:g} s"}
        answers = {name: one.await_answer(max(0.0, deadline - time.monotonic())) or late for name, one in asked.items()}
        return all(answer["well"] for answer in answers.values()), answers


class Endpoint:
    """Serves what monitoring asks for, in threads of its own.

    Args:
        host: address to bind.
        port: to listen on; 0 for any free one.
        expose: the metrics.
        alive, ready: the questions behind /healthz and /readyz.
    """

    def __init__(self, host: str, port: int, expose: Callable[[], bytes], alive: Checks, ready: Checks) -> None:
        self._address = (host, port)
        self._pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": self._expose,
            "/healthz": lambda: _report(alive),
            "/readyz": lambda: _report(ready),
        }
        self._collect, self._turn = expose, threading.Lock()
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port really listened on; the configured one while stopped."""
        return self._address[1] if self._server is None else int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to listen.

        Raises:
            SettingsInvalid: the address cannot be bound.
        """
        host, port = self._address
        try:
            self._server = _Server(self._address, self._pages)
        except OSError as problem:
            raise SettingsInvalid(
                f"Cannot serve HTTP on {host or '*'}:{port}: {problem.strerror}.",
                remedy="Set another `http.port`, or none.",
                port=port,
            ) from problem
        thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="http-endpoint", daemon=True
        )
        thread.start()
        logger.info("metrics and health on http://%s:%d", host, self.port)

    def stop(self) -> None:
        """Stop listening; safe to repeat."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _expose(self) -> tuple[int, str, bytes]:
        """Collect the metrics, for one client at a time: what they are read from may hang."""
        if not self._turn.acquire(timeout=_CHECK_SECONDS):
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"The metrics are still being collected.\n"
        try:
            return HTTPStatus.OK, CONTENT_TYPE, self._collect()
        finally:
            self._turn.release()


class _Server(ThreadingHTTPServer):
    """One thread per connection, few connections, and none for long."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Callable[[], tuple[int, str, bytes]]]) -> None:
        self.pages = pages
        self._turn = threading.Lock()
        self._connections: dict[socket.socket, float] = {}
        self._room = threading.BoundedSemaphore(_THREADS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Without the look-up of the host's name, which may hang where there is no name server.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection; where there are too many, the oldest gives way to it, or it is closed at once."""
        now = time.monotonic()
        with self._turn:
            late = [one for one, begun in self._connections.items() if now - begun > _CONNECTION_SECONDS]
            if len(self._connections) >= _CONNECTIONS and not late:
                late = [min(self._connections, key=self._connections.__getitem__)]
            for one in late:
                self._connections.pop(one)
                _cut(one)
            self._connections[request] = now
        if not self._room.acquire(timeout=_POLL_SECONDS):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # The host gives no thread; whoever called closes the connection.
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._turn:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's concern."""
        logger.debug("an HTTP connection broke")


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of the pages; nothing a client sends is kept, logged or sent back."""

    timeout = _SILENCE_SECONDS
    server: _Server
    server_version = f"fusionnode/{__version__}"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"There are /metrics, /healthz and /readyz.\n")
        else:
            self._answer(*page())

    do_HEAD = do_GET  # noqa: N815 - the name that http.server gives it

    def log_message(self, *_: Any) -> None:
        """Nothing: a scrape every few seconds is no news."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _report(checks: Checks) -> tuple[int, str, bytes]:
    well, answers = checks.ask()
    body = json.dumps({"well": well, "checks": answers}, indent=2) + "\n"
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", body.encode()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
