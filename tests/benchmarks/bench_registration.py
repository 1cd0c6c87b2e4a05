"""Compares the rigid registration of a head with ANTs, elastix and plain SimpleITK on the same pairs, side by side.

Run it as ``make bench-registration`` (hours on 2 cores, nearly all of them ANTs') or with ``QUICK=--quick`` (minutes).
Truth is exact, because PET and SPECT are simulated (`tests.support.simulated_pairs`). All methods register one pair
before any starts the next, each in a process of its own with two threads. Whatever was registered is kept in the work
folder, so that an interrupted run goes on where it stopped. Nothing is asserted.
"""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread

from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.registration.bridge import image_from_volume
from fusionnode.registration.foreground import find_foreground_points_mm
from fusionnode.volumes.assemble import assemble_volume
from tests.benchmarks.registration_tables import print_tables
from tests.support.phantoms import make_motion
from tests.support.simulated_heads import Head, list_heads, load_head, vary_head
from tests.support.simulated_pairs import MrSpec, PairSpec, UptakeSpec, draw_specs, make_pair

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = REPOSITORY / ".venv" / "peers" / "bin" / "python"
PYTHONS = {"fusionnode": sys.executable, "ants": str(PEERS), "elastix": str(PEERS), "simpleitk": sys.executable}
ATLAS = {"pet_axial": "pt", "spect_a": "nm"}
DISTANCES = ((10.0, 8.0), (25.0, 20.0), (40.0, 30.0), (60.0, 45.0), (80.0, 60.0))
"""Start distances of the capture range: mm and degrees at once."""


@dataclass(frozen=True)
class Plan:
    """How much is done: pairs, tries per start distance, random starts, and how many of these ANTs is given."""

    pairs: int
    tries: int
    starts: int
    ants_starts: int


FULL, QUICK = Plan(48, 4, 20, 5), Plan(6, 1, 4, 2)


@dataclass(frozen=True)
class Task:
    """One registration to do: its files, how they are made, and who is spared it."""

    name: str
    folder: Path
    make: Callable[[], None]
    left_out: tuple[str, ...] = ()

    def be_ready(self) -> None:
        """Make the files, unless they are there."""
        if not (self.folder / "truth.json").is_file():
            self.make()


class Worker:
    """A method in its own process, which answers one pair at a time."""

    def __init__(self, method: str) -> None:
        threads = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
        command = [PYTHONS[method], "-m", "tests.benchmarks.registration_worker", method]
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def register(self, folder: Path) -> dict[str, Any]:
        """Register the pair in ``folder``: a 4x4, or an error, with seconds and peak memory."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder / "fixed.nrrd"), str(folder / "moving.nrrd")]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        return dict(json.loads(answer)) if answer else {"error": f"the process ended with {self._process.wait()}"}

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _list_aim_specs() -> list[PairSpec]:
    """Six plain FDG PETs of the Philips T1 at motions to 12 degrees and 18 mm, without coil or regional variation."""
    specs = []
    for index in range(6):
        chance = np.random.default_rng([6, index])
        turns, shift = chance.uniform(-12, 12, 3).tolist(), chance.uniform(-18, 18, 3).tolist()
        uptake = UptakeSpec(fwhm_mm=5.0 + index % 3, regions=0.0)
        specs.append(PairSpec("philips", 0, MrSpec(bias=0.0), uptake, tuple(turns), tuple(shift), seed=index))
    return specs


def _list_pairs(plan: Plan, work: Path, real_data: Path | None) -> list[Task]:
    """The simulated pairs, head by head and patient by patient, so that each is laid out once."""
    named = {f"pair/{index:02}": spec for index, spec in enumerate(draw_specs(plan.pairs, 4, list_heads(real_data)))}
    if real_data:
        named |= {f"aim/{index}": spec for index, spec in enumerate(_list_aim_specs()[: plan.pairs])}
    lay_out = lru_cache(1)(lambda head, patient: vary_head(load_head(head, real_data), patient))
    ordered = sorted(named.items(), key=lambda item: (item[1].head, item[1].patient, item[0]))
    return [Task(name, work / name, partial(_simulate, work / name, spec, lay_out)) for name, spec in ordered]


def _list_posed(plan: Plan, work: Path, bases: dict[str, Task]) -> Iterator[Task]:
    """One PET and one SPECT from starts far away, and these and the atlas pairs from many starts."""
    for base_name in ("simulated PET", "simulated SPECT"):
        for (mm, deg), index in product(DISTANCES, range(plan.tries)):
            name = f"capture/{mm:.0f} mm, {deg:.0f} deg/{base_name}, {index}"
            yield Task(name, work / name, partial(_pose, bases[base_name], work / name, _draw_pose(mm, deg, index)))
    for (base_name, base), index in product(bases.items(), range(plan.starts)):
        name = f"starts/{base_name}/{index:02}"
        chance = np.random.default_rng([index, 99])
        pose = _draw_pose(float(chance.uniform(0, 25)), float(chance.uniform(0, 20)), 1000 + index)
        left_out = ("ants",) if index >= plan.ants_starts else ()
        yield Task(name, work / name, partial(_pose, base, work / name, pose), left_out)


def _list_bases(pairs: list[Task], work: Path, real_data: Path | None) -> dict[str, Task]:
    named = {pair.name: pair for pair in pairs}
    bases = {"simulated PET": named["pair/00"], "simulated SPECT": named["pair/02"]}
    for name, part in ATLAS.items() if real_data else ():
        assert real_data is not None
        folders = [real_data / "aanlib" / name / one for one in ("mr", part)]
        bases[name] = Task(name, work / "atlas" / name, partial(_convert, work / "atlas" / name, *folders))
    return bases


def _simulate(folder: Path, spec: PairSpec, lay_out: Callable[[str, int], Head]) -> None:
    pair = make_pair(spec, lay_out(spec.head, spec.patient))
    _write(folder, pair.fixed, pair.moving, pair.truth, pair.points_mm)


def _draw_pose(mm: float, deg: float, index: int) -> RigidMotion:
    direction, axis = (one / np.linalg.norm(one) for one in np.random.default_rng(index).normal(size=(2, 3)))
    first, second, third = (deg * axis).tolist()
    x, y, z = (mm * direction).tolist()
    return make_motion((first, second, third), (x, y, z))


def _convert(folder: Path, fixed: Path, moving: Path) -> None:
    """Write a real pair; no truth is known."""
    mr, uptake = (assemble_volume([dcmread(path) for path in sorted(one.glob("*.dcm"))]) for one in (fixed, moving))
    _write(folder, mr, uptake, None, find_foreground_points_mm(mr)[::50])


def _write(
    folder: Path, fixed: Volume, moving: Volume, truth: RigidMotion | None, points_mm: NDArray[np.float64]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_from_volume(fixed), str(folder / "fixed.nrrd"))
    sitk.WriteImage(image_from_volume(moving), str(folder / "moving.nrrd"))
    matrix = None if truth is None else truth.moving_from_fixed.tolist()
    (folder / "truth.json").write_text(json.dumps({"truth": matrix, "points_mm": points_mm.tolist()}))


def _pose(base: Task, folder: Path, pose: RigidMotion) -> None:
    """The same pair, its moving volume carried further by ``pose`` about its centre; nothing is interpolated."""
    base.be_ready()
    truth = json.loads((base.folder / "truth.json").read_text())
    image = sitk.ReadImage(str(base.folder / "moving.nrrd"))
    middle = [(count - 1) / 2 for count in image.GetSize()]
    centre_mm = np.asarray(image.TransformContinuousIndexToPhysicalPoint(middle))
    matrix = pose.moving_from_fixed.copy()
    matrix[:3, 3] += centre_mm - matrix[:3, :3] @ centre_mm
    directions = matrix[:3, :3] @ np.asarray(image.GetDirection()).reshape(3, 3)
    image.SetDirection(directions.ravel().tolist())
    image.SetOrigin((matrix[:3, :3] @ np.asarray(image.GetOrigin()) + matrix[:3, 3]).tolist())
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / "moving.nrrd"))
    if not (folder / "fixed.nrrd").exists():
        (folder / "fixed.nrrd").symlink_to((base.folder / "fixed.nrrd").resolve())
    moved = None if truth["truth"] is None else (matrix @ np.asarray(truth["truth"])).tolist()
    told = {"truth": moved, "points_mm": truth["points_mm"], "pose": matrix.tolist()}
    (folder / "truth.json").write_text(json.dumps(told))


def _register_all(tasks: list[Task], methods: tuple[str, ...], results: Path) -> None:
    """Do what was not done yet, one pair after the other, all methods in turns."""
    done = {(row["task"], row["method"]) for row in _read(results)}
    workers = {method: Worker(method) for method in methods}
    for task in tasks:
        wanted = [m for m in methods if m not in task.left_out and (task.name, m) not in done]
        for method in wanted:
            task.be_ready()
            answer = workers[method].register(task.folder)
            row = {
                "task": task.name,
                "method": method,
                "folder": str(task.folder),
                "load": os.getloadavg()[0],
                **answer,
            }
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{task.name:32} {method:12} {answer.get('seconds', 0):7.1f} s {answer.get('error', '')}", flush=True)
    for worker in workers.values():
        worker.close()


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _read_with_truth(results: Path) -> list[dict[str, Any]]:
    """The answers, each with the ``truth``, the ``points_mm`` and, where the moving volume was posed, the ``pose``."""
    return [{**json.loads((Path(row["folder"]) / "truth.json").read_text()), **row} for row in _read(results)]


def main() -> None:
    """Register and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a few pairs and starts, in minutes")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "bench-registration")
    parser.add_argument("--methods", nargs="+", default=list(PYTHONS), choices=list(PYTHONS))
    parser.add_argument("--only", nargs="+", default=[""], help="parts: pair, aim, capture, starts; or pair/07")
    asked = parser.parse_args()
    plan, work = (QUICK if asked.quick else FULL), asked.work / ("quick" if asked.quick else "full")
    methods = tuple(method for method in asked.methods if Path(PYTHONS[method]).exists())
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f} at the start; methods: {', '.join(methods)}")
    folder = Path(os.environ.get("FUSIONNODE_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    real_data = folder if (folder / "README.md").is_file() else None
    work.mkdir(parents=True, exist_ok=True)
    results = work / "results.jsonl"
    pairs = _list_pairs(plan, work, real_data)
    tasks = [*pairs, *_list_posed(plan, work, _list_bases(pairs, work, real_data))]
    _register_all([task for task in tasks if task.name.startswith(tuple(asked.only))], methods, results)
    print_tables(_read_with_truth(results))


if __name__ == "__main__":
    main()
