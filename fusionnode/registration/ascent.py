"""Climbs mutual information over the six parameters of a rigid motion (middle).

Quasi-Newton (Broyden, Fletcher, Goldfarb, Shanno; Nocedal and Wright, Numerical Optimization, chapter 6), with steps
taken on the group of motions: each is a small turn and shift that follows the motion reached before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.motion import RigidMotion
from fusionnode.registration.information import Comparison, turn_and_shift

_LEAST_RISE = 1e-4
_SHORTEST = 1 / 64


@dataclass(frozen=True)
class Stride:
    """How far the climb may go at once, and when it rests.

    Attributes:
        first_mm: length of the first step, and a quarter of the longest.
        last_mm: the climb rests when a step has become shorter than this.
        radius_mm: a turn is as long as the arc at this distance from the centre.
        most_steps: it rests after so many in any case.
    """

    first_mm: float
    last_mm: float
    radius_mm: float
    most_steps: int


@dataclass(frozen=True, eq=False)
class Summit:
    """Where the climb came to rest."""

    motion: RigidMotion
    information: float
    share_inside: float
    steps: int


def climb(comparison: Comparison, start: RigidMotion, stride: Stride) -> Summit:
    """Climb from ``start`` to the nearest maximum of the information."""
    scale = np.array([1 / stride.radius_mm] * 3 + [1.0] * 3)
    motion, here = start, comparison.measure(start)
    slope = here.slope * scale
    curvature = np.eye(6) * (stride.first_mm / max(float(np.linalg.norm(slope)), 1e-12))
    steps = 0
    for steps in range(1, stride.most_steps + 1):
        step = _limit(curvature @ slope, 4 * stride.first_mm)
        length, there = 1.0, here
        while length >= _SHORTEST:
            reached = turn_and_shift(motion, length * step * scale, comparison.centre_mm)
            there = comparison.measure(reached)
            if there.information >= here.information + _LEAST_RISE * length * float(step @ slope):
                break
            length *= 0.4
        else:
            break
        new_slope = there.slope * scale
        curvature = _learn(curvature, length * step, slope - new_slope, first=steps == 1)
        motion, here, slope = reached, there, new_slope
        if length * float(np.linalg.norm(step)) < stride.last_mm:
            break
    return Summit(motion, here.information, here.share_inside, steps)


def _limit(step: NDArray[np.float64], longest_mm: float) -> NDArray[np.float64]:
    return step * min(1.0, longest_mm / max(float(np.linalg.norm(step)), 1e-12))


def _learn(
    curvature: NDArray[np.float64], step: NDArray[np.float64], fall: NDArray[np.float64], *, first: bool
) -> NDArray[np.float64]:
    """Update the inverse curvature from one step and by how much the slope fell over it."""
    product = float(step @ fall)
    if product <= 1e-10 * float(np.linalg.norm(step) * np.linalg.norm(fall)):
        return curvature
    if first:
        curvature = np.eye(6) * (product / float(fall @ fall))
    left = np.eye(6) - np.outer(step, fall) / product
    updated: NDArray[np.float64] = left @ curvature @ left.T + np.outer(step, step) / product
    return updated
