"""How the slices of a series lie in space, from their headers alone: one even stack, and whole? (middle)."""

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.series import InstanceHeader

SAME_PLACE_MM = 0.01
"""Slices nearer than this lie at one position: repeated time points or echoes, not neighbours."""
STEP_TOLERANCE = 0.1
"""Relative deviation of a step from the spacing that still counts as even."""
LARGEST_REMAINDER = 0.25
"""Share of the spacing by which a step over several missing slices may be off."""
ORIENTATION_TOLERANCE = 1e-3
"""Largest difference between direction cosines that still counts as one orientation."""


class LayoutKind(StrEnum):
    """What the positions of the slices say."""

    EVEN = "even"
    GAP = "gap"
    OPEN = "open"


@dataclass(frozen=True)
class Layout:
    """The arrangement of the slices of a series.

    Attributes:
        kind: EVEN: one stack of at least three slices at one spacing; GAP: such a stack with slices missing;
            OPEN: positions that prove neither (several orientations, repeated positions, too few slices, ...).
        missing_mm: positions along the normal (mm, ascending) where a GAP has no slice.
        words: the finding for an operator.
    """

    kind: LayoutKind
    words: str
    missing_mm: tuple[float, ...] = ()


def judge_layout(instances: Sequence[InstanceHeader]) -> Layout:
    """Say how single-frame ``instances`` lie along the normal of their planes (PS3.3 C.7.6.2.1.1); order is irrelevant.

    A gap can be told only where at least two true neighbours arrived: every second slice of a stack looks like a
    coarser stack. Count tags and instance numbers (`settle`) are there for that case.
    """
    if any(one.frames > 1 for one in instances):
        return Layout(LayoutKind.OPEN, f"{len(instances)} instances, multi-frame among them")
    blind = sum(one.position_mm is None or one.orientation is None for one in instances)
    if blind:
        return Layout(LayoutKind.OPEN, f"{blind} of {len(instances)} instances state no position or orientation")
    orientations = len(_split_orientations(instances))
    if orientations > 1:
        return Layout(LayoutKind.OPEN, f"{len(instances)} slices in {orientations} orientations")
    return _judge_positions(_project_positions(instances))


def count_places(instances: Sequence[InstanceHeader]) -> int:
    """Return how many distinct slice positions ``instances`` have; time points and echoes at one position count once.

    A multi-frame object counts by the positions it states. What states none counts by its frames.
    """
    placed = [one for one in instances if _is_placed(one)]
    unplaced = sum(one.places or one.frames for one in instances if not _is_placed(one))
    return unplaced + sum(_count_apart(_project_positions(group)) for group in _split_orientations(placed))


def _is_placed(one: InstanceHeader) -> bool:
    numbers = (*(one.position_mm or ()), *(one.orientation or ()))
    return one.frames <= 1 and len(numbers) == 9 and all(map(math.isfinite, numbers))


def _count_apart(positions_mm: Sequence[float]) -> int:
    return 1 + sum(after - before >= SAME_PLACE_MM for before, after in itertools.pairwise(positions_mm))


def _split_orientations(instances: Iterable[InstanceHeader]) -> list[list[InstanceHeader]]:
    """Return the instances that state an orientation, those of one orientation together."""
    same: dict[tuple[float, ...], list[InstanceHeader]] = defaultdict(list)
    for one in instances:
        if one.orientation is not None:
            same[one.orientation].append(one)
    groups: dict[tuple[float, ...], list[InstanceHeader]] = {}
    for orientation in sorted(same):
        known = next((leader for leader in groups if _are_alike(orientation, leader)), orientation)
        groups.setdefault(known, []).extend(same[orientation])
    return list(groups.values())


def _are_alike(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(abs(a - b) <= ORIENTATION_TOLERANCE for a, b in zip(one, other, strict=True))


def _project_positions(instances: Sequence[InstanceHeader]) -> list[float]:
    """Return the ascending distances (mm) of the slice planes from the origin, along their common normal."""
    orientation: NDArray[np.float64] = np.asarray(min(one.orientation or () for one in instances), dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:6]) if orientation.size == 6 else np.full(3, np.nan)
    positions = np.asarray([one.position_mm for one in instances], dtype=np.float64)
    return sorted(float(distance) for distance in positions @ normal)


def _judge_positions(positions_mm: Sequence[float]) -> Layout:
    count = len(positions_mm)
    if not np.isfinite(positions_mm).all():
        return Layout(LayoutKind.OPEN, f"{count} slices with unusable positions")
    steps = [after - before for before, after in itertools.pairwise(positions_mm)]
    repeated = sum(step < SAME_PLACE_MM for step in steps)
    if repeated:
        return Layout(LayoutKind.OPEN, f"{count} slices, {repeated} of them at a position that has one already")
    if count < 3:
        return Layout(LayoutKind.OPEN, f"{count} slice(s), too few to judge their spacing")
    spacing = min(steps)
    multiples = [round(step / spacing) for step in steps]
    if any(_is_uneven(step / spacing, times) for step, times in zip(steps, multiples, strict=True)):
        return Layout(LayoutKind.OPEN, f"{count} slices {min(steps):.2f} to {max(steps):.2f} mm apart, unevenly")
    spacing = statistics.median(step / times for step, times in zip(steps, multiples, strict=True))
    missing = _list_missing(positions_mm, multiples, spacing)
    if not missing:
        return Layout(LayoutKind.EVEN, f"{count} slices {spacing:.2f} mm apart in one orientation, no gap")
    places = ", ".join(f"{place:.2f}" for place in missing[:12]) + (", ..." if len(missing) > 12 else "")
    words = f"{len(missing)} slice(s) missing at {places} mm along the normal ({count} arrived, {spacing:.2f} mm apart)"
    return Layout(LayoutKind.GAP, words, missing)


def _is_uneven(steps: float, times: int) -> bool:
    """Return whether a step of ``steps`` spacings is not ``times`` whole ones; half a one more is too much, always."""
    return abs(steps - times) > min(STEP_TOLERANCE * times, LARGEST_REMAINDER)


def _list_missing(positions_mm: Sequence[float], multiples: Sequence[int], spacing_mm: float) -> tuple[float, ...]:
    """Return the free places of the grid between neighbours that lie more than one spacing apart."""
    # A stray slice metres away would ask for a list without end; past this many the places say nothing anyway.
    most = 4096
    free = (
        before + offset * spacing_mm
        for before, times in zip(positions_mm, multiples, strict=False)
        for offset in range(1, times)
    )
    return tuple(itertools.islice(free, most))
