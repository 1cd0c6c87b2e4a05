"""Ends TLS in front of a server that speaks plain HTTP, as the reverse proxy of a hospital does."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def ending_tls(tls: ssl.SSLContext, port: int) -> Iterator[int]:
    """Yield a port of the loopback interface on which ``port`` is reached by TLS."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            # Whoever does not like the certificate hangs up, and so may either end at any time.
            with (
                suppress(OSError),
                tls.wrap_socket(self.request, server_side=True) as secured,
                socket.create_connection(("127.0.0.1", port)) as plain,
            ):
                answers = threading.Thread(target=_pump, args=(plain, secured), daemon=True)
                answers.start()
                _pump(secured, plain)
                answers.join()

    with _Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes one way until the source hangs up, then tell the sink."""
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
