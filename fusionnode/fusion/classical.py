"""Classical fusion rules (middle): nothing to learn, and the yardstick for everything that is.

One contract: two float32 tensors (batch, 1, rows, columns) in [0, 1] → one of the same, of any size. Every fused pixel
lies between the two source pixels, so nothing is invented: what is black in both stays black, and an image fused with
itself is itself. Only element-wise arithmetic is used, so a slice gives the same bits in any batch.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Rule: TypeAlias = Callable[[Tensor, Tensor], Tensor]

_LEVELS = 4
_ROWS, _COLUMNS = 2, 3


def fuse_average(fixed: Tensor, moving: Tensor) -> Tensor:
    """The mean of both."""
    return (fixed + moving) / 2


def fuse_maximum(fixed: Tensor, moving: Tensor) -> Tensor:
    """The brighter of both, pixel by pixel."""
    return torch.maximum(fixed, moving)


def fuse_laplacian(fixed: Tensor, moving: Tensor) -> Tensor:
    """Laplacian pyramid fusion (Burt and Adelson 1983) of four levels.

    Each band takes its detail from the image that has more of it there, judged by local energy; the coarse rest is
    the mean of both weighted by their own brightness. The result is never darker than the MRI (``fixed``): low uptake
    beside high must not make bright white matter look dark, which would be a finding. So where the uptake is not
    brighter than the MRI, and wherever there is none, the result is the MRI itself; where it is brighter, the folds of
    the MRI still show in it.
    """
    details_fixed, rest_fixed = _decompose(fixed)
    details_moving, rest_moving = _decompose(moving)
    fused = _blend_rests(rest_fixed, rest_moving)
    for detail_fixed, detail_moving in zip(reversed(details_fixed), reversed(details_moving), strict=True):
        fused = _expand(fused, detail_fixed) + _choose_detail(detail_fixed, detail_moving)
    # Detail of one image on top of the brightness of the other may overshoot both; such values would be inventions.
    return fused.clamp(fixed, torch.maximum(fixed, moving))


RULES: Mapping[str, Rule] = {"average": fuse_average, "maximum": fuse_maximum, "laplacian": fuse_laplacian}
"""Card name → rule."""


def _decompose(image: Tensor) -> tuple[list[Tensor], Tensor]:
    """Bands of detail, finest first, and the coarse rest."""
    details = []
    for _ in range(_LEVELS):
        halved = _smooth(image)[..., ::2, ::2]
        details.append(image - _expand(halved, image))
        image = halved
    return details, image


def _blend_rests(fixed: Tensor, moving: Tensor) -> Tensor:
    return (fixed * fixed + moving * moving) / (fixed + moving).clamp_min(1e-6)


def _choose_detail(fixed: Tensor, moving: Tensor) -> Tensor:
    """Nearly all of the band with more energy, yet continuous, so that neighbouring slices do not flicker."""
    salience_fixed = _measure_salience(fixed)
    salience_moving = _measure_salience(moving)
    return (salience_fixed * fixed + salience_moving * moving) / (salience_fixed + salience_moving)


def _measure_salience(detail: Tensor) -> Tensor:
    energy = _smooth(detail * detail) + 1e-12
    return energy * energy


def _smooth(image: Tensor) -> Tensor:
    """The 5×5 binomial filter; beyond the border the image goes on as its outermost pixels."""
    image = functional.pad(image, (2, 2, 2, 2), mode="replicate")
    for axis in (_ROWS, _COLUMNS):
        size = image.shape[axis] - 4
        tap = [image.narrow(axis, offset, size) for offset in range(5)]
        image = ((tap[0] + tap[4]) + 4 * (tap[1] + tap[3]) + 6 * tap[2]) / 16
    return image


def _expand(halved: Tensor, like: Tensor) -> Tensor:
    """Twice the rows and columns, cut to those of ``like``: the binomial filter between the known pixels."""
    image = functional.pad(halved, (1, 1, 1, 1), mode="replicate")
    for axis in (_ROWS, _COLUMNS):
        size = image.shape[axis] - 2
        before, here, after = (image.narrow(axis, offset, size) for offset in range(3))
        even, odd = (before + after + 6 * here) / 8, (here + after) / 2
        image = torch.stack((even, odd), dim=axis + 1).flatten(axis, axis + 1)
    return image[..., : like.shape[_ROWS], : like.shape[_COLUMNS]]
