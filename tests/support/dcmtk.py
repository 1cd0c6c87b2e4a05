"""DCMTK's storage SCP, which can be told to misbehave in ways no other one can."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from tests.support.pacs import find_free_port
from tests.support.tools import require_tool


@dataclass(frozen=True)
class StoreScp:
    """A running storescp and the folder it stores into."""

    port: int
    folder: Path

    def read_stored(self) -> dict[str, Dataset]:
        """Return what it stored, by SOP Instance UID; a file it has only half received is passed over."""
        found = [dcmread(path, force=True) for path in self.folder.iterdir() if path.stat().st_size > 132]
        return {str(ds.SOPInstanceUID): ds for ds in found if "SOPInstanceUID" in ds}


@contextmanager
def running_storescp(folder: Path, *options: str) -> Iterator[StoreScp]:
    """Run storescp on a free port of this machine until the block ends."""
    program, port = require_tool("storescp"), find_free_port()
    folder.mkdir()
    command = [program, "-od", str(folder), *options, str(port)]
    process = subprocess.Popen(command, env={**os.environ, "TCP_NODELAY": "1"}, stderr=subprocess.DEVNULL)
    try:
        _await_listening(process, port)
        yield StoreScp(port, folder)
    finally:
        process.kill()
        process.wait(10)


def _await_listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait for the port without a connection: storescp would take that for an association."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        if any(f":{port:04X} " in line and " 0A " in line for line in table.splitlines()):
            return
        time.sleep(0.02)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            pytest.fail(f"storescp did not start: {process.args}")
