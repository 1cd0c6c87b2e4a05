"""The scaled-out form on this machine: Redis, PostgreSQL, listener, sweep and workers, each a process of its own."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.running import FUSIONNODE, await_port, free_port, list_jobs
from tests.support.tools import require_postgres, require_tool

_SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "local-stack.sh"


@dataclass(frozen=True)
class Stack:
    """A running stack: its site file, its folder, and the environment its processes share."""

    site: Path
    state: Path
    environment: dict[str, str]

    def do(self, action: str, *name: str, environment: Mapping[str, str] | None = None) -> None:
        """Run deploy/local-stack.sh: up, down, start NAME, stop NAME."""
        subprocess.run(
            [str(_SCRIPT), action, str(self.site), str(self.state), *name],
            env={**os.environ, **self.environment, **(environment or {})},
            check=True,
            timeout=180,
        )

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process of the stack and its children."""
        os.killpg(self.find_process(name), number)

    def find_process(self, name: str) -> int:
        """Return the process id of ``name``, whether or not it still runs."""
        return int((self.state / f"{name}.pid").read_text())

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs as `fusionnode jobs --json` lists them."""
        return list_jobs(self.site, self.environment)


@contextmanager
def running_stack(site: Path, port: int, command: str = FUSIONNODE) -> Iterator[Stack]:
    """Run the stack of ``site``, whose listener has ``port``, until the block ends; skip without its services.

    ``command`` is run in the place of ``fusionnode``.
    """
    require_tool("redis-server")
    require_postgres()
    redis_port, postgres_port = free_port(), free_port()
    environment = {
        "REDIS_PORT": str(redis_port),
        "POSTGRES_PORT": str(postgres_port),
        "FUSIONNODE": command,
        "FUSIONNODE_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "FUSIONNODE_DATABASE_URL": f"postgresql+psycopg://fusionnode@127.0.0.1:{postgres_port}/fusionnode",
    }
    # Not below pytest's own folder: that is closed to the user PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="stack-") as state:
        running = Stack(site, Path(state), environment)
        try:
            running.do("up")
            await_port(port)
            yield running
        finally:
            running.do("down")
