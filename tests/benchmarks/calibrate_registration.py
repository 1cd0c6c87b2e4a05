"""Counts how often the verdict on a registration is wrong, on simulated pairs that are good and that are not.

Run it as ``python -m tests.benchmarks.calibrate_registration`` or ``make calibrate-registration`` (an hour or two;
``--quick`` a few minutes). Whatever was simulated or measured is kept in the folder, so that an interrupted run goes on
where it stopped; the verdict is not kept but passed anew, so that limits may be tried without measuring again.

The limits of `fusionnode.registration.plausible` were chosen by looking at the first eight pairs of each patient,
called "choice"; the rates to believe are those of the later ones, called "check".
"""

import argparse
import json
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from fusionnode.domain.grid import Affine, Grid
from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality, RigidMotion
from fusionnode.domain.volume import Volume
from fusionnode.errors import Refused, RegistrationImplausible
from fusionnode.pipeline.schema import Registration
from fusionnode.registration import quality
from fusionnode.registration.estimate import estimate_motion
from fusionnode.registration.plausible import require_plausible, require_quality
from fusionnode.registration.presets import PRESETS
from fusionnode.registration.shrink import shrink_volume
from tests.support.phantoms import make_motion
from tests.support.simulated_heads import list_heads, load_head, vary_head
from tests.support.simulated_pairs import (
    MrSpec,
    PairSpec,
    SimulatedPair,
    UptakeSpec,
    flip_left_right,
    make_pair,
    misplace,
)

HEADS = ("synthetic", "philips", "atlas-axial", "atlas-coronal", "atlas-t2")
_FIRST_CHECKED = 8
_HEIGHT_MM = PRESETS["brain-rigid"].head_height_mm
_OTHERS = 2
_FIGURES = ("centre_distance_mm", "overlap", "information", "information_at_start")
_FOUND_ELSEWHERE = {"information": 1.0, "information_at_start": 0.0}
"""What a motion is given that the estimator did not find: nothing to object to, so that its quality alone decides."""
_SPECT = ("perfusion", "striatum")
ALIKE, OTHER = "other patient, the same head deformed", "other patient, another head"
KINDS = ("good", "flipped", "30 mm off", "20 degrees off", ALIKE, OTHER)


@dataclass(frozen=True)
class Subject:
    """One simulated pair: whose head, which patient's variation of it, and the how manieth scan."""

    head: str
    patient: int
    scan: int

    @property
    def name(self) -> str:
        return f"{self.head}_{self.patient}_{self.scan}"

    @property
    def half(self) -> str:
        return "check" if self.scan >= _FIRST_CHECKED else "choice"

    @property
    def person(self) -> tuple[str, int]:
        """The two atlas heads that are not varied are one person seen in two planes."""
        return (
            "atlas" if self.patient == 0 and self.head in ("atlas-axial", "atlas-coronal") else self.head,
            self.patient,
        )


@dataclass(frozen=True)
class Plan:
    """What is to be tried, and where the results are kept."""

    folder: Path
    real_data: Path | None
    subjects: tuple[Subject, ...]
    registered: bool


def main() -> int:
    """Simulate, measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/calibration"), help="where everything is kept")
    parser.add_argument("--real-data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--patients", type=int, default=8, help="variations of each head, the head itself included")
    parser.add_argument("--scans", type=int, default=12, help="pairs of each patient")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--quick", action="store_true", help="two patients of each head, two pairs each")
    parser.add_argument("--registered", action="store_true", help="let the estimator find each motion (slow)")
    told = parser.parse_args()
    plan = _make_plan(told)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(told.jobs) as pool:
        list(pool.map(partial(_simulate, plan), _by_patient(plan.subjects)))
        trials = [one for many in pool.map(partial(_try_all, plan), plan.subjects) for one in many]
    for half in ("choice", "check"):
        print(f"\n{half}\n{draw_table([trial for trial in trials if trial['half'] == half])}")
    return 0


def _make_plan(told: argparse.Namespace) -> Plan:
    real_data = told.real_data if told.real_data.is_dir() else None
    patients, scans = (2, (0, _FIRST_CHECKED)) if told.quick else (told.patients, range(told.scans))
    subjects = tuple(
        Subject(head, patient, scan)
        for scan, patient, head in product(scans, range(patients), HEADS)
        if head in list_heads(real_data)
    )
    return Plan(told.folder, real_data, subjects, told.registered)


def _by_patient(subjects: tuple[Subject, ...]) -> list[tuple[Subject, ...]]:
    patients = dict.fromkeys((one.head, one.patient) for one in subjects)
    return [tuple(one for one in subjects if (one.head, one.patient) == patient) for patient in patients]


def _simulate(plan: Plan, scans: tuple[Subject, ...]) -> None:
    """Simulate the scans of one patient, unless they are there."""
    missing = [one for one in scans if not _pair_file(plan, one).exists()]
    if not missing:
        return
    first = missing[0]
    order = HEADS.index(first.head)
    head = vary_head(load_head(first.head, plan.real_data), first.patient and 10 * first.patient + order)
    for subject in missing:
        pair = make_pair(_draw_spec(subject, 1000 * subject.patient + 10 * subject.scan + order), head)
        # Both the estimator and the judge begin with this.
        small = replace(pair, fixed=shrink_volume(pair.fixed, 1.0), moving=shrink_volume(pair.moving, 1.0))
        _write(_pair_file(plan, subject), pickle.dumps(small))


def _draw_spec(subject: Subject, seed: int) -> PairSpec:
    """Scans as hospitals take them: four kinds of MR, five tracers, few and many counts, cut heads, lesions."""
    chance = np.random.default_rng([seed, 77])
    contrast = "native" if chance.random() < 0.5 else str(chance.choice(["t1", "t2", "flair"]))
    mr = MrSpec(
        contrast=contrast,
        spacing_mm=((1.0, 1.0, 1.0), (3.0, 0.9, 0.9), (5.0, 0.9, 0.9), (1.2, 1.2, 1.2))[chance.integers(4)],
        orientation=str(chance.choice(["axial", "axial", "coronal", "sagittal"])),
        bias=float(chance.uniform(0, 0.3)),
        gamma=float(chance.uniform(0.8, 1.3)),
        noise=float(chance.uniform(0.01, 0.06)),
    )
    kinds = ["fdg"] * 3 + ["perfusion"] * 2 + ["amyloid-negative", "amyloid-positive", "striatum"]
    uptake = _draw_uptake(str(chance.choice(kinds)), chance)
    turns, shift = (tuple(chance.uniform(-most, most, 3).tolist()) for most in (12, 14))
    return PairSpec(subject.head, subject.patient, mr, uptake, turns, shift, seed)


def _draw_uptake(kind: str, chance: np.random.Generator) -> UptakeSpec:
    spect = kind in _SPECT
    fwhm_mm = float(chance.uniform(8, 13) if spect else chance.uniform(4.5, 8))
    counts = float(10 ** (chance.uniform(5.8, 6.8) if spect else chance.uniform(6.3, 7.5)))
    spacings = ((3.27, 2.0, 2.0), (2.0, 2.0, 2.0), (4.25, 2.6, 2.6))
    spacing_mm = (4.0, 4.0, 4.0) if spect else spacings[chance.integers(3)]
    keep = ((0.0, 1.0), (0.0, 1.0), (0.3, 1.0), (0.4, 0.95))[chance.integers(4)]
    return UptakeSpec(kind, fwhm_mm, counts, spacing_mm, keep, lesions=int(chance.integers(0, 4)))


@dataclass(frozen=True, eq=False)
class _Case:
    """A pair as the judge sees it, the fixed head turned a little in its scanner, and the truth."""

    fixed: Volume
    anatomy: quality.Anatomy
    pair: SimulatedPair
    fixed_from_head: Affine
    centre_mm: quality.Floats
    seed: int

    @property
    def truth(self) -> RigidMotion:
        return RigidMotion(self.pair.truth.moving_from_fixed @ np.linalg.inv(self.fixed_from_head))


def _try_all(plan: Plan, subject: Subject) -> list[dict[str, Any]]:
    """Measure every trial of one subject, unless its measures are there."""
    path = plan.folder / f"{subject.name}{'-registered' if plan.registered else ''}.json"
    if not path.exists():
        case = _open_case(plan, subject)
        trials = [
            {"kind": kind, "tracer": tracer, **_measure(case, moving, find)}
            for kind, tracer, moving, find in _list_trials(plan, subject, case)
        ]
        _write(path, json.dumps(trials).encode())
    return [{"half": subject.half, "subject": subject.name, **trial} for trial in json.loads(path.read_text())]


Find = Callable[[_Case, Volume], RigidMotion | MotionEstimate]


def _list_trials(plan: Plan, subject: Subject, case: _Case) -> Iterator[tuple[str, str, Volume, Find]]:
    """Name of the kind, tracer, uptake, and how the motion comes about that is to be judged."""
    chance = np.random.default_rng([case.seed, 5])
    tracer = _tracer(subject)
    moving = case.pair.moving
    near = misplace(case.truth, case.centre_mm, abs(chance.normal(0, 1.0)), abs(chance.normal(0, 0.6)), case.seed)
    yield "good", tracer, moving, _register if plan.registered else _hand_over(near)
    flipped = flip_left_right(moving)
    there = _reflect(flipped.grid.centre_mm) @ case.truth.moving_from_fixed @ _reflect(case.centre_mm)
    yield "flipped", tracer, flipped, _register if plan.registered else partial(_fit, start=there)
    if not plan.registered:
        yield "30 mm off", tracer, moving, _hand_over(misplace(case.truth, case.centre_mm, 30, 0, case.seed))
        yield "20 degrees off", tracer, moving, _hand_over(misplace(case.truth, case.centre_mm, 0, 20, case.seed))
    for other in _choose_others(plan, subject, chance):
        theirs: SimulatedPair = pickle.loads(_pair_file(plan, other).read_bytes())
        shift = np.eye(4)
        shift[:3, 3] = theirs.points_mm.mean(axis=0) - case.pair.points_mm.mean(axis=0)
        start = theirs.truth.moving_from_fixed @ shift @ np.linalg.inv(case.fixed_from_head)
        find = _register if plan.registered else partial(_fit, start=start)
        yield ALIKE if other.head == subject.head else OTHER, _tracer(other), theirs.moving, find


def _choose_others(plan: Plan, subject: Subject, chance: np.random.Generator) -> list[Subject]:
    """Other people of the same half: one variation of the same head, the others from other heads."""
    others = [one for one in plan.subjects if one.person != subject.person and one.half == subject.half]
    alike = [one for one in others if one.head == subject.head]
    unlike = [one for one in others if one.head != subject.head]
    chosen = [alike[chance.integers(len(alike))]] if alike else []
    return chosen + [unlike[index] for index in chance.choice(len(unlike), min(_OTHERS, len(unlike)), replace=False)]


def _open_case(plan: Plan, subject: Subject) -> _Case:
    pair: SimulatedPair = pickle.loads(_pair_file(plan, subject).read_bytes())
    seed = sum(map(ord, subject.name)) * 7919 % 10_007
    turns = np.random.default_rng([seed, 9]).uniform(-8, 8, 3).tolist()
    grid = pair.fixed.grid
    placed = make_motion(tuple(turns), (0, 0, 0), tuple(grid.centre_mm.tolist())).moving_from_fixed
    origin_mm = placed[:3, :3] @ grid.origin_mm + placed[:3, 3]
    turned = Grid.from_axes(grid.shape, origin_mm, placed[:3, :3] @ grid.directions, grid.spacing_mm)
    fixed = replace(pair.fixed, grid=turned)
    centre_mm = placed[:3, :3] @ pair.points_mm.mean(axis=0) + placed[:3, 3]
    return _Case(fixed, quality.describe_anatomy(fixed, _HEIGHT_MM), pair, placed, centre_mm, seed)


def _measure(case: _Case, moving: Volume, find: Find) -> dict[str, Any]:
    """The quality of the motion found, or why there is none."""
    try:
        found = find(case, moving)
    except RegistrationImplausible as error:
        return {"refused": str(error)}
    motion = found.motion if isinstance(found, MotionEstimate) else found
    uptake = quality.describe_uptake(quality.crop_to_head(moving, case.anatomy, motion))
    measured = {"quality": asdict(quality.compare(case.anatomy, uptake, motion))}
    if isinstance(found, MotionEstimate):
        measured["estimate"] = list_figures(found)
    return measured


def list_figures(estimate: MotionEstimate) -> dict[str, float]:
    """What `judge` asks of a motion that the estimator found."""
    return {name: getattr(estimate, name) for name in _FIGURES} | {"rotation_deg": estimate.motion.rotation_deg}


def _hand_over(motion: RigidMotion) -> Find:
    return lambda case, moving: motion


def _register(case: _Case, moving: Volume) -> MotionEstimate:
    return estimate_motion(case.fixed, moving, PRESETS["brain-rigid"])


def _fit(case: _Case, moving: Volume, start: Affine) -> RigidMotion:
    """The best fit by the judge's own yardstick, from starts around ``start``: what is hardest to tell from a match."""
    uptake = quality.describe_uptake(moving)
    view = quality.View.build(
        case.anatomy, uptake, quality.find_inside(case.anatomy.points_mm, start, uptake.grid, 8.0)
    )
    turns, lifts_mm = ((0, 0, 0), (-10, 0, 0), (10, 0, 0), (0, 0, 8), (0, 0, -8)), (-10, 0, 10)
    poses = [
        start @ make_motion(turn, (0, 0, lift_mm), tuple(case.centre_mm.tolist())).moving_from_fixed
        for turn, lift_mm in product(turns, lifts_mm)
    ]
    best = sorted(poses, key=lambda pose: view.look(pose).left)[:3]
    pose = min((quality.climb(view, one) for one in best), key=lambda climbed: climbed[1])[0]
    left, _, right = np.linalg.svd(pose[:3, :3])
    rigid = pose.copy()
    rigid[:3, :3] = left @ right
    return RigidMotion(rigid)


def _reflect(centre_mm: quality.Floats) -> Affine:
    """Left for right about a plane through the point."""
    mirror: Affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2 * centre_mm[0]
    return mirror


def judge(trial: dict[str, Any]) -> str:
    """Pass this version's verdict, with a pipeline's default limits: accepted, warned or refused."""
    if "quality" not in trial:
        return "refused"
    limits = Registration()
    figures = {"centre_distance_mm": 0.0, "overlap": 1.0, **trial.get("estimate", _FOUND_ELSEWHERE)}
    motion = make_motion((figures.pop("rotation_deg", 0.0), 0, 0), (0, 0, 0))
    try:
        judged = require_plausible(
            MotionEstimate(motion, MotionMethod.REGISTERED, limits.preset, **figures),
            max_rotation_deg=limits.max_rotation_deg,
            max_centre_distance_mm=limits.max_centre_distance_mm,
            min_overlap=limits.min_overlap,
        )
        judged = require_quality(judged, MotionQuality(**trial["quality"]))
    except Refused:
        return "refused"
    return "warned" if judged.warnings else "accepted"


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927), 0 to 1."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def draw_table(trials: list[dict[str, Any]], kinds: tuple[str, ...] = KINDS, good: str = "good") -> str:
    """A row for each kind of pair: how it was judged, and how often wrongly; ``good`` names what should be accepted."""
    lines = ["| pairs | n | accepted | with a warning | refused | wrong | 95 % |", "|---|---|---|---|---|---|---|"]
    for kind in kinds:
        verdicts = [judge(trial) for trial in trials if trial["kind"] == kind]
        counts = [verdicts.count(one) for one in ("accepted", "warned", "refused")]
        wrong = counts[2] if kind == good else counts[0] + counts[1]
        low, high = wilson(wrong, len(verdicts))
        share = wrong / len(verdicts) if verdicts else math.nan
        lines.append(
            f"| {kind} | {len(verdicts)} | {' | '.join(map(str, counts))} | {share:.1%} | {low:.1%} to {high:.1%} |"
        )
    return "\n".join(lines)


def _tracer(subject: Subject) -> str:
    order = HEADS.index(subject.head)
    return _draw_spec(subject, 1000 * subject.patient + 10 * subject.scan + order).uptake.kind


def _pair_file(plan: Plan, subject: Subject) -> Path:
    return plan.folder / f"{subject.name}.pickle"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, since a run may be interrupted."""
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
