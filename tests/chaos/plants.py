"""A node in its embedded and in its scaled-out form, whose processes can be started with a fault in them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from fusionnode.demo.pacs import OrthancPacs
from fusionnode.intake.spool import Spool
from tests.chaos.victim import MARK, VARIABLE, Fault
from tests.support.pacs import running_orthanc
from tests.support.running import Overdue, await_value, free_port, list_jobs, write_quick_pipelines
from tests.support.stack import Stack, running_stack

_PATIENCE_SECONDS = 120
_REPOSITORY = Path(__file__).resolve().parents[2]


class Plant(Protocol):
    """One installation, and how to hurt it."""

    site: Path
    port: int

    def hurt(self, fault: Fault, process: str) -> None:
        """Have ``process`` run with the fault in it, started anew."""

    def await_harm(self) -> None:
        """Wait until the fault has struck.

        Raises:
            Overdue: its point was never reached, or the process died of something else.
        """

    def mend(self) -> None:
        """Start again what died."""

    def jobs(self) -> list[dict[str, Any]]:
        """As `fusionnode jobs --json` lists them."""


@dataclass
class EmbeddedPlant:
    """`fusionnode serve`: whatever is hurt, the one process is."""

    site: Path
    port: int
    log: Path
    _process: "subprocess.Popen[bytes] | None" = None

    def hurt(self, fault: Fault, process: str) -> None:
        """Have the node run with the fault in it. A dead one is started, a running one started anew."""
        self.stop()
        self._start(arm_fault(self.site, fault))

    def await_harm(self) -> None:
        """Wait until the fault has struck."""
        process = self._process
        assert process is not None
        await_value(lambda: process.poll() is not None, seconds=_PATIENCE_SECONDS)
        require_struck(self.site)

    def mend(self) -> None:
        """Start the node again if it died."""
        if self._process is None or self._process.poll() is not None:
            self._start({})

    def stop(self) -> None:
        """End it as systemd would."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(timeout=_PATIENCE_SECONDS)

    def jobs(self) -> list[dict[str, Any]]:
        """As `fusionnode jobs --json` lists them."""
        return list_jobs(self.site)

    def _start(self, fault: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.chaos.victim", "serve", "--site", str(self.site)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **fault}, cwd=_REPOSITORY
            )


@dataclass
class ScaledPlant:
    """Listener, sweep and three workers on Redis and PostgreSQL: the process that owns the fault's point is hurt."""

    site: Path
    port: int
    stack: Stack
    _hurt: set[str] = field(default_factory=set)
    _last: str = ""

    def hurt(self, fault: Fault, process: str) -> None:
        """Have ``process`` run with the fault in it, started anew, and all others without one."""
        self._hurt.discard(process)
        self.mend()
        self.stack.do("stop", process)
        self.stack.do("start", process, environment=arm_fault(self.site, fault))
        self._hurt.add(process)
        self._last = process

    def await_harm(self) -> None:
        """Wait until the fault has struck."""
        process = self.stack.find_process(self._last)
        await_value(lambda: read_state(process) in "ZTX", seconds=_PATIENCE_SECONDS)
        require_struck(self.site)

    def mend(self) -> None:
        """Start again what died."""
        for process in sorted(self._hurt):
            self.stack.do("stop", process)
            self.stack.do("start", process)
        self._hurt.clear()

    def mend_beside(self) -> None:
        """Start another process beside the one that was hurt last, which is left as it is."""
        (self.stack.state / f"{self._last}.pid").unlink()
        self.stack.do("start", self._last)
        self._hurt.discard(self._last)

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """Let this process see the broker and the database that the plant's see."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.stack.environment.items():
                patch.setenv(name, value)
            yield

    def jobs(self) -> list[dict[str, Any]]:
        """As `fusionnode jobs --json` lists them."""
        return self.stack.jobs()


def arm_fault(site: Path, fault: Fault) -> dict[str, str]:
    """Return the environment of a process that the fault shall strike; nothing was struck so far."""
    mark = _name_mark(site)
    mark.unlink(missing_ok=True)
    return {VARIABLE: str(fault), MARK: str(mark)}


def require_struck(site: Path) -> None:
    """Check that it was the fault that a process died of.

    Raises:
        Overdue: it died of something else.
    """
    if not _name_mark(site).exists():
        raise Overdue("a process died, and not of its fault")


def _name_mark(site: Path) -> Path:
    return site.parent / "struck"


def read_state(process: int) -> str:
    """Return the state of a process (proc(5)): ``T`` frozen, ``Z`` dead but not buried, ``X`` gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


@contextmanager
def embedded_plant(folder: Path, **work: float) -> Iterator[tuple[EmbeddedPlant, OrthancPacs]]:
    """A node that is not started yet, and an Orthanc that commits to what it stores. ``work``: other settings."""
    port = free_port()
    with _committing_orthanc(folder, port) as pacs:
        plant = EmbeddedPlant(_write_site(folder, port, pacs, **work), port, folder / "serve.log")
        try:
            yield plant, pacs
        finally:
            plant.stop()


@contextmanager
def scaled_plant(folder: Path) -> Iterator[tuple[ScaledPlant, OrthancPacs]]:
    """A running scaled-out node, and an Orthanc that commits to what it stores."""
    port = free_port()
    with _committing_orthanc(folder, port) as pacs:
        site = _write_site(folder, port, pacs)
        with running_stack(site, port, str(_write_command(folder))) as stack:
            yield ScaledPlant(site, port, stack), pacs


@contextmanager
def _committing_orthanc(folder: Path, listening: int) -> Iterator[OrthancPacs]:
    modality = {"AET": "FUSIONNODE", "Host": "127.0.0.1", "Port": listening, "AllowStorageCommitment": True}
    with running_orthanc(folder / "orthanc", {"DicomModalities": {"fusionnode": modality}}) as pacs:
        yield pacs


def _write_site(folder: Path, port: int, pacs: OrthancPacs, **work: float) -> Path:
    """Write a site file of a node that gives nothing up however often it is killed, and waits for nothing long."""
    pipelines = write_quick_pipelines(folder)
    tables = {
        "destinations.pacs": {
            "ae_title": pacs.ae_title, "host": "127.0.0.1", "port": pacs.port, "commitment": True
        },
        "settle": {"idle_seconds": 1.5, "slow_seconds": 3, "gap_seconds": 6, "sweep_seconds": 0.2},
        "work": {
            "lease_seconds": 4, "max_attempts": 100, "retry_seconds": 0.5, "retry_cap_seconds": 2,
            "commitment_seconds": 10, **work,
        },
    }  # fmt: skip
    lines = [f'spool = "{folder / "spool"}"', f'pipelines = "{pipelines}"', f"port = {port}", "spool_reserve_mb = 1"]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    site = folder / "site.toml"
    site.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return site


def _write_command(folder: Path) -> Path:
    """Write a script that stands in for ``fusionnode`` and lets faults in."""
    script = folder / "fusionnode-with-faults"
    script.write_text(
        f'#!/bin/sh\ncd "{_REPOSITORY}"\nexec "{sys.executable}" -m tests.chaos.victim "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    return script


def await_end(plant: Plant, pairs: int, seconds: float = 240) -> list[dict[str, Any]]:
    """Wait until all pairs are committed to; return the jobs, also when that did not come to pass in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        jobs = plant.jobs()
        if len(jobs) >= pairs and all(job["state"] == "committed" for job in jobs):
            break
        time.sleep(0.5)
    return plant.jobs()


def open_spool(plant: Plant) -> Spool:
    """Return the spool of a plant."""
    return Spool(plant.site.parent / "spool", reserve_bytes=0)
