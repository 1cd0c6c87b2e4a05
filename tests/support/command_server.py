"""Runs `fusionnode` commands, each in a process of its own, under a time limit and with its peak memory measured.

Importing takes seconds and is the same for all of them, so a server imports once and forks for each command. The limit
is one of processor time, so that a busy machine does not look like a hang; what only waits is ended after ten times as
long.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CRASHED = 70
"""Exit status of a command that let an error escape."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: negative where a signal ended it.
        output: what it printed.
        errors: what it told on stderr, of a command that was given a file for it; else that is in ``output``.
        seconds: of processor time.
        peak_bytes: largest resident set.
        timed_out: it was ended because it took too long.
    """

    status: int
    output: str
    errors: str
    seconds: float
    peak_bytes: int
    timed_out: bool


class CommandServer:
    """The near end: hands commands over and waits for each."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, arguments: Sequence[str], log: Path, limit_seconds: float, errors: Path | None = None) -> Ended:
        """Run ``fusionnode`` with ``arguments`` and return how it ended; what it printed is kept in ``log`` too.

        What it tells on stderr is kept in ``errors``, or in ``log`` where there is no such file.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        files = {"log": str(log), "errors": str(errors or log)}
        for path in files.values():
            Path(path).unlink(missing_ok=True)
        order = {"arguments": list(arguments), "limit_seconds": limit_seconds, **files}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        facts = json.loads(self._process.stdout.readline())
        told = errors.read_text(errors="replace") if errors else ""
        return Ended(output=log.read_text(errors="replace"), errors=told, **facts)


@contextmanager
def command_server() -> Iterator[CommandServer]:
    """Run a server until the block ends."""
    command = [sys.executable, "-m", "tests.support.command_server"]
    root = Path(__file__).resolve().parents[2]
    # Wide enough for every table.
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root, env=environment
    ) as process:
        yield CommandServer(process)


def _serve() -> None:
    _warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(json.dumps(_run_forked(**order)) + "\n")
        sys.stdout.flush()


def _warm_up() -> None:
    """Load for all children what takes long to load; nothing here starts a thread, which a fork would lose."""
    import highdicom
    import numpy as np

    import fusionnode.capture.build
    import fusionnode.cli
    import fusionnode.fusion.classical
    import fusionnode.fusion.networks
    import fusionnode.registration.estimate
    import fusionnode.worker.files  # noqa: F401 - imported for the children

    # The first capture reads highdicom's tables of modules.
    uid = highdicom.UID()
    highdicom.sc.SCImage(
        np.zeros((2, 2), np.uint8),
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=uid,
        series_instance_uid=uid,
        sop_instance_uid=uid,
        series_number=1,
        instance_number=1,
        manufacturer="nobody",
        patient_orientation=("L", "P"),
    )


def _run_forked(arguments: list[str], log: str, errors: str, limit_seconds: float) -> dict[str, float | bool]:
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_seconds), int(limit_seconds) + 1))
        _become_command(arguments, log, errors)
    waited_too_long = False
    while not (ended := os.wait4(child, os.WNOHANG))[0]:
        if not waited_too_long and time.monotonic() - begun > 10 * limit_seconds:
            waited_too_long = True
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    status, usage = os.waitstatus_to_exitcode(ended[1]), ended[2]
    return {
        "status": status,
        "seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024,
        "timed_out": waited_too_long or status == -signal.SIGXCPU,
    }


def _become_command(arguments: list[str], log: str, errors: str) -> None:
    """Be the command in the forked child; never returns."""
    from fusionnode.cli import main

    for number, name in ((1, log), (2, errors)):
        # Appending, as both may be one file.
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.argv = ["fusionnode", *arguments]
    status = 0
    try:
        main()
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = CRASHED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
