"""Measures the memory a worker takes for the largest series: MR 512 x 512 x 400 with PET 440 x 440 x 531.

Run it as ``python -m tests.benchmarks.bench_memory`` (about 4 GB in a temporary folder, some minutes). A node is
filled with a synthetic pair that has to be registered; then one worker process prepares and fuses it, as an embedded
node does. Printed is the peak resident size (VmHWM, Linux) of each part of the plot; the command fails where the worker
passes the bound.
"""

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.job import JobState
from fusionnode.domain.terms import Step
from fusionnode.wiring import build_sweeper
from fusionnode.worker.steps import StepRunner
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.nodes import MOMENT, Clock, open_test_node, put_in_spool
from tests.support.phantoms import make_motion, make_mr, make_uptake

BOUND_MB = 2048
MR = Layout(400, 512, 512, (0.5, 0.5, 0.5), (-127.75, -127.75, -99.75))
PET = Layout(531, 440, 440, (1.65, 1.65, 1.65), (-350.0, -356.0, -760.0))
_COARSER = 2
_SHIFT_MM = (6.0, -4.0, 5.0)


class _PeakHandler(logging.Handler):
    """Prints the peak since the last line whenever a part of the plot ends, and remembers the highest."""

    highest_mb = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("fusionnode"):
            return
        peak_mb = _read_status_mb("VmHWM")
        self.highest_mb = max(self.highest_mb, peak_mb)
        print(f"  {peak_mb:6} MB peak, {_read_status_mb('VmRSS'):6} MB after: {record.getMessage()}", flush=True)
        # proc(5): 5 resets the peak to what is resident now.
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> int:
    """Make the pair and run a worker on it, each in a process of its own; return 1 where the bound is passed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="only make the node, and keep it")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="only do the job of the node that was made there")
    told = parser.parse_args()
    if told.make:
        return _fill_node(told.make)
    if told.work:
        return _do_job(told.work)
    with tempfile.TemporaryDirectory(prefix="fusionnode-memory-") as folder:
        return _run_child("--make", folder) or _run_child("--work", folder)


def _run_child(*arguments: str) -> int:
    """Run this module anew, so that nothing but the work itself counts."""
    return subprocess.run([sys.executable, "-m", "tests.benchmarks.bench_memory", *arguments], check=False).returncode


def _fill_node(folder: Path) -> int:
    node = open_test_node(folder)
    print("making the MR", flush=True)
    voxels = _enlarge(make_mr(_coarsen(MR)).voxels, MR)
    put_in_spool(node, make_mr_series(MR, voxels=voxels), folder / "scratch")
    print("making the PET", flush=True)
    uptake = make_uptake(_coarsen(PET), make_motion(shift_mm=_SHIFT_MM), body=True)
    identity = Identity(series_number=2)
    put_in_spool(node, make_pt_series(PET, identity, voxels=_enlarge(uptake.voxels * 10000, PET)), folder / "scratch")
    shutil.rmtree(folder / "scratch")
    sweeper = build_sweeper(node)
    for monotonic in range(4):
        sweeper.sweep(MOMENT, 100.0 * monotonic)
    return int(not node.ledger.list_jobs())


def _coarsen(layout: Layout) -> Grid:
    """A grid over the same space with half as many voxels along each axis; making all of them would take minutes."""
    shape = tuple(-(-count // _COARSER) for count in layout.shape)
    spacing_mm = tuple(spacing * _COARSER for spacing in layout.spacing_mm)
    return Grid.from_axes(shape, layout.grid.origin_mm, layout.grid.directions, spacing_mm)  # type: ignore[arg-type]


def _enlarge(voxels: NDArray[np.float32], layout: Layout) -> NDArray[np.float32]:
    for axis, count in enumerate(layout.shape):
        voxels = np.repeat(voxels, _COARSER, axis=axis).take(range(count), axis=axis)
    return voxels


def _do_job(folder: Path) -> int:
    handler = _PeakHandler()
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    node = open_test_node(folder)
    (job,) = node.ledger.list_jobs()
    runner = StepRunner(node, "bench", Clock())
    ended = [runner.run_step(step, job.id) for step in (Step.PREPARE, Step.FUSE)]
    peak_mb = max(handler.highest_mb, _read_status_mb("VmHWM"))
    print(f"peak of the worker: {peak_mb} MB; the bound is {BOUND_MB} MB", flush=True)
    done = ended[-1] is not None and ended[-1].state is JobState.FUSED
    return int(peak_mb > BOUND_MB or not done)


def _read_status_mb(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) // 1024


if __name__ == "__main__":
    sys.exit(main())
