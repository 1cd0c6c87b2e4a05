"""Makes the edge cases: ``python -m dicom_samples.edge_cases.make FOLDER [CASE ...]`` (edge)."""

import sys
from collections.abc import Iterable
from pathlib import Path

from pydicom import Dataset

from dicom_samples.edge_cases import encodings, geometry, identities, kinds, mixtures, multiframe, units
from dicom_samples.edge_cases.study import Builder, Study

CASES: dict[str, Builder] = {
    **geometry.CASES,
    **mixtures.CASES,
    **units.CASES,
    **identities.CASES,
    **kinds.CASES,
    **multiframe.CASES,
    **encodings.CASES,
}


def make_cases(folder: Path, names: Iterable[str] = CASES) -> None:
    """Write ``CASE/SERIES/0001.dcm`` and so on below ``folder`` for each of ``names``."""
    for name in names:
        for series, objects in CASES[name](Study(name)).items():
            (folder / name / series).mkdir(parents=True, exist_ok=True)
            for number, one in enumerate(objects, start=1):
                _write(folder / name / series / f"{number:04d}.dcm", one)


def _write(path: Path, one: Dataset | bytes) -> None:
    if isinstance(one, bytes):
        path.write_bytes(one)
    else:
        one.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    make_cases(Path(sys.argv[1]), sys.argv[2:] or CASES)
