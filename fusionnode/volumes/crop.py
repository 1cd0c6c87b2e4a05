"""Cuts from a volume what another grid can see of it (middle)."""

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.volume import Volume

_MARGIN_STEPS = 3.0
"""How many voxels of the coarser grid the cut reaches beyond: a blur before resampling looks no further."""


def crop_to_view(moving: Volume, grid: Grid, motion: RigidMotion) -> Volume:
    """Return the part of ``moving`` whose voxels can matter at the voxels of ``grid``, which lies in fixed space.

    A whole-body PET is many times larger than the head that an MRI shows. The part has the same voxels on the same
    places, as a copy, so that the whole can be dropped; sources stay those of all slices. A volume that does not reach
    the grid is returned as it is.

    Args:
        moving: the volume to cut from.
        grid: of the fixed series.
        motion: from fixed to moving space.
    """
    first, last = _find_reach(moving.grid, grid, motion)
    begin, end = np.maximum(first, 0), np.minimum(last, moving.grid.shape)
    if (end <= begin).any() or (end - begin == moving.grid.shape).all():
        return moving
    cut = tuple(slice(int(a), int(b)) for a, b in zip(begin, end, strict=True))
    voxels = np.ascontiguousarray(moving.voxels[cut]).copy()
    start = (int(begin[0]), int(begin[1]), int(begin[2]))
    part = moving.grid.cut(start, (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
    return replace(moving, voxels=voxels, grid=part)


def _find_reach(moving: Grid, fixed: Grid, motion: RigidMotion) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first voxel index (slice, row, column) of ``moving`` that is needed, and the first beyond, unclipped."""
    corners = np.asarray(list(itertools.product(*((-0.5, count - 0.5) for count in fixed.shape))))
    moving_from_fixed = motion.moving_from_fixed
    points_mm = fixed.points_mm(corners) @ moving_from_fixed[:3, :3].T + moving_from_fixed[:3, 3]
    index_from_patient = np.linalg.inv(moving.patient_from_index)
    indices = points_mm @ index_from_patient[:3, :3].T + index_from_patient[:3, 3]
    spacing_mm = np.asarray(moving.spacing_mm)
    margin = np.ceil(_MARGIN_STEPS * max(*fixed.spacing_mm, *moving.spacing_mm) / spacing_mm)
    bound = np.asarray(moving.shape)
    first = np.clip(np.floor(indices.min(axis=0)) - margin, -1, bound)
    last = np.clip(np.ceil(indices.max(axis=0)) + margin + 1, 0, bound + 1)
    return first.astype(np.intp), last.astype(np.intp)
