"""Makes the sample studies and their manifest: ``python -m dicom_samples.make_samples [FOLDER]`` (edge)."""

import hashlib
import sys
from pathlib import Path

import numpy as np
from pydicom import Dataset

from dicom_samples.anatomy import COLD_MM, NODULE_MM, build_head
from dicom_samples.objects import build_mr, build_pet, build_spect
from dicom_samples.scanners import PET_MOTION, SPECT_MOTION, scan_mr, scan_pet, scan_spect
from fusionnode.domain.motion import RigidMotion

HERE = Path(__file__).parent
_PREAMBLE = """\
# Written by `python -m dicom_samples.make_samples`; do not edit. No human being was imaged.
# Transforms map LPS millimetres of the MR's frame of reference to those of the moving series.
"""


def make_samples(folder: Path) -> None:
    """Write ``head/{mr,pt,nm}/*.dcm`` and ``MANIFEST.toml`` below ``folder``."""
    head = build_head()
    series = {
        "mr": build_mr(scan_mr(head)),
        "pt": build_pet(scan_pet(head)),
        "nm": build_spect(scan_spect(head)),
    }
    for name, objects in series.items():
        _write_series(folder / "head" / name, objects)
    (folder / "MANIFEST.toml").write_text(_describe(folder, series), encoding="utf-8")


def _write_series(folder: Path, objects: list[Dataset]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.dcm"):
        stale.unlink()
    for number, ds in enumerate(objects, start=1):
        ds.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


def _describe(folder: Path, series: dict[str, list[Dataset]]) -> str:
    parts = [_PREAMBLE, _describe_landmarks()]
    for name, title, motion in (("pt", "pet", PET_MOTION), ("nm", "spect", SPECT_MOTION)):
        parts.append(_describe_truth(title, series["mr"][0], series[name][0], motion))
    parts.append("[sha256]\n" + "\n".join(_list_hashes(folder)) + "\n")
    return "\n".join(parts)


def _describe_landmarks() -> str:
    return (
        "[landmarks]\n"
        f"hot_nodule_mm = {list(NODULE_MM)}  # right frontal white matter, MR frame\n"
        f"cold_cortex_mm = {list(COLD_MM)}  # left parietal cortex, MR frame\n"
    )


def _describe_truth(title: str, fixed: Dataset, moving: Dataset, motion: RigidMotion) -> str:
    rows = ",\n".join(f"    [{', '.join(repr(float(value)) for value in row)}]" for row in motion.moving_from_fixed)
    return (
        f"[truth.{title}]\n"
        f'fixed_series = "{fixed.SeriesInstanceUID}"\n'
        f'moving_series = "{moving.SeriesInstanceUID}"\n'
        f"rotation_deg = {motion.rotation_deg:.3f}\n"
        f"displacement_mm = {motion.displacement_mm(np.zeros(3)):.3f}  # of the MR frame's origin\n"
        f"moving_from_fixed = [\n{rows},\n]\n"
    )


def _list_hashes(folder: Path) -> list[str]:
    return [
        f'"{path.relative_to(folder).as_posix()}" = "{hashlib.sha256(path.read_bytes()).hexdigest()}"'
        for path in sorted((folder / "head").rglob("*.dcm"))
    ]


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
