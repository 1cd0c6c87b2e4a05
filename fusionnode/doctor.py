"""Looks at an installation the way a worried administrator would, and says what is wrong."""

import importlib.metadata
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fusionnode import __version__
from fusionnode.errors import FusionNodeError
from fusionnode.settings import Settings, WebDestinationSettings
from fusionnode.wiring import build_sender, load_pipelines, open_spool

_LIBRARIES = ("pydicom", "pynetdicom", "SimpleITK", "highdicom", "torch", "numpy", "celery", "redis", "SQLAlchemy")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``well`` is None where it is only a remark."""

    subject: str
    well: bool | None
    words: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield one finding after the other; a probe that fails is a finding, never an exception."""
    yield Finding("fusionnode", None, __version__)
    for library in _LIBRARIES:
        yield Finding(library, None, importlib.metadata.version(library))
    probes: list[tuple[str, Callable[[Settings], str]]] = [
        ("accelerator", _probe_accelerator),
        ("pipelines", _probe_pipelines),
        ("spool", _probe_spool),
        ("database", _probe_database),
        ("broker", _probe_broker),
    ]
    for subject, probe in probes:
        yield _examine_one(subject, lambda probe=probe: probe(settings))  # type: ignore[misc]
    for name in settings.destinations:
        yield _examine_one(f"destination {name}", lambda name=name: _probe_destination(settings, name))  # type: ignore[misc]
    yield _examine_reach(settings)


def _examine_one(subject: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, probe())
    except FusionNodeError as error:
        return Finding(subject, False, str(error))
    except Exception as error:  # whatever a probe trips over is what the administrator has to hear
        return Finding(subject, False, f"{type(error).__name__}: {error}")


def _probe_accelerator(settings: Settings) -> str:
    import torch

    from fusionnode.fusion.fuse import choose_device

    if choose_device(settings.device).type == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} threads of the processor"


def _probe_pipelines(settings: Settings) -> str:
    return ", ".join(pipeline.identifier for pipeline in load_pipelines(settings, settings.destinations).values())


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


def _probe_destination(settings: Settings, name: str) -> str:
    answer = build_sender(settings).echo(name)
    one = settings.destinations[name]
    if isinstance(one, WebDestinationSettings):
        return f"{one.url} answers {answer}"
    return f"{one.ae_title} at {one.host}:{one.port} answers C-ECHO{' over TLS' if one.tls else ''}"


def _examine_reach(settings: Settings) -> Finding:
    if settings.host in {"127.0.0.1", "localhost", "::1"}:
        return Finding("reach", None, "only this machine can send (host is loopback)")
    return Finding("reach", None, "any host that reaches the port can send; there is no allow-list yet")
