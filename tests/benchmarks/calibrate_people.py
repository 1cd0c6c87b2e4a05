"""Counts how often the verdict on a registration is wrong, on real scans of real people.

Run it as ``python -m tests.benchmarks.calibrate_people`` (a quarter of an hour; needs the picture pairs of the Harvard
Whole Brain Atlas in the folder of real data). Every MRI is registered from scratch with the uptake of its own patient,
moved by a known motion, with the same flipped, and with the uptake of every other patient. A second table judges the
right pairs' motions, made wrong on purpose.

The atlas shows slices 1 mm to the pixel, more or less, and does not tell how far they lie apart: 3.5 mm is taken where
there are many of a head, 7 mm where there are few. Slices that the collection left out are interpolated. The MRI and
the uptake of one patient share all that, so both are wrong alike.
"""

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.errors import Refused
from fusionnode.registration.estimate import estimate_motion
from fusionnode.registration.presets import PRESETS
from fusionnode.registration.quality import measure_quality
from fusionnode.training.datasets import Pair, load_pairs
from tests.benchmarks.calibrate_registration import draw_table, judge, list_figures
from tests.support.phantoms import make_motion
from tests.support.simulated_pairs import flip_left_right, misplace

OTHER = "another patient"
KINDS = ("right", "flipped", OTHER, "30 mm off", "20 degrees off")
_MOTIONS = 3
"""How many known motions each patient's own uptake is moved by."""
_MOST_TURN_DEG, _MOST_SHIFT_MM = 12.0, 14.0
_FINE_MM, _COARSE_MM, _MANY = 3.5, 7.0, 20
_PRESET = PRESETS["brain-rigid"]


@dataclass(frozen=True, eq=False)
class _Patient:
    """One patient's MRI and uptake on the same grid."""

    case: str
    mri: Volume
    uptake: Volume


def main() -> int:
    """Register and judge every combination, and print what became of each that went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--real-data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    told = parser.parse_args()
    patients = _load_patients(told.real_data / "harvard")
    with ProcessPoolExecutor(told.jobs) as pool:
        trials = [trial for trials in pool.map(partial(_try_all, patients), range(len(patients))) for trial in trials]
    for trial in trials:
        if (judge(trial) == "refused") == (trial["kind"] == "right"):
            print(f"wrong: {trial['kind']}, MRI {trial['mri']}, uptake {trial['uptake']}: {_tell(trial)}")
    print(f"\n{len(patients)} people\n\n{draw_table(trials, KINDS, good='right')}")
    return 0


def _load_patients(folder: Path) -> list[_Patient]:
    spect = [pair for pair in load_pairs(folder) if pair.group == "SPECT-MRI"]
    return [_stack(case, list(pairs)) for case, pairs in groupby(spect, key=lambda pair: pair.case)]


def _stack(case: str, pairs: list[Pair]) -> _Patient:
    """Pile up a patient's slices, which are numbered from below."""
    numbers = np.array([int(pair.name.removeprefix(case)) for pair in pairs])
    spacing_mm = _FINE_MM if np.ptp(numbers) >= _MANY else _COARSE_MM
    mri, uptake = (_fill([getattr(pair, name) for pair in pairs], numbers) for name in ("fixed", "uptake"))
    # The picture's left is the patient's right, its top the front.
    origin_mm = -np.array([mri.shape[2] - 1, mri.shape[1] - 1, (mri.shape[0] - 1) * spacing_mm]) / 2
    directions = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=np.float64)
    grid = Grid.from_axes(mri.shape, origin_mm, directions, (spacing_mm, 1.0, 1.0))
    return _Patient(case, *(Volume(voxels, grid, Unit.ARBITRARY, "", "") for voxels in (mri, uptake)))


def _fill(slices: list[NDArray[np.float32]], numbers: NDArray[np.int64]) -> Any:
    """Slices by ascending number, those that are not there interpolated between their neighbours."""
    stack = np.stack(slices)[np.argsort(numbers)]
    places = np.interp(np.arange(numbers.min(), numbers.max() + 1), np.sort(numbers), np.arange(len(numbers)))
    below = np.floor(places).astype(int)
    share = (places - below)[:, None, None]
    return ((1 - share) * stack[below] + share * stack[np.minimum(below + 1, len(stack) - 1)]).astype(np.float32)


def _try_all(patients: list[_Patient], index: int) -> list[dict[str, Any]]:
    return list(_list_trials(patients, index))


def _list_trials(patients: list[_Patient], index: int) -> Iterator[dict[str, Any]]:
    own = patients[index]
    for other, turn in product(patients, range(_MOTIONS)):
        if other is not own and turn:
            continue
        told = {"mri": own.case, "uptake": other.case, "half": "all"}
        motion = _draw_motion(index, turn)
        moved = _move(other.uptake, motion)
        yield {**told, "kind": "right" if other is own else OTHER, **_register(own.mri, moved)}
        if other is own:
            yield {**told, "kind": "flipped", **_register(own.mri, _move(flip_left_right(other.uptake), motion))}
            for kind, shift_mm, turn_deg in (("30 mm off", 30, 0), ("20 degrees off", 0, 20)):
                wrong = misplace(motion, own.mri.grid.centre_mm, shift_mm, turn_deg, 10 * index + turn)
                yield {**told, "kind": kind, **_examine(own.mri, moved, wrong)}


def _draw_motion(index: int, turn: int) -> RigidMotion:
    """The truth, moving from fixed; seeded."""
    chance = np.random.default_rng([index, turn, 15])
    turns = tuple(chance.uniform(-_MOST_TURN_DEG, _MOST_TURN_DEG, 3).tolist())
    return make_motion(turns, tuple(chance.uniform(-_MOST_SHIFT_MM, _MOST_SHIFT_MM, 3).tolist()))


def _move(volume: Volume, motion: RigidMotion) -> Volume:
    """The same voxels on a grid that lies elsewhere, as a patient does on another table."""
    grid = Grid(volume.grid.shape, motion.moving_from_fixed @ volume.grid.patient_from_index)
    return replace(volume, grid=grid)


def _register(mri: Volume, uptake: Volume) -> dict[str, Any]:
    try:
        estimate = estimate_motion(mri, uptake, _PRESET)
    except Refused as error:
        return {"refused": str(error)}
    return _examine(mri, uptake, estimate.motion) | {"estimate": list_figures(estimate)}


def _examine(mri: Volume, uptake: Volume, motion: RigidMotion) -> dict[str, Any]:
    return {"quality": asdict(measure_quality(mri, uptake, motion, _PRESET.head_height_mm))}


def _tell(trial: dict[str, Any]) -> str:
    figures = trial.get("quality", {}) | trial.get("estimate", {})
    return trial.get("refused") or ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


if __name__ == "__main__":
    sys.exit(main())
