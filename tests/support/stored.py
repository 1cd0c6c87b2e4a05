"""Looks at a stored fused series from outside, with the eyes of other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from tests.support.files import write_series


@dataclass(frozen=True)
class Geometry:
    """What SimpleITK's own DICOM reader makes of a folder: LPS mm, index order column, row, slice."""

    size: tuple[int, ...]
    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    direction: tuple[float, ...]


def read_geometry(folder: Path) -> Geometry:
    """Read the one series in ``folder``."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    return Geometry(image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection())


def assert_same_geometry(fused: Sequence[Dataset], fixed_folder: Path, scratch: Path) -> None:
    """Check that SimpleITK reads ``fused`` with the geometry it reads ``fixed_folder`` with."""
    write_series(scratch, fused)
    found, expected = read_geometry(scratch), read_geometry(fixed_folder)
    assert found.size == expected.size
    np.testing.assert_allclose(found.origin, expected.origin, atol=1e-2)
    np.testing.assert_allclose(found.spacing, expected.spacing, atol=1e-3)
    np.testing.assert_allclose(found.direction, expected.direction, atol=1e-4)


def head_grid_mm(fixed_folder: Path) -> NDArray[np.float64]:
    """Points (n, 3), LPS mm, on a lattice through the middle of the fixed series, the size of a head."""
    geometry = read_geometry(fixed_folder)
    direction = np.asarray(geometry.direction).reshape(3, 3)
    middle = np.asarray(geometry.origin) + direction @ (
        (np.asarray(geometry.size) - 1) / 2 * np.asarray(geometry.spacing)
    )
    offsets = np.stack(np.meshgrid(*[np.linspace(-half, half, 7) for half in (70, 85, 60)]), axis=-1).reshape(-1, 3)
    points: NDArray[np.float64] = middle + offsets
    return points


def mean_error_mm(found: NDArray[np.float64], truth: NDArray[np.float64], points_mm: NDArray[np.float64]) -> float:
    """Mean distance in mm between where two 4x4 transforms carry the points."""
    homogeneous = np.column_stack([points_mm, np.ones(len(points_mm))])
    return float(np.linalg.norm((homogeneous @ (found - truth).T)[:, :3], axis=1).mean())


def moving_from_fixed(registration: Dataset) -> NDArray[np.float64]:
    """Read the motion out of a Spatial Registration object (PS3.3 C.20.2), as any other program would."""
    moving = registration.RegistrationSequence[-1]
    item = moving.MatrixRegistrationSequence[0].MatrixSequence[0]
    fixed_from_moving = np.asarray(item.FrameOfReferenceTransformationMatrix, dtype=np.float64).reshape(4, 4)
    inverse: NDArray[np.float64] = np.linalg.inv(fixed_from_moving)
    return inverse
