"""Compares C-STORE ingest of this listener with Orthanc and DCMTK storescp on this machine.

Run ``python -m tests.benchmarks.bench_ingest``. The sender is always DCMTK storescu. Every peer is tuned alike
(TCP_NODELAY on both ends), every instance is new to its receiver, and the order of the receivers alternates.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset

from fusionnode.domain.uids import derive_uid
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from tests.support.datasets import Identity, Layout, make_mr_series
from tests.support.files import write_series

TUNED = {**os.environ, "TCP_NODELAY": "1", "TCP_BUFFER_LENGTH": "262144"}
ROUNDS = 3
RECEIVERS = ("fusionnode", "orthanc", "dcmtk")


@dataclass(frozen=True)
class Load:
    """Instances of one size, sent over so many associations at once."""

    kilobytes: int
    instances: int
    associations: int


LOADS = (Load(33, 160, 1), Load(33, 160, 4), Load(512, 64, 1), Load(512, 64, 4))


def main() -> None:
    """Print instances per second for every load and receiver."""
    if shutil.which("storescu") is None:
        sys.exit("DCMTK's storescu is not installed; nothing to send with.")
    names = [name for name in RECEIVERS if _is_installed(name)]
    missing = [name for name in RECEIVERS if name not in names]
    if missing:
        print(f"not installed, left out: {', '.join(missing)}")
    rates = _measure_all(names)
    print(f"\n{'load':<28}" + "".join(f"{name:>22}" for name in names))
    for load, by_name in rates.items():
        print(_format_row(load, names, by_name))
    print(
        "\ninstances per second, median of rounds, and ratio to fusionnode. Promises differ: fusionnode syncs file and"
        "\nfolder before Success; Orthanc syncs the file and commits its database; storescp syncs nothing."
    )


def _measure_all(names: list[str]) -> dict[Load, dict[str, float]]:
    found: dict[Load, dict[str, list[float]]] = {load: {name: [] for name in names} for load in LOADS}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(ROUNDS):
            for load in LOADS:
                order = names if turn % 2 == 0 else names[::-1]
                for name in order:
                    folder = Path(scratch) / f"{turn}-{load.kilobytes}-{load.associations}-{name}"
                    found[load][name].append(_measure(name, load, folder))
                    shutil.rmtree(folder)
    return {load: {name: statistics.median(rates) for name, rates in by.items()} for load, by in found.items()}


def _measure(name: str, load: Load, folder: Path) -> float:
    """Instances per second from the first storescu's start to the last one's end."""
    batches = _write_batches(folder / "sent", load)
    start: Callable[[Path], object] = {"fusionnode": _run_ours, "orthanc": _run_orthanc, "dcmtk": _run_storescp}[name]
    (folder / "received").mkdir()
    with start(folder / "received") as port:  # type: ignore[attr-defined]
        _send(batches[:1], port, warm_up=True)
        began = time.perf_counter()
        _send(batches, port)
        seconds = time.perf_counter() - began
    return load.instances / seconds


def _write_batches(folder: Path, load: Load) -> list[Path]:
    side = int((load.kilobytes * 1024 / 2) ** 0.5)
    batches = []
    for batch in range(load.associations):
        layout = Layout(slices=load.instances // load.associations, rows=side, columns=side)
        identity = Identity(series_uid=derive_uid("bench", str(folder), str(batch)))
        noise = np.random.default_rng(batch).integers(0, 4096, layout.shape)
        write_series(folder / str(batch), make_mr_series(layout, identity, voxels=noise))
        batches.append(folder / str(batch))
    _write_warm_up(folder / "warm-up", side)
    return batches


def _write_warm_up(folder: Path, side: int) -> None:
    series: list[Dataset] = make_mr_series(
        Layout(slices=2, rows=side, columns=side), Identity(series_uid=derive_uid("bench", str(folder)))
    )
    write_series(folder, series)


def _send(batches: list[Path], port: int, *, warm_up: bool = False) -> None:
    folders = [batches[0].parent / "warm-up"] if warm_up else batches
    command = ["storescu", "-xe", "--max-pdu", "131072", "+sd", "+r", "-aec", "BENCH", "127.0.0.1", str(port)]
    senders = [subprocess.Popen([*command, str(folder)], env=TUNED) for folder in folders]
    codes = [sender.wait() for sender in senders]
    if any(codes):
        raise RuntimeError("storescu failed")


@contextmanager
def _run_ours(folder: Path) -> Iterator[int]:
    """Our listener in a process of its own, like its peers."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_ingest", "listen", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@contextmanager
def _run_orthanc(folder: Path) -> Iterator[int]:
    port = _find_free_port()
    config = folder / "orthanc.json"
    settings = {
        "Name": "bench",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomAet": "BENCH",
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomAlwaysAllowStore": True,
        "DicomThreadsCount": 4,
        "Plugins": [],
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    with _run_process(["Orthanc", str(config)], port):
        yield port


@contextmanager
def _run_storescp(folder: Path) -> Iterator[int]:
    port = _find_free_port()
    command = ["storescp", "--fork", "-pdu", "131072", "-aet", "BENCH", "-od", str(folder), str(port)]
    with _run_process(command, port):
        yield port


@contextmanager
def _run_process(command: list[str], port: int) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=TUNED) as process:
        try:
            _wait_for(port)
            yield
        finally:
            process.terminate()


def _wait_for(port: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while subprocess.run(["echoscu", "127.0.0.1", str(port)], capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing answers on port {port}")
        time.sleep(0.05)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_installed(name: str) -> bool:
    binary = {"fusionnode": sys.executable, "orthanc": "Orthanc", "dcmtk": "storescp"}[name]
    return shutil.which(binary) is not None


def _format_row(load: Load, names: list[str], rates: dict[str, float]) -> str:
    label = f"{load.instances} x {load.kilobytes} KB, {load.associations} assoc."
    cells = [f"{rates[name]:.0f}/s ({rates[name] / rates['fusionnode']:.2f})" for name in names]
    return f"{label:<28}" + "".join(f"{cell:>22}" for cell in cells)


def listen(folder: Path) -> None:
    """Run our listener until terminated; prints its port."""
    listener = Listener("BENCH", "127.0.0.1", 0, Spool(folder / "spool", reserve_bytes=0))
    listener.start()
    print(listener.port, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[1:2] == ["listen"]:
        listen(Path(sys.argv[2]))
    else:
        main()
