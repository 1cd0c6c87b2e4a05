"""Which of the volumes that one series may hold is meant: split by what tells them apart, chosen by rule (middle).

Slices that differ in a trait never belong to one volume, whether they share positions or not. Slices that differ in a
moment only (a trigger time, an acquisition number) may well belong together, because it may run from slice to slice;
moments part them only where positions are shared.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fusionnode.errors import GeometryIrregular, SeriesMixed
from fusionnode.volumes.planes import Plane

SAME_POSITION_MM = 0.01
"""Slices nearer than this lie at one position."""
COSINE_TOLERANCE = 1e-3
"""Largest difference between direction cosines that still counts as one orientation."""

_ECHO_TOLERANCE_MS = 0.1
_SAME_PLACE_MM = 0.1
_MOST_STRAYS = 2
_LEAST_STACK = 8
_NAMED_AT_MOST = 8
_ORIENTATION = "ImageOrientationPatient"
_ECHO_TIMES = ("EchoTime", "EffectiveEchoTime")
_ECHOES = frozenset({*_ECHO_TIMES, "EchoNumbers"})
# Words of Image Type (value 3 on) and Complex Image Component (PS3.3 C.8.13.3.1.1), as scanners write them.
_MAGNITUDE = re.compile(r"M|M_\w+|MAGNITUDE")
_COMPLEX = re.compile(r"[MPRI]|[MPRI]_\w+|MAGNITUDE|PHASE|PHASE MAP|REAL|IMAGINARY|MIXED")


@dataclass(frozen=True)
class Candidate:
    """Planes that could be one volume.

    Attributes:
        marks: what tells it from the other candidates of its series, by attribute.
    """

    planes: tuple[Plane, ...]
    marks: Mapping[str, str]

    def __str__(self) -> str:
        return f"{', '.join(f'{name} {value}' for name, value in self.marks.items())}: {len(self.planes)} slices"


@dataclass(frozen=True)
class Choice:
    """The planes of the volume that is meant, and what to say about the others; empty where there are none."""

    planes: tuple[Plane, ...]
    note: str = ""


def choose_planes(planes: Sequence[Plane]) -> Choice:
    """Return the planes of the one volume that is meant, whatever the order of ``planes``.

    The rules: one or two reference images across a stack are left out; of an MRI the magnitude comes before phase,
    real and imaginary part; of several echoes the one with the shortest echo time is taken, which has the most signal
    and the least distortion. Time points, gates, diffusion weightings, stacks, energy windows: no rule chooses.

    Raises:
        SeriesMixed: several volumes are left; ``facts['differing']`` names what tells them apart.
        GeometryIrregular: the volumes that a rule chose from do not lie on the same slices.
    """
    found = list_candidates(planes)
    left: Sequence[Candidate] = _leave_out_strays(found)
    because = ["the stack without its reference images"] if len(left) < len(found) else []
    rivals = left
    for rule, words in _RULES:
        kept = rule(left) if len(left) > 1 else left
        if len(kept) < len(left):
            because.append(words)
        left = kept
    if len(left) > 1:
        _refuse_several(left)
    if len(found) == 1:
        return Choice(found[0].planes)
    _demand_same_places(left[0], rivals)
    told = "; ".join(str(one) for one in found[:_NAMED_AT_MOST])
    return Choice(
        left[0].planes, f"The series holds {len(found)} volumes ({told}); shown is {', '.join(because)}: {left[0]}."
    )


def list_candidates(planes: Sequence[Plane]) -> list[Candidate]:
    """Split planes into the volumes they may belong to, in a stable order; one candidate where nothing parts them."""
    parts = _split_by_orientation(sorted(planes, key=_identify))
    names = sorted({name for plane in planes for name in plane.traits})
    for name in names:
        parts = [piece for part in parts for piece in _split_by_trait(part, name)]
    parts = [piece for part in parts for piece in _split_by_moment(part)]
    return _mark(parts)


def shares_positions(planes: Sequence[Plane]) -> bool:
    """Return whether two of the planes, all of one orientation, lie at one position along their normal."""
    orientation = np.asarray(planes[0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    along_mm = np.sort(np.asarray([plane.position_mm for plane in planes]) @ normal)
    return bool((np.diff(along_mm) <= SAME_POSITION_MM).any())


def _identify(plane: Plane) -> tuple[str, int]:
    return plane.source.sop_instance_uid, plane.source.frame_number or 0


def _group(planes: Iterable[Plane], read: Callable[[Plane], str]) -> list[list[Plane]]:
    groups: dict[str, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(read(plane), []).append(plane)
    return [groups[key] for key in sorted(groups)]


def _split_by_orientation(planes: Sequence[Plane]) -> list[list[Plane]]:
    cosines = np.asarray([plane.orientation for plane in planes])
    if np.ptp(cosines, axis=0).max() <= COSINE_TOLERANCE:
        return [list(planes)]
    heads: list[Plane] = []
    groups: list[list[Plane]] = []
    for plane in planes:
        near = (i for i, head in enumerate(heads) if _deviate(plane, head) <= COSINE_TOLERANCE)
        index = next(near, len(heads))
        if index == len(heads):
            heads.append(plane)
            groups.append([])
        groups[index].append(plane)
    return groups


def _deviate(plane: Plane, other: Plane) -> float:
    return float(np.abs(np.subtract(plane.orientation, other.orientation)).max())


def _split_by_trait(planes: Sequence[Plane], name: str) -> list[list[Plane]]:
    if name not in _ECHO_TIMES:
        return _group(planes, lambda plane: plane.traits.get(name, ""))
    ordered = sorted(planes, key=lambda plane: (_read_time(plane.traits.get(name, "")), _identify(plane)))
    groups = [[ordered[0]]]
    for before, plane in pairwise(ordered):
        step = _read_time(plane.traits.get(name, "")) - _read_time(before.traits.get(name, ""))
        if step > _ECHO_TOLERANCE_MS:
            groups.append([])
        groups[-1].append(plane)
    return groups


def _read_time(text: str) -> float:
    """In ms; what is no number comes before every time, as if it were a time of its own."""
    try:
        number = float(text)
    except ValueError:
        return -1e9
    return number if np.isfinite(number) else -1e9


def _split_by_moment(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Split by the moment that needs the fewest volumes to part all planes that share a position, if one does."""
    if not shares_positions(planes):
        return [list(planes)]
    splits = []
    for name in sorted({name for plane in planes for name in plane.moments}):
        groups = _group(planes, lambda plane, name=name: plane.moments.get(name, ""))  # type: ignore[misc]
        if not any(len(group) > 1 and shares_positions(group) for group in groups):
            splits.append(groups)
    return min(splits, key=len, default=[list(planes)])


def _mark(parts: Sequence[Sequence[Plane]]) -> list[Candidate]:
    """Give each part what tells it from the others: traits where they do, else moments as well."""
    for read in (_read_traits, _read_all):
        tables = [read(part) for part in parts]
        names = sorted({name for table in tables for name in table})
        telling = [name for name in names if len({table.get(name, "") for table in tables}) > 1]
        marks = [{name: table.get(name) or "(none)" for name in telling} for table in tables]
        if len({tuple(mark.values()) for mark in marks}) == len(parts):
            break
    return [Candidate(tuple(part), mark) for part, mark in zip(parts, marks, strict=True)]


def _read_traits(part: Sequence[Plane]) -> dict[str, str]:
    """The traits and the orientation of a part; of echo times and cosines those of its first plane."""
    head = part[0]
    return {**head.traits, _ORIENTATION: str(tuple(round(value, 3) + 0.0 for value in head.orientation))}


def _read_all(part: Sequence[Plane]) -> dict[str, str]:
    moments = part[0].moments
    steady = {name for name in moments if all(plane.moments.get(name) == moments[name] for plane in part)}
    return _read_traits(part) | {name: moments[name] for name in steady}


def _leave_out_strays(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Keep the stacks where everything else is one or two images in another orientation."""
    stacks = [one for one in candidates if len(one.planes) >= _LEAST_STACK]
    strays = [one for one in candidates if len(one.planes) < _LEAST_STACK]
    kept = {one.marks.get(_ORIENTATION) for one in stacks}
    few = all(len(one.planes) <= _MOST_STRAYS and one.marks.get(_ORIENTATION) not in kept for one in strays)
    return stacks if stacks and few else candidates


def _prefer_magnitude(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    if not all(_is_mr(one) and _find_component(one) for one in candidates):
        return candidates
    return [one for one in candidates if _find_component(one) == "M"] or candidates


def _prefer_shortest_echo(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    names = _list_telling(candidates)
    times = [min(map(_read_time, (one.marks[n] for n in _ECHO_TIMES if n in names)), default=-1) for one in candidates]
    if not all(map(_is_mr, candidates)) or not set(names) <= _ECHOES or min(times) < 0:
        return candidates
    shortest = [one for one, time in zip(candidates, times, strict=True) if time == min(times)]
    return shortest if len(shortest) == 1 else candidates


_RULES: tuple[tuple[Callable[[Sequence[Candidate]], Sequence[Candidate]], str], ...] = (
    (_prefer_magnitude, "the magnitude"),
    (_prefer_shortest_echo, "the shortest echo time"),
)


def _is_mr(candidate: Candidate) -> bool:
    return str(candidate.planes[0].ds.get("Modality", "")) == "MR"


def _find_component(candidate: Candidate) -> str:
    """Return M for magnitude, C for another part of the complex signal, empty where nothing says so."""
    traits = candidate.planes[0].traits
    stated = traits.get("ComplexImageComponent", "").upper()
    told = "\\".join(traits.get(name, "") for name in ("ImageType", "FrameType"))
    words = [stated] if stated else told.upper().split("\\")
    parts = [word for word in words if _COMPLEX.fullmatch(word)]
    if not parts:
        return ""
    return "M" if all(_MAGNITUDE.fullmatch(word) for word in parts) else "C"


def _list_telling(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    names = sorted({name for one in candidates for name in one.marks})
    return tuple(name for name in names if len({one.marks.get(name) for one in candidates}) > 1)


def _refuse_several(candidates: Sequence[Candidate]) -> None:
    names = _list_telling(candidates)
    told = "; ".join(str(one) for one in candidates[:_NAMED_AT_MOST])
    more = f"; and {len(candidates) - _NAMED_AT_MOST} more" if len(candidates) > _NAMED_AT_MOST else ""
    orientations = "several orientations, so " if _ORIENTATION in names else ""
    raise SeriesMixed(
        f"The slices have {orientations}{len(candidates)} volumes among them, which differ in {', '.join(names)}, "
        f"and no rule chooses one ({told}{more}).",
        remedy="Send one volume per series; a localizer is no volume.",
        differing=names,
        volumes=tuple(str(one) for one in candidates),
    )


def _demand_same_places(chosen: Candidate, rivals: Sequence[Candidate]) -> None:
    """Refuse a choice between volumes that do not lie on the same slices: one of them, or both, are not whole."""
    places_mm = _list_places_mm(chosen, chosen)
    for other in rivals:
        found_mm = _list_places_mm(other, chosen)
        if len(found_mm) != len(places_mm) or np.abs(found_mm - places_mm).max() > _SAME_PLACE_MM:
            raise GeometryIrregular(
                f"The series holds {len(rivals)} volumes, but not on the same slices ({chosen}, from "
                f"{places_mm[0]:.2f} to {places_mm[-1]:.2f} mm; {other}, from {found_mm[0]:.2f} to "
                f"{found_mm[-1]:.2f} mm along the normal): slices are missing.",
                remedy="Send the missing slices, or one volume per series.",
                missing=abs(len(found_mm) - len(places_mm)),
            )


def _list_places_mm(candidate: Candidate, chosen: Candidate) -> NDArray[np.float64]:
    orientation = np.asarray(chosen.planes[0].orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.sort(np.asarray([plane.position_mm for plane in candidate.planes]) @ normal)
