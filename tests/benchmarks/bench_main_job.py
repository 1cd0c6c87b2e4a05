"""Prints the seconds of each step of the main job: on the brain of the real data where it is, and on the sample head.

Run it as ``python -m tests.benchmarks.bench_main_job``. Times are medians of three runs in one process; the share
is of the whole job. Nothing is asserted.
"""

import os
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from fusionnode.settings import Settings
from fusionnode.wiring import find_shared, load_pipelines
from fusionnode.worker.files import FilesRequest, fuse_folders

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = 3


def _list_cases() -> dict[str, tuple[Path, Path]]:
    head = find_shared("dicom_samples") / "head"
    cases = {"sample head, PET": (head / "mr", head / "pt"), "sample head, SPECT": (head / "mr", head / "nm")}
    brain = Path(os.environ.get("FUSIONNODE_REAL_DATA", REPOSITORY.parent / "shared" / "data")) / "aanlib" / "pet_axial"
    if brain.is_dir():
        return {"pet_axial": (brain / "mr", brain / "pt"), **cases}
    print("the real brain pet_axial is not here (FUSIONNODE_REAL_DATA); only the sample head is measured")
    return cases


def _measure(fixed: Path, moving: Path) -> tuple[dict[str, float], int]:
    pipelines = load_pipelines(Settings(), known_destinations=None).values()
    runs: list[dict[str, float]] = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            report = fuse_folders(FilesRequest(fixed, moving, Path(folder) / "out"), pipelines, datetime.now(UTC))
            runs.append(report["seconds"])
    return {step: statistics.median(run[step] for run in runs) for step in runs[0]}, report["slices"]


def main() -> None:
    """Measure and print."""
    load = os.getloadavg()[0]
    print(
        f"cores {os.cpu_count()}, load {load:.1f} at the start" + (" - busy, so read with care" if load > 0.7 else "")
    )
    for name, (fixed, moving) in _list_cases().items():
        seconds, slices = _measure(fixed, moving)
        total = sum(seconds.values())
        print(f"\n{name}: {slices} slices, {total:.2f} s in all")
        for step, value in seconds.items():
            print(f"  {step:10} {value:7.3f} s  {value / total:5.0%}")


if __name__ == "__main__":
    main()
