"""Looks at an installation the way a worried administrator would, and says what is wrong."""

import importlib.metadata
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fusionnode import __version__
from fusionnode.certificates import find_end
from fusionnode.errors import FusionNodeError
from fusionnode.exposure import refuse_exposed
from fusionnode.remarks import list_remarks
from fusionnode.settings import PeerSettings, Settings, WebArchiveSettings, WebDestinationSettings
from fusionnode.wiring import build_archive, build_entrance, build_sender, check_secrets, load_pipelines, open_spool

_LIBRARIES = ("pydicom", "pynetdicom", "SimpleITK", "highdicom", "torch", "numpy", "celery", "redis", "SQLAlchemy")
_RENEWAL = timedelta(days=30)
_HTTP_SECONDS = 8.0  # longer than the slowest check behind /readyz


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``well`` is None where it is only told, and to be noted where it ``is_remark``."""

    subject: str
    well: bool | None
    words: str
    is_remark: bool = False


@dataclass(frozen=True)
class _Undecided:
    """What a probe says that could not tell whether all is well."""

    words: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield one finding after the other; a probe that fails is a finding, never an exception."""
    yield Finding("fusionnode", None, __version__)
    for library in _LIBRARIES:
        yield Finding(library, None, importlib.metadata.version(library))
    probes: list[tuple[str, Callable[[Settings], str | _Undecided]]] = [
        ("accelerator", _probe_accelerator),
        ("pipelines", _probe_pipelines),
        ("secrets", _probe_secrets),
        ("spool", _probe_spool),
        ("database", _probe_database),
        ("broker", _probe_broker),
        ("audit", _probe_audit),
        ("certificates", _probe_certificates),
        ("http.port", lambda settings: _probe_http(settings, settings.http.port)),
        ("http.sweep_port", _probe_sweep_port),
    ]
    for subject, probe in probes:
        yield _examine_one(subject, lambda probe=probe: probe(settings))  # type: ignore[misc]
    for name in settings.destinations:
        yield _examine_one(f"destination {name}", lambda name=name: _probe_destination(settings, name))  # type: ignore[misc]
    for name in settings.archives:
        yield _examine_one(f"archive {name}", lambda name=name: _probe_archive(settings, name))  # type: ignore[misc]
    yield _examine_one("reach", lambda: _probe_reach(settings))
    yield from (Finding(subject, None, words, is_remark=True) for subject, words in list_remarks(settings))


def _examine_one(subject: str, probe: Callable[[], str | _Undecided]) -> Finding:
    try:
        said = probe()
    except FusionNodeError as error:
        return Finding(subject, False, str(error))
    except Exception as error:  # whatever a probe trips over is what the administrator has to hear
        return Finding(subject, False, f"{type(error).__name__}: {error}")
    return Finding(subject, None, said.words) if isinstance(said, _Undecided) else Finding(subject, True, said)


def _probe_accelerator(settings: Settings) -> str:
    import torch

    from fusionnode.fusion.fuse import choose_device

    if choose_device(settings.device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} threads of the processor"


def _probe_pipelines(settings: Settings) -> str:
    return ", ".join(pipeline.identifier for pipeline in load_pipelines(settings, settings.destinations).values())


def _probe_secrets(settings: Settings) -> str:
    count = check_secrets(settings)
    return f"{count} files of keys and passwords that no other user can read, and no certificate that one can change"


def _probe_spool(settings: Settings) -> str:
    free = open_spool(settings).free_bytes()
    if free < settings.spool_reserve_mb * 1024 * 1024:
        raise FusionNodeError(
            f"{settings.spool} has {free >> 20} MiB free, less than the reserve.", remedy="Make room."
        )
    return f"{settings.spool}, {free >> 20} MiB free of {shutil.disk_usage(settings.spool).total >> 20}"


def _probe_database(settings: Settings) -> str:
    from sqlalchemy.engine import make_url

    from fusionnode.index.store import open_ledger

    refuse_exposed(settings.list_ledger_files(), "The database")
    ledger = open_ledger(settings.ledger_url)
    jobs = len(ledger.list_jobs())
    ledger.close()
    return f"{make_url(settings.ledger_url).render_as_string(hide_password=True)}, {jobs} jobs"


def _probe_broker(settings: Settings) -> str:
    import redis

    url = settings.broker_url.get_secret_value()
    if not url:
        return "none; the node works embedded"
    redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3).ping()
    return "answers"


def _probe_audit(settings: Settings) -> str:
    folder = settings.audit.folder or settings.spool / "audit"
    refuse_exposed([folder], "The audit trail")
    known = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(known, os.W_OK | os.X_OK):
        raise FusionNodeError(f"{folder} cannot be written.", remedy="Give it to the user that runs fusionnode.")
    if settings.audit.read_key():
        return f"{folder}, sealed with a key"
    return f"{folder}, without a key: seals show damage, not malice, and patients are not named"


def _probe_certificates(settings: Settings) -> str:
    """Tell which certificate runs out first; one of ours is ill a month before, a file of authorities once all are."""
    now = datetime.now(UTC)
    files = settings.list_certificate_files()
    ends = [(find_end(path, is_authority=is_authority), path) for path, is_authority in files.items()]
    late = sorted(one for one in ends if one[0] < now + _RENEWAL)
    if late:
        words = ", ".join(f"{path} {'ran' if end < now else 'runs'} out on {end:%Y-%m-%d}" for end, path in late)
        raise FusionNodeError(
            f"{words}.", remedy="Replace the files; the listener takes them by itself, what sends needs a restart."
        )
    if not ends:
        return "none"
    end, path = min(ends)
    return f"{len(ends)} files; the first to run out is {path}, on {end:%Y-%m-%d}"


def _probe_http(settings: Settings, port: int | None) -> str | _Undecided:
    """Ask the process that serves on ``port`` whether it is ready, if there is one that can be reached from here."""
    if not port:
        return "none; nothing is served"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http.host, settings.http.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/readyz"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_HTTP_SECONDS) as answer:
            answered = answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            answered = refusal.read()
    except urllib.error.URLError:
        return _Undecided(
            f"nothing answers on {host}:{port}; the process does not run, or it does in another container"
        )
    try:
        checks = json.loads(answered)["checks"]
        trouble = [f"{name}: {one['words']}" for name, one in checks.items() if not one["well"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FusionNodeError(f"Something else answers on {url}.", remedy="Set another port.") from None
    if trouble:
        raise FusionNodeError(f"{url} is not ready: {'; '.join(trouble)}")
    return f"{url} is ready"


def _probe_sweep_port(settings: Settings) -> str | _Undecided:
    if not settings.broker_url.get_secret_value():
        return "not used; the node works embedded"
    return _probe_http(settings, settings.http.sweep_port)


def _probe_destination(settings: Settings, name: str) -> str:
    answer = build_sender(settings).echo(name)
    one = settings.destinations[name]
    if isinstance(one, WebDestinationSettings):
        return f"{one.url} answers {answer}"
    return f"{one.ae_title} at {one.host}:{one.port} answers C-ECHO{' over TLS' if one.tls else ''}"


def _probe_archive(settings: Settings, name: str) -> str:
    answer = build_archive(settings, name).probe()
    one = settings.archives[name]
    if isinstance(one, WebArchiveSettings):
        return f"{one.url} answers {answer}"
    return f"{one.ae_title} at {one.host}:{one.port} answers {answer}{' over TLS' if one.tls else ''}"


def _probe_reach(settings: Settings) -> str:
    settings.check_reach()
    entrance = build_entrance(settings)
    called = f", calling {settings.ae_title}" if settings.require_called_ae else ""
    secured = " over TLS" if entrance.context else ""
    if settings.tls and settings.tls.ca:
        secured += " with a certificate of their own" if settings.tls.require_certificate else ""
    if not settings.peers:
        return f"this machine alone can send{called}{secured}"
    return f"{', '.join(map(_name_peer, settings.peers.values()))} can send{called}{secured}"


def _name_peer(peer: PeerSettings) -> str:
    networks = " or ".join(peer.networks) or "anywhere"
    return f"{peer.ae_title or 'anybody'} from {networks}"
