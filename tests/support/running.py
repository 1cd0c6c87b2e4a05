"""Runs fusionnode as processes, as a hospital would, and waits for what they do."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from fusionnode.settings import load_settings
from fusionnode.wiring import find_shared
from fusionnode.worker.jobs import list_job_facts

FUSIONNODE = str(Path(sys.executable).with_name("fusionnode"))

Value = TypeVar("Value")


class Overdue(AssertionError):
    """What was waited for did not come to pass in time."""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_site(
    folder: Path, port: int, destinations: dict[str, tuple[str, int]], extra: str = "", *, lease_seconds: float = 60
) -> Path:
    """Write a site file with impatient times; ``destinations`` maps a name to AE title and port on this machine.

    A lease is short only where a worker dies: on a starved machine a living one can miss a short one.
    """
    lines = [f'spool = "{folder / "spool"}"', f"port = {port}", "spool_reserve_mb = 1", extra]
    for name, (ae_title, destination_port) in destinations.items():
        lines += [
            f"[destinations.{name}]",
            f'ae_title = "{ae_title}"',
            'host = "127.0.0.1"',
            f"port = {destination_port}",
        ]
    lines += ["[settle]", "idle_seconds = 2", "slow_seconds = 6", "gap_seconds = 12", "sweep_seconds = 0.3"]
    lines += ["[work]", f"lease_seconds = {lease_seconds}", "retry_seconds = 0.5", "retry_cap_seconds = 2"]
    site = folder / "site.toml"
    site.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return site


def write_quick_pipelines(folder: Path) -> Path:
    """Write the pipelines that come with fusionnode, but for a classical fuser, and return their new folder.

    For what asks how a pair travels, not how it is fused: the default network takes most of the time of a job.
    """
    own = folder / "pipelines"
    own.mkdir()
    for path in find_shared("pipelines").glob("*.yaml"):
        text, found = re.subn(r"(?m)^  model: .*$", "  model: laplacian", path.read_text(encoding="utf-8"))
        assert found == 1, f"{path} names its model in another way now"
        (own / path.name).write_text(text, encoding="utf-8")
    return own


@contextmanager
def serving(site: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``fusionnode serve`` until the block ends, then end it as systemd would."""
    with log.open("ab") as stream:
        process = subprocess.Popen([FUSIONNODE, "serve", "--site", str(site)], stdout=stream, stderr=stream)
    try:
        await_port(port)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=180)


def await_port(port: int) -> None:
    """Wait until something listens on ``port``."""

    def is_open() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await_value(is_open, seconds=180)


def await_value(ask: Callable[[], Value], seconds: float = 180, pause: float = 0.1) -> Value:
    """Call ``ask`` until its answer is true and return it. The time is for a starved machine: only a hang takes it.

    Raises:
        Overdue: it never was.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(pause)
    raise Overdue(f"nothing came of {ask} within {seconds} s")


def list_jobs(site: Path, environment: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """Return what ``fusionnode jobs --json`` says, without the cost of a process each time it is asked."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        return list_job_facts(load_settings(site))


def storescu(port: int, *folders: Path, called: str = "FUSIONNODE") -> list[subprocess.Popen[bytes]]:
    """Send each folder with DCMTK, all at the same time, as several scanners would; wait and return the processes."""
    environment = {**os.environ, "TCP_NODELAY": "1"}
    command = ["storescu", "--scan-directories", "--recurse", "-aec", called]
    processes = [
        subprocess.Popen([*command, "127.0.0.1", str(port), str(folder)], env=environment, stderr=subprocess.PIPE)
        for folder in folders
    ]
    for process in processes:
        process.communicate(timeout=120)
    return processes
