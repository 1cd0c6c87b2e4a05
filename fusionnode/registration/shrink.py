"""Averages voxels that are finer than anything compared needs, without a second copy of the volume (middle)."""

import math
from dataclasses import replace

import numpy as np

from fusionnode.domain.grid import Grid
from fusionnode.domain.volume import Volume


def shrink_volume(volume: Volume, spacing_mm: float) -> Volume:
    """Average over whole voxels, as many along each axis as ``spacing_mm`` holds; not-a-numbers and infinities count 0.

    What is left over at the end of an axis is left out. The result names no sources.
    """
    factors = [
        max(1, min(size, math.floor(spacing_mm / own_mm + 1e-6)))
        for own_mm, size in zip(volume.grid.spacing_mm, volume.grid.shape, strict=True)
    ]
    shape = (
        volume.grid.shape[0] // factors[0],
        volume.grid.shape[1] // factors[1],
        volume.grid.shape[2] // factors[2],
    )
    if shape == volume.grid.shape and all(np.isfinite(layer).all() for layer in volume.voxels):
        return replace(volume, sources=())
    shrunk = np.empty(shape, dtype=np.float32)
    rows, columns = shape[1] * factors[1], shape[2] * factors[2]
    for index in range(shape[0]):
        # One layer at a time, because a series at the limit of what is read leaves no room for another of its size.
        layer = volume.voxels[index * factors[0] : (index + 1) * factors[0], :rows, :columns]
        blocks = np.nan_to_num(layer, nan=0.0, posinf=0.0, neginf=0.0).reshape(
            factors[0], shape[1], factors[1], shape[2], factors[2]
        )
        shrunk[index] = blocks.mean(axis=(0, 2, 4), dtype=np.float32)
    return replace(volume, voxels=shrunk, grid=_coarsen(volume.grid, shape, factors), sources=())


def _coarsen(grid: Grid, shape: tuple[int, int, int], factors: list[int]) -> Grid:
    """The grid of blocks of voxels, whose centres lie between those of their voxels."""
    index_from_block = np.diag([*map(float, factors), 1.0])
    index_from_block[:3, 3] = (np.asarray(factors) - 1) / 2
    return Grid(shape, grid.patient_from_index @ index_from_block)
