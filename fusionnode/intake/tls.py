"""TLS at the listener: a handshake with a time limit, and certificates that may change while it runs (edge)."""

import logging
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fusionnode.errors import SettingsInvalid

logger = logging.getLogger(__name__)


class FreshContext:
    """The TLS context of a listener, made anew when one of its files changed.

    Files that cannot be used leave the context before them in force, so that a rotation half done harms nobody.

    Args:
        make: makes a context of the files; raises `SettingsInvalid` when they are no good.
        files: to watch.

    Raises:
        SettingsInvalid: they are no good from the start.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> None:
        self._make, self._files = make, tuple(files)
        self._seen = self._look()
        self._context = make()

    def __call__(self) -> ssl.SSLContext:
        """Return the context in force."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._context = self._make()
                logger.info("The certificates of the listener changed; new connections get the new ones")
            except SettingsInvalid as problem:
                logger.error("The certificates of the listener changed and the old ones stay in force: %s", problem)
        return self._context

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_fingerprint(path) for path in self._files)


def shake_hands(client: socket.socket, context: ssl.SSLContext, seconds: float) -> ssl.SSLSocket:
    """Return ``client`` secured as the server's end; it must not be used itself any more.

    Args:
        client: connected.
        context: of a server.
        seconds: for the whole handshake, however slowly the bytes come.

    Raises:
        OSError: the handshake failed or took too long; the connection is closed.
    """
    deadline = time.monotonic() + seconds
    patience = client.gettimeout()
    secured = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    try:
        secured.settimeout(0)
        while not _go_on(secured, deadline):
            pass
        secured.settimeout(patience)
    except OSError:
        secured.close()
        raise
    return secured


def read_subject(secured: object) -> str:
    """Return the subject of the certificate that the peer showed (RFC 4514), empty without one."""
    certificate: Any = secured.getpeercert() if isinstance(secured, ssl.SSLSocket) else None
    parts = [pair for relative in (certificate or {}).get("subject", ()) for pair in relative]
    return ",".join(f"{name}={value}" for name, value in parts)


def _go_on(secured: ssl.SSLSocket, deadline: float) -> bool:
    """Go on with the handshake as far as the bytes reach; whether it is done."""
    try:
        secured.do_handshake()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as wanted:
        waiting = select.poll()
        waiting.register(secured, select.POLLIN if isinstance(wanted, ssl.SSLWantReadError) else select.POLLOUT)
        left = deadline - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000):
            raise TimeoutError("the handshake took too long") from None
        return False
    return True


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)  # noqa: PTH116 - follows the links that renew certificates in one step
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
