"""Three scanners: how each samples, blurs and spoils the head, and how the head lay in each (pure)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_samples.shapes import Field
from dicom_samples.tissues import LOW_MM, Canvas
from fusionnode.domain.grid import Affine, Grid
from fusionnode.domain.motion import RigidMotion

GREY_BQML = 14500.0
"""Activity of grey matter: an SUV of about 8 for the dose and weight written into the headers."""
GREY_COUNTS = 900.0
PET_FWHM_MM = 5.5
SPECT_FWHM_MM = 9.5


@dataclass(frozen=True, eq=False)
class Scan:
    """Voxels [slice, row, column] as the scanner would state them (signal, Bq/ml, counts), and their grid."""

    voxels: NDArray[np.float64]
    grid: Grid


def make_motion(
    axis: tuple[float, float, float], angle_deg: float, shift_mm: tuple[float, float, float]
) -> RigidMotion:
    """Turn about ``axis`` through the origin (LPS, right-handed; Rodrigues' formula), then shift."""
    direction = np.asarray(axis) / np.linalg.norm(axis)
    first, second, third = direction
    cross = np.array([[0, -third, second], [third, 0, -first], [-second, first, 0]])
    angle = np.radians(angle_deg)
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = shift_mm
    # Rounded, so that the manifest holds the very matrix that was used.
    return RigidMotion(np.round(matrix, 9))


PET_MOTION = make_motion((0.35, -0.50, 0.79), 6.0, (5.0, -6.0, 4.5))
SPECT_MOTION = make_motion((0.60, 0.30, -0.74), 8.0, (-7.0, 8.0, -5.5))


def scan_mr(head: Canvas) -> Scan:
    """T1-weighted: slice profile, receive bias of a few percent, Rician noise."""
    grid = _lay_grid((45, 160, 128), (4.0, 1.4, 1.4), centre_mm=(0.0, -4.0, 0.0))
    signal = _sample(head.t1, grid, RigidMotion.identity(), (1.4, 0.5, 0.5))
    random = np.random.RandomState(11)
    texture = ndimage.gaussian_filter(random.standard_normal(grid.shape), 1.1)
    signal *= _shape_bias(grid) * (1 + 0.10 * texture)
    real, imaginary = 8.0 * random.standard_normal((2, *grid.shape))
    return Scan(np.hypot(signal + real, imaginary), grid)


def scan_pet(head: Canvas) -> Scan:
    """FDG in Bq/ml: blur of the camera, noise that grows with the root of the activity."""
    grid = _lay_grid((44, 96, 96), (4.0, 2.5, 2.5), centre_mm=(3.0, -6.0, 2.0))
    uptake = _sample(head.fdg, grid, PET_MOTION, (PET_FWHM_MM / 2.3548,) * 3)
    return Scan(GREY_BQML * _add_noise(uptake, seed=12, amount=0.09), grid)


def scan_spect(head: Canvas) -> Scan:
    """Perfusion in counts: a coarser camera, more noise."""
    grid = _lay_grid((44, 64, 64), (3.9, 3.9, 3.9), centre_mm=(-5.0, 4.0, -4.0))
    uptake = _sample(head.perfusion, grid, SPECT_MOTION, (SPECT_FWHM_MM / 2.3548,) * 3)
    return Scan(GREY_COUNTS * _add_noise(uptake, seed=13, amount=0.12), grid)


def _lay_grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], centre_mm: tuple[float, float, float]
) -> Grid:
    """An axial grid, feet to head, rows to the back, columns to the left, about ``centre_mm``."""
    directions = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    half = np.array([(count - 1) / 2 * step for count, step in zip(shape, spacing_mm, strict=True)])
    return Grid.from_axes(shape, np.asarray(centre_mm) - directions @ half, directions, spacing_mm)


def _sample(tissue: Field, grid: Grid, motion: RigidMotion, sigma_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Blur the lattice (its pitch is 1 mm, so mm are cells) and read it where the head lay in this scanner."""
    blurred = ndimage.gaussian_filter(tissue.astype(np.float64), sigma_mm)
    lattice_from_index = _lattice_from_patient() @ motion.fixed_from_moving @ grid.patient_from_index
    index = np.indices(grid.shape, dtype=np.float64).reshape(3, -1)
    points = lattice_from_index[:3, :3] @ index + lattice_from_index[:3, 3:]
    values = ndimage.map_coordinates(blurred, points, order=1, mode="constant")
    return np.asarray(values, dtype=np.float64).reshape(grid.shape)


def _lattice_from_patient() -> Affine:
    matrix = np.zeros((4, 4))
    matrix[0, 2] = matrix[1, 1] = matrix[2, 0] = matrix[3, 3] = 1.0
    matrix[:3, 3] = [-LOW_MM[2], -LOW_MM[1], -LOW_MM[0]]
    return matrix


def _shape_bias(grid: Grid) -> NDArray[np.float64]:
    """A smooth receive field: brighter towards the coil at the back and left."""
    slices, rows, columns = (np.linspace(-1, 1, count) for count in grid.shape)
    tilt = 0.05 * rows[None, :, None] + 0.03 * columns[None, None, :] - 0.03 * slices[:, None, None]
    bowl = 0.06 * (rows[None, :, None] ** 2 + columns[None, None, :] ** 2)
    return np.asarray(0.97 + tilt + bowl)


def _add_noise(uptake: NDArray[np.float64], seed: int, amount: float) -> NDArray[np.float64]:
    grain = ndimage.gaussian_filter(np.random.RandomState(seed).standard_normal(uptake.shape), 0.8)
    return np.asarray(np.maximum(uptake + amount * np.sqrt(uptake + 0.005) * grain, 0.0))
