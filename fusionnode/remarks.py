"""What a site leaves open to others on its network. None of it is wrong everywhere; an administrator has to know it."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from fusionnode.settings import Settings, WebDestinationSettings, is_loopback

_VERIFIED = "verify-full"


def list_remarks(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, str]]:
    """Yield the setting that leaves something open, and what that means; no secret is told.

    Args:
        settings: of the site.
        environment: where PostgreSQL's own client looks for what the URL leaves out (``PGHOST``, ``PGSSLMODE``).
    """
    probes: tuple[tuple[str, Callable[[], str]], ...] = (
        ("peers", lambda: _look_at_peers(settings)),
        ("tls", lambda: _look_at_listener(settings)),
        ("destinations.tls", lambda: _look_at_targets(settings)),
        ("http.host", lambda: _look_at_http(settings)),
        ("database_url", lambda: _look_at_database(settings.ledger_url, environment)),
        ("broker_url", lambda: _look_at_broker(settings.broker_url.get_secret_value())),
        ("user", lambda: _look_at_user(settings)),
    )
    for subject, probe in probes:
        if words := probe():
            yield subject, words


def _look_at_peers(settings: Settings) -> str:
    if settings.is_on_loopback or (settings.tls and settings.tls.ca and settings.tls.require_certificate):
        return ""
    named = [name for name, peer in settings.peers.items() if not peer.networks]
    if not named:
        return ""
    return f"{', '.join(named)}: an AE title is no secret, and any host that names it can send; give `networks` as well"


def _look_at_listener(settings: Settings) -> str:
    if settings.tls or settings.is_on_loopback:
        return ""
    return "the listener speaks DICOM without TLS; whoever is on the way reads and changes what is sent"


def _look_at_targets(settings: Settings) -> str:
    plain = []
    for name, one in [*settings.destinations.items(), *settings.archives.items()]:
        if isinstance(one, WebDestinationSettings):
            parts = urlsplit(one.url)
            is_open = parts.scheme != "https" and not is_loopback(parts.hostname or "")
        else:
            is_open = not one.tls and not is_loopback(one.host)
        plain += [name] * is_open
    if not plain:
        return ""
    return f"{', '.join(plain)}: spoken to without TLS; whoever is on the way reads and changes what is sent"


def _look_at_http(settings: Settings) -> str:
    http = settings.http
    if is_loopback(http.host) or not (http.port or http.sweep_port):
        return ""
    return f"{http.host or '*'}: whoever reaches it reads metrics and health, without a login and without TLS"


def _look_at_database(url: str, environment: Mapping[str, str]) -> str:
    """A path in the place of a host is a socket of this machine, as is no host at all."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        return ""
    asked = parsed.normalized_query.get("host") or (parsed.host or environment.get("PGHOST", ""),)
    # One colon begins a port; an IPv6 address has more.
    named = [host for entry in asked for host in entry.split(",")]
    hosts = [host.partition(":")[0] if host.count(":") == 1 else host for host in named]
    away = [host for host in hosts if host and not host.startswith("/") and not is_loopback(host)]
    mode = (parsed.normalized_query.get("sslmode") or (environment.get("PGSSLMODE", "prefer"),))[-1]
    if not away or mode == _VERIFIED:
        return ""
    return f"{', '.join(away)} is spoken to with sslmode={mode}; only sslmode={_VERIFIED} keeps out who is on the way"


def _look_at_broker(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss") or is_loopback(parts.hostname or "localhost"):
        return ""
    if parts.scheme == "redis":
        return f"{parts.hostname} is spoken to without TLS, its password too; `rediss://` has it"
    asked = parse_qs(parts.query).get("ssl_cert_reqs", ["required"])[-1]
    if asked.lower().removeprefix("cert_") == "required":
        return ""
    return f"{parts.hostname} is not asked for a certificate it can be known by; `ssl_cert_reqs=required` does"


def _look_at_user(settings: Settings) -> str:
    """Root who looks at the spool of another user is not the user that the node runs as."""
    if os.geteuid() != 0:
        return ""
    with suppress(OSError):
        if settings.spool.stat().st_uid != 0:
            return ""
    return "root: a defect that a hostile data set finds would have the whole host; run the node as a user of its own"
