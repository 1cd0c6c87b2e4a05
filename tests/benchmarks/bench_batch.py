"""Measures a batch with one worker and with several, by ratio.

Run it as ``python -m tests.benchmarks.bench_batch [--pairs 6] [--rounds 2]``. A folder tree of the sample head under
several names is fused by ``fusionnode batch`` as a process of its own, the numbers of workers in turns, so that what
else the machine does falls on all of them alike. Nothing is asserted.
"""

import argparse
import os
import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fusionnode.index.store import open_ledger
from fusionnode.wiring import find_shared
from tests.support.files import write_series
from tests.support.repackaged import repackage_patient
from tests.support.running import FUSIONNODE

WORKERS = (1, 2)
FUSERS = ("laplacian", "mask-attention")


@dataclass(frozen=True)
class Run:
    """Seconds of one batch: of the whole command, from the first step begun to the last ended, and of the processor."""

    whole: float
    fusing: float
    processor: float


def _write_tree(folder: Path, pairs: int) -> None:
    head = find_shared("dicom_samples") / "head"
    for number in range(pairs):
        patient = repackage_patient(f"BENCH-{number}", head / "mr", head / "pt")
        for name, series in (("mr", patient.fixed), ("pt", patient.moving)):
            write_series(folder / str(number) / name, series)


def _run(tree: Path, out: Path, fuser: str, workers: int) -> Run:
    options = ["--folder", str(tree), "--pipeline", "mr-pt", "--network", fuser, "--workers", str(workers)]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([FUSIONNODE, "batch", "--out", str(out), *options], check=True, capture_output=True)
    whole, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(whole, _measure_fusing(out), processor)


def _measure_fusing(out: Path) -> float:
    ledger = open_ledger(f"sqlite:///{out / 'node' / 'ledger.sqlite'}")
    moments = [event.at for job in ledger.list_jobs(limit=1000) for event in ledger.list_events(job.id)[1:]]
    ledger.close()
    return (max(moments) - min(moments)).total_seconds()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"cores {os.cpu_count()}, load {load:.1f} at the start; {asked.pairs} pairs, median of {asked.rounds} rounds")
    print("fuser            workers  command s  fusing s   a minute  ratio   CPU s  load")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _write_tree(tree, asked.pairs)
        for fuser in FUSERS:
            runs: dict[int, list[Run]] = {workers: [] for workers in WORKERS}
            loads: dict[int, list[float]] = {workers: [] for workers in WORKERS}
            for turn in range(asked.rounds):
                for workers in WORKERS if turn % 2 == 0 else reversed(WORKERS):
                    runs[workers].append(_run(tree, Path(folder) / f"{fuser}-{workers}-{turn}", fuser, workers))
                    loads[workers].append(os.getloadavg()[0])
            _print_rows(fuser, asked.pairs, runs, loads)


def _print_rows(fuser: str, pairs: int, runs: dict[int, list[Run]], loads: dict[int, list[float]]) -> None:
    alone = statistics.median(run.fusing for run in runs[1])
    for workers, measured in runs.items():
        whole, fusing, processor = (
            statistics.median(getattr(run, name) for run in measured) for name in ("whole", "fusing", "processor")
        )
        row = f"{fuser:16}{workers:8}{whole:11.1f}{fusing:10.1f}{60 * pairs / fusing:11.1f}{alone / fusing:7.2f}"
        print(f"{row}{processor:8.1f}{max(loads[workers]):6.1f}")


if __name__ == "__main__":
    main()
