"""Shows the verdict on every real MRI of a head with every real PET and SPECT, each also with left and right exchanged.

Run it as ``python -m tests.benchmarks.calibrate_real`` (some minutes; needs the atlas and Philips series in the folder
of real data). Each pair is registered from scratch, whatever its frames of reference say.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from fusionnode.domain.motion import MotionEstimate
from fusionnode.domain.volume import Volume
from fusionnode.errors import Refused
from fusionnode.pipeline.schema import Registration
from fusionnode.registration.estimate import estimate_motion
from fusionnode.registration.plausible import require_plausible, require_quality
from fusionnode.registration.presets import PRESETS
from fusionnode.registration.quality import measure_quality
from fusionnode.volumes.assemble import assemble_volume
from tests.support.simulated_pairs import flip_left_right

SAMPLE = Path(__file__).parents[2] / "dicom_samples" / "head"
PEOPLE = {"sample": "the sample head", "axial": "A", "coronal": "A", "spect": "B", "philips": "C"}
"""Whose head each series shows; the atlas' two PET series are of one person."""
_ATLAS = {"axial": ("pet_axial", "pt"), "coronal": ("pet_hybrid", "pt"), "spect": ("spect_a", "nm")}
_TITLES = ("MRI", "uptake", "pair", "nats", "mirror margin", "second opinion", "starts apart", "stretch", "verdict")


@dataclass(frozen=True)
class _Series:
    """One real series: a key of `PEOPLE`, what it is called in the table, and its voxels."""

    person: str
    name: str
    volume: Volume


def main() -> int:
    """Register and judge every combination and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--real-data", type=Path, default=Path("../shared/data"))
    real_data = parser.parse_args().real_data
    print(f"| {' | '.join(_TITLES)} |\n|{'---|' * len(_TITLES)}")
    functional = list(_list_functional(real_data))
    for fixed in _list_mri(real_data):
        for moving in functional:
            print(_judge(fixed, moving), flush=True)
    return 0


def _list_mri(real_data: Path) -> Iterator[_Series]:
    yield _Series("sample", "sample", _load(SAMPLE / "mr"))
    for person, (folder, _) in _ATLAS.items():
        yield _Series(person, person, _load(real_data / "aanlib" / folder / "mr"))
    yield _Series("philips", "philips", _load(real_data / "philips_mr" / "classic_1301_T1_MPRAGE"))


def _list_functional(real_data: Path) -> Iterator[_Series]:
    folders = [("sample", SAMPLE / "pt"), ("sample", SAMPLE / "nm")]
    folders += [(person, real_data / "aanlib" / folder / kind) for person, (folder, kind) in _ATLAS.items()]
    for person, folder in folders:
        series = _Series(person, f"{person} {folder.name}", _load(folder))
        yield series
        yield _Series(person, f"{series.name}, flipped", flip_left_right(series.volume))


def _load(folder: Path) -> Volume:
    return assemble_volume([dcmread(path) for path in sorted(folder.glob("*.dcm"))])


def _judge(fixed: _Series, moving: _Series) -> str:
    pair = "right" if fixed.person == moving.person else "another patient"
    if PEOPLE[fixed.person] == PEOPLE[moving.person] and fixed.person != moving.person:
        pair = "right, other scan"
    if "flipped" in moving.name:
        pair = f"{pair}, flipped".removeprefix("right, ")
    preset, limits = PRESETS["brain-rigid"], Registration()
    try:
        estimate = estimate_motion(fixed.volume, moving.volume, preset)
    except Refused as error:
        return f"| {fixed.name} | {moving.name} | {pair} | | | | | | refused: {error} |"
    quality = measure_quality(fixed.volume, moving.volume, estimate.motion, preset.head_height_mm)
    figures = (
        f"{estimate.information:.2f} | {quality.mirror_margin:.3f} | {quality.second_opinion_mm:.1f} mm | "
        f"{quality.starts_apart_mm:.1f} mm | {quality.stretch:.0%}"
    )
    try:
        judged = require_quality(_require_plausible(estimate, limits), quality)
        verdict = f"accepted, {len(judged.warnings)} warnings" if judged.warnings else "accepted"
    except Refused:
        verdict = "refused"
    return f"| {fixed.name} | {moving.name} | {pair} | {figures} | {verdict} |"


def _require_plausible(estimate: MotionEstimate, limits: Registration) -> MotionEstimate:
    return require_plausible(
        estimate,
        max_rotation_deg=limits.max_rotation_deg,
        max_centre_distance_mm=limits.max_centre_distance_mm,
        min_overlap=limits.min_overlap,
    )


if __name__ == "__main__":
    sys.exit(main())
