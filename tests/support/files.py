"""Writes synthetic datasets to disk."""

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmwrite


def write_series(folder: Path, datasets: Sequence[Dataset]) -> list[Path]:
    """Write each dataset as a DICOM file named by its SOP Instance UID; return the paths in the given order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{ds.SOPInstanceUID}.dcm" for ds in datasets]
    for path, ds in zip(paths, datasets, strict=True):
        dcmwrite(path, ds, enforce_file_format=True)
    return paths
