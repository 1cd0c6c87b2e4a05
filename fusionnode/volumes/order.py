"""Brings planes into the order of a right-handed stack and proves that they form one regular grid (middle)."""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.grid import Grid
from fusionnode.errors import GeometryIrregular, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.candidates import COSINE_TOLERANCE, SAME_POSITION_MM
from fusionnode.volumes.planes import Plane
from fusionnode.volumes.values import read_text

SPACING_TOLERANCE_MM = 0.05
SPACING_TOLERANCE = 0.01
VOXELS_MM = (1e-3, 1e3)
"""What the sides of a voxel may measure: anything else is no image of a person, and no matrix can hold it."""
FARTHEST_MM = 1e6
"""From the origin of the frame of reference."""
_NAMED_AT_MOST = 8

_SHARED: dict[str, Callable[[Plane], object]] = {
    "SeriesInstanceUID": lambda plane: read_text(plane.ds, "SeriesInstanceUID"),
    "SOPClassUID": lambda plane: plane.source.sop_class_uid,
    "FrameOfReferenceUID": lambda plane: read_text(plane.ds, "FrameOfReferenceUID"),
    "Rows and Columns": lambda plane: plane.shape,
    "PixelSpacing": lambda plane: tuple(round(value, 4) for value in plane.spacing_mm),
    "Units": lambda plane: plane.units,
    "DecayCorrection": lambda plane: read_text(plane.ds, "DecayCorrection"),
}


def order_planes(planes: Sequence[Plane]) -> tuple[Plane, ...]:
    """Return the planes of one volume so that the slice index increases along row direction x column direction.

    The result depends on the set of planes only, never on the order they come in.

    Raises:
        SeriesUnsupported: fewer than two planes.
        SeriesMixed: the planes differ in orientation, size, spacing, frame of reference, class or unit, or
            several share each position and nothing tells them apart.
        GeometryIrregular: planes are missing, duplicated, unevenly spaced or tilted, or of an impossible size or place.
    """
    if len(planes) < 2:
        raise SeriesUnsupported(
            f"A series of {len(planes)} slice(s) is no volume.", remedy="Send the whole series.", slices=len(planes)
        )
    _refuse_mixed(planes)
    _refuse_impossible(planes)
    head = min(planes, key=_identify)
    normal = _derive_directions(head)[:, 0]
    ordered = tuple(sorted(planes, key=lambda plane: (float(normal @ plane.position_mm), _identify(plane))))
    positions_mm = np.asarray([normal @ plane.position_mm for plane in ordered])
    _refuse_shared_positions(ordered, positions_mm)
    _refuse_uneven(ordered, positions_mm)
    _refuse_tilted(ordered, normal)
    return ordered


def derive_grid(ordered: Sequence[Plane]) -> Grid:
    """Return the grid of ordered planes: origin of the first one, mean distance of neighbours as slice step."""
    first, last = ordered[0], ordered[-1]
    directions = _derive_directions(first)
    step_mm = float(directions[:, 0] @ (last.position_mm - first.position_mm)) / (len(ordered) - 1)
    shape = (len(ordered), *first.shape)
    return Grid.from_axes(shape, first.position_mm, directions, (step_mm, *first.spacing_mm))


def tolerance_mm(spacing_mm: float) -> float:
    """Return how far a slice may lie from its place: 1 % of the spacing, or 0.05 mm where that is more."""
    return max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE * spacing_mm)


def _identify(plane: Plane) -> tuple[str, int]:
    return plane.source.sop_instance_uid, plane.source.frame_number or 0


def _refuse_mixed(planes: Sequence[Plane]) -> None:
    for attribute, read in _SHARED.items():
        found = sorted({str(read(plane)) for plane in planes})
        if len(found) > 1:
            raise SeriesMixed(
                f"The slices differ in {attribute}: {'; '.join(found[:_NAMED_AT_MOST])}.",
                remedy="Send one volume per series.",
                differing=(attribute,),
                found=tuple(found),
            )
    cosines = np.asarray([plane.orientation for plane in planes])
    if np.ptp(cosines, axis=0).max() > COSINE_TOLERANCE:
        found = sorted({str(tuple(round(value, 3) for value in plane.orientation)) for plane in planes})
        raise SeriesMixed(
            f"The slices have several orientations: {'; '.join(found[:_NAMED_AT_MOST])}.",
            remedy="Send one orientation per series; a localizer is no volume.",
            differing=("ImageOrientationPatient",),
            found=tuple(found),
        )


def _refuse_impossible(planes: Sequence[Plane]) -> None:
    for plane in planes:
        voxel_right = all(VOXELS_MM[0] <= side <= VOXELS_MM[1] for side in plane.spacing_mm)
        if voxel_right and np.abs(plane.position_mm).max() <= FARTHEST_MM:
            continue
        raise GeometryIrregular(
            f"{plane.name} has voxels of {plane.spacing_mm[0]:g} x {plane.spacing_mm[1]:g} mm at "
            f"{', '.join(f'{part:g}' for part in plane.position_mm)} mm: nobody can be scanned so.",
            remedy="Ask the scanner's vendor why.",
            sop_instance_uid=plane.source.sop_instance_uid,
        )


def _derive_directions(plane: Plane) -> NDArray[np.float64]:
    """3x3 unit columns (slice, row, column axis); the rounding of the stored cosines is taken out."""
    row, column = np.asarray(plane.orientation[:3]), np.asarray(plane.orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > COSINE_TOLERANCE:
        raise GeometryIrregular(
            "ImageOrientationPatient does not hold two perpendicular unit vectors.",
            remedy="Ask the scanner's vendor why.",
            orientation=plane.orientation,
            sop_instance_uid=plane.source.sop_instance_uid,
        )
    row = row / lengths[0]
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    return np.column_stack([np.cross(row, column), column, row])


def _refuse_shared_positions(ordered: Sequence[Plane], positions_mm: NDArray[np.float64]) -> None:
    places = np.concatenate([[0], np.cumsum(np.diff(positions_mm) > SAME_POSITION_MM)])
    groups = [[index for index, _ in members] for _, members in groupby(enumerate(places), key=lambda item: item[1])]
    crowded = [group for group in groups if len(group) > 1]
    if not crowded:
        return
    if len({len(group) for group in groups}) == 1:
        raise SeriesMixed(
            f"Each of {len(groups)} positions holds {len(groups[0])} slices, and nothing known tells them apart.",
            remedy="Send one volume per series.",
            differing=(),
            slices_per_position=len(groups[0]),
        )
    found = [(float(positions_mm[group[0]]), tuple(ordered[i].name for i in group)) for group in crowded]
    raise GeometryIrregular(
        f"Slices are duplicated: {_tell_places(found)}.",
        remedy="Find out which copy is right; send the series again under a new UID.",
        duplicates=tuple(found),
    )


def _refuse_uneven(ordered: Sequence[Plane], positions_mm: NDArray[np.float64]) -> None:
    steps_mm = np.diff(positions_mm)
    usual_mm = float(np.median(steps_mm))
    allowed_mm = tolerance_mm(usual_mm)
    # Both neighbours of a step may lie off their places.
    odd = np.flatnonzero(np.abs(steps_mm - usual_mm) > 2 * allowed_mm)
    if odd.size:
        _raise_uneven(ordered, positions_mm, odd, usual_mm)
    even_mm = np.linspace(positions_mm[0], positions_mm[-1], len(ordered))
    drift = np.flatnonzero(np.abs(positions_mm - even_mm) > allowed_mm)
    if drift.size:
        found = [(float(positions_mm[index]), (ordered[index].name,)) for index in drift.tolist()]
        raise GeometryIrregular(
            f"The spacing drifts: {_tell_places(found)} lie more than {allowed_mm:.3f} mm from an even spacing.",
            remedy="Send the series as acquired, not resampled unevenly.",
            positions_mm=tuple(place for place, _ in found),
        )


def _raise_uneven(
    ordered: Sequence[Plane], positions_mm: NDArray[np.float64], odd: NDArray[np.intp], usual_mm: float
) -> None:
    steps_mm = np.diff(positions_mm)
    # A gap is a whole number of steps, each as uncertain as the usual one.
    whole = np.rint(steps_mm[odd] / usual_mm)
    is_gap = (whole >= 2) & (np.abs(steps_mm[odd] - whole * usual_mm) <= whole * tolerance_mm(usual_mm))
    places = [(float(positions_mm[i]), (ordered[i].name, ordered[i + 1].name)) for i in odd]
    facts = {
        "after_positions_mm": tuple(place for place, _ in places),
        "instances": tuple(names for _, names in places),
    }
    if is_gap.all():
        missing = int((whole - 1).sum())
        raise GeometryIrregular(
            f"{missing} slice(s) missing after {_tell_places(places)}; the usual spacing is {usual_mm:.3f} mm.",
            remedy="Send the missing slices.",
            missing=missing,
            **facts,
        )
    found = ", ".join(f"{steps_mm[i]:.3f}" for i in odd[:_NAMED_AT_MOST])
    raise GeometryIrregular(
        f"Slices are unevenly spaced: {found} mm instead of {usual_mm:.3f} mm after {_tell_places(places)}.",
        remedy="Send the series as acquired, with all its slices.",
        **facts,
    )


def _refuse_tilted(ordered: Sequence[Plane], normal: NDArray[np.float64]) -> None:
    offsets = np.asarray([plane.position_mm for plane in ordered]) - ordered[0].position_mm
    along_mm = offsets @ normal
    aside_mm = np.linalg.norm(offsets - np.outer(along_mm, normal), axis=1)
    step_mm = float(along_mm[-1]) / (len(ordered) - 1)
    # Cosines are often stored with three or four decimals: their rounding grows with the distance.
    allowed_mm = tolerance_mm(step_mm) + COSINE_TOLERANCE * along_mm
    if (aside_mm > allowed_mm).any():
        worst = int(np.argmax(aside_mm - allowed_mm))
        angle_deg = float(np.degrees(np.arctan2(aside_mm[worst], along_mm[worst])))
        raise GeometryIrregular(
            f"The slices are stacked {angle_deg:.2f} degrees off their normal (gantry tilt or shear): "
            f"{ordered[worst].name} lies {aside_mm[worst]:.2f} mm aside.",
            remedy="Send an untilted reconstruction.",
            angle_deg=angle_deg,
            sop_instance_uid=ordered[worst].source.sop_instance_uid,
        )


def _tell_places(places: Sequence[tuple[float, tuple[str, ...]]]) -> str:
    told = [f"{position_mm:.2f} mm ({', '.join(names)})" for position_mm, names in places[:_NAMED_AT_MOST]]
    more = len(places) - len(told)
    return "; ".join(told) + (f" and {more} more" if more else "")
