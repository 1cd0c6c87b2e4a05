"""Measures how far a motion can be trusted, by another yardstick than the one it was found with (middle).

A motion is right where the MRI explains the uptake: the same tissue, the same uptake, once both are seen equally
sharply. So within the head the uptake is regressed on blurred maps of the MRI's intensity classes, over a smooth
background that any two heads share; what is left over is the yardstick (a correlation ratio, Roche et al., MICCAI 1998,
with partial volume). Because the regression is linear, it can be climbed by Gauss-Newton steps with the coefficients
projected out (Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973), in fractions of a second.

Heads are nearly, but not quite, symmetric. The uptake's mirror image therefore serves as a decoy: a head of the right
size, age and shape that is not this patient's. The patient's own uptake fits better than its mirror image; an exchanged
left and right fits worse; another patient's fits either way equally badly.
"""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fusionnode.domain.grid import Affine, Grid
from fusionnode.domain.motion import MotionQuality, RigidMotion
from fusionnode.domain.volume import Volume, Voxels
from fusionnode.registration.bridge import array_from_image, grid_from_image, image_from_array
from fusionnode.registration.foreground import find_head, reduce_image
from fusionnode.registration.information import look_up, look_up_slopes
from fusionnode.registration.shrink import shrink_volume

Floats = NDArray[np.float64]

_SPACING_MM = 2.0
_MAP_SPACING_MM = 4.0
# Finer classes and a blur as wide as SPECT's tell the mirror image and other patients apart far better, by the real
# pairs of tests/benchmarks/calibrate_people.py.
_CLASSES = 12
_MAP_BLURS_MM = (2.0, 6.0, 10.0)
_UPTAKE_BLUR_MM = 2.0
_SEARCH_BLUR_MM = 5.0
_SEARCH_EVERY = 4
# Without the rim the scalp and the head's outline, which any head explains, do not drown the cortex.
_RIM_MM = 6.0
_MOST_POINTS = 8_000
_LEAST_POINTS = 1_000
_MARGIN_MM = 8.0
_SURROUNDINGS_MM = 40.0
_LEAST_VARIANCE = 1e-9
_NONE = np.zeros(_CLASSES)
_STEPS = 10
_STILL_MM = 0.1
_AWAY_MM = 10.0
_AWAY_DEG = 10.0
_MIRROR_TURNS_DEG = (-14.0, 0.0, 14.0)
_START_SHIFTS_MM = ((8.0, 0.0, 0.0), (0.0, -8.0, 4.0), (-4.0, 4.0, -8.0))
_START_TURNS_DEG = ((0.0, 0.0, 8.0), (8.0, 0.0, 0.0), (0.0, -8.0, -4.0))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What is known of the fixed head at points within it.

    Attributes:
        points_mm: (n, 3), LPS mm, about 4 mm apart.
        classes: share of each intensity class around each point at each sharpness, (n, k), 0 to 1.
        centre_mm: of the head, LPS mm.
    """

    points_mm: Floats
    classes: Floats
    centre_mm: Floats


@dataclass(frozen=True, eq=False)
class Layer:
    """The uptake at one sharpness, float32 [slice, row, column] of any scale."""

    values: Voxels
    grid: Grid


@dataclass(frozen=True, eq=False)
class Uptake:
    """The moving volume, blurred a little to compare and more to search, and the grid on which it was measured."""

    fine: Layer
    soft: Layer
    grid: Grid


def measure_quality(fixed: Volume, moving: Volume, motion: RigidMotion, head_height_mm: float) -> MotionQuality:
    """Measure how well the MRI explains the uptake under ``motion``, and how much worse it does under wrong ones.

    Every figure is NaN where fewer than 1000 points of the head are seen by both: nothing can be said then. The
    mirror's is NaN where fewer than 1000 of those lie within the moving volume under the mirrored motion too.

    Raises:
        RegistrationImplausible: the fixed volume shows no head.
    """
    anatomy = describe_anatomy(fixed, head_height_mm)
    return compare(anatomy, describe_uptake(crop_to_head(moving, anatomy, motion)), motion)


def describe_anatomy(fixed: Volume, head_height_mm: float) -> Anatomy:
    """Divide the head's interior into intensity classes; ``head_height_mm`` as for `find_head`."""
    head = find_head(shrink_volume(fixed, _SPACING_MM), head_height_mm)
    points_mm = _thin(_list_interior_mm(head.mask))
    values, grid = array_from_image(head.image), grid_from_image(head.image)
    limits = np.percentile(look_up(values, grid, points_mm), np.linspace(2, 98, _CLASSES)) if len(points_mm) else _NONE
    places = np.interp(values, _spread(limits), np.arange(_CLASSES))
    columns = []
    # The shares of all classes sum to 1, which the background holds already; so the last class is left out.
    for index, blur_mm in itertools.product(range(_CLASSES - 1), _MAP_BLURS_MM):
        share = np.maximum(0, 1 - np.abs(places - index)).astype(np.float32)
        image = reduce_image(image_from_array(share, grid), _MAP_SPACING_MM, blur_mm)
        columns.append(look_up(array_from_image(image), grid_from_image(image), points_mm))
    return Anatomy(points_mm, np.stack(columns, axis=1).astype(np.float64), head.centre_mm)


def describe_uptake(moving: Volume) -> Uptake:
    """Blur the uptake; the hottest half per cent is cut off, so that no lesion outweighs the cortex."""
    reduced = shrink_volume(moving, _SPACING_MM)
    bright = reduced.voxels[reduced.voxels > reduced.voxels.mean(dtype=np.float64)]
    high = float(np.percentile(bright, 99.5)) if bright.size else 1.0
    clipped = np.clip(reduced.voxels, min(0.0, high), high) / (abs(high) or 1.0)
    image = image_from_array(clipped.astype(np.float32), reduced.grid)
    fine, soft = (
        reduce_image(image, spacing_mm, blur_mm)
        for spacing_mm, blur_mm in ((_SPACING_MM, _UPTAKE_BLUR_MM), (_MAP_SPACING_MM, _SEARCH_BLUR_MM))
    )
    return Uptake(_lay(fine), _lay(soft), reduced.grid)


def crop_to_head(moving: Volume, anatomy: Anatomy, motion: RigidMotion) -> Volume:
    """The part of a volume within 40 mm of the head, so that no whole body is blurred; all of it if none is seen."""
    index_from_fixed = np.linalg.inv(moving.grid.patient_from_index) @ motion.moving_from_fixed
    indices, shape = _map(index_from_fixed, anatomy.points_mm), np.asarray(moving.grid.shape)
    if not len(indices):
        return moving
    margin = _SURROUNDINGS_MM / np.asarray(moving.grid.spacing_mm)
    first = np.clip(np.floor(indices.min(axis=0) - margin), 0, shape).astype(int).tolist()
    last = np.clip(np.ceil(indices.max(axis=0) + margin) + 1, 0, shape).astype(int).tolist()
    if any(end <= begin for begin, end in zip(first, last, strict=True)):
        return moving
    part = tuple(slice(begin, end) for begin, end in zip(first, last, strict=True))
    voxels = moving.voxels[part]
    grid = moving.grid.cut((first[0], first[1], first[2]), (voxels.shape[0], voxels.shape[1], voxels.shape[2]))
    return replace(moving, voxels=voxels, grid=grid, sources=())


def compare(anatomy: Anatomy, uptake: Uptake, motion: RigidMotion) -> MotionQuality:
    """The measures of one motion; see `measure_quality`."""
    pose = motion.moving_from_fixed
    # Nearer to the border, a small motion alone would change what is compared.
    seen = find_inside(anatomy.points_mm, pose, uptake.grid, _MARGIN_MM)
    if seen.sum() < _LEAST_POINTS:
        return MotionQuality(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    view = View.build(anatomy, uptake, seen)
    left = view.look(pose).left
    own, own_left = climb(view, pose)
    _, stretched_left, stretches = _climb_stretched(view, own)
    ends = [climb(view, pose @ start)[0] for start in _list_starts(view.centre_mm)]
    figures = MotionQuality(
        explained=1 - left,
        sharpness=_log_ratio(min(view.look(pose @ away).left for away in _list_away(view.centre_mm)), left),
        mirror_margin=_measure_mirror(view, own),
        second_opinion_mm=view.measure_distance_mm(own, pose),
        starts_apart_mm=max(view.measure_distance_mm(end, own) for end in ends),
        stretch=float(np.abs(stretches).max()) if stretched_left < own_left else 0.0,
    )
    # The last digits hang on how memory happened to be aligned; the same input must give the same figures.
    return MotionQuality(**{name: round(value, 4) for name, value in vars(figures).items()})


@dataclass(frozen=True, eq=False)
class _Look:
    """What one pose shows: the share left unexplained, the residual (n,) and the derivative per mm in fixed space."""

    left: float
    residual: Floats
    slope: Floats


@dataclass(frozen=True, eq=False)
class View:
    """The points that both volumes see, and orthonormal bases of what explains the uptake there."""

    points_mm: Floats
    centre_mm: Floats
    classes: Floats
    background: Floats
    explaining: Floats
    uptake: Uptake
    layer: Layer

    @classmethod
    def build(cls, anatomy: Anatomy, uptake: Uptake, seen: NDArray[np.bool_]) -> "View":
        """Take the points that are ``seen``, bool (n,), and the sharper layer of the uptake."""
        chosen = (anatomy.points_mm[seen], anatomy.centre_mm, anatomy.classes[seen])
        return cls(*chosen, *_find_bases(chosen[0], chosen[2]), uptake, uptake.fine)

    def find_seen(self, pose: Affine, margin_mm: float = 0.0) -> NDArray[np.bool_]:
        """Whether each point lies within the uptake under ``pose``; as `find_inside`."""
        return find_inside(self.points_mm, pose, self.uptake.grid, margin_mm)

    def keep(self, seen: NDArray[np.bool_]) -> "View":
        """Only the points that are ``seen``, bool (n,)."""
        points_mm, classes = self.points_mm[seen], self.classes[seen]
        return View(points_mm, self.centre_mm, classes, *_find_bases(points_mm, classes), self.uptake, self.layer)

    def soften(self) -> "View":
        """Fewer points of a more blurred uptake, which pull from further away."""
        points_mm, classes = self.points_mm[::_SEARCH_EVERY], self.classes[::_SEARCH_EVERY]
        bases = _find_bases(points_mm, classes)
        return View(points_mm, self.centre_mm, classes, *bases, self.uptake, self.uptake.soft)

    def look(self, pose: Affine) -> _Look:
        """Compare under ``pose``, moving from fixed, which may mirror and stretch."""
        looked = look_up_slopes(self.layer.values, self.layer.grid, _map(pose, self.points_mm))
        values, slopes = (one.astype(np.float64) for one in looked)
        local = float(np.square(_take_off(self.background, values)).sum())
        residual = _take_off(self.explaining, values)
        told = local > _LEAST_VARIANCE * float(np.square(values).sum())
        left = float(np.square(residual).sum()) / local if told else 1.0
        return _Look(left, residual, slopes @ pose[:3, :3])

    def measure_distance_mm(self, first: Affine, second: Affine) -> float:
        """Mean distance between where two poses carry the points."""
        return float(np.linalg.norm(_map(first - second, self.points_mm), axis=1).mean())


def climb(view: View, pose: Affine, *, stretch: bool = False) -> tuple[Affine, float]:
    """Follow damped Gauss-Newton steps (Levenberg and Marquardt) until they become short or no longer help."""
    look, damping, offsets_mm = view.look(pose), 1e-3, view.points_mm - view.centre_mm
    for _ in range(_STEPS):
        change = _take_off(view.explaining, _derive(look.slope, offsets_mm, stretch))
        normal = change.T @ change
        lifted = normal + damping * np.diag(np.diag(normal))
        step = _make_step(-_solve(lifted, change.T @ look.residual), view.centre_mm)
        there = view.look(pose @ step)
        if there.left < look.left:
            short = view.measure_distance_mm(step, np.eye(4)) < _STILL_MM
            pose, look, damping = pose @ step, there, damping / 3
            if short:
                break
        else:
            damping = max(10 * damping, 1e-2)
    return pose, look.left


def _solve(matrix: Floats, values: Floats) -> Floats:
    """The shortest solution, because a uniform uptake makes the matrix singular."""
    return np.asarray(np.linalg.lstsq(matrix, values, rcond=None)[0], dtype=np.float64)


def _climb_stretched(view: View, pose: Affine) -> tuple[Affine, float, Floats]:
    """The same with three stretches along the patient's axes; also by how much each departs from 1."""
    there, left = climb(view, pose, stretch=True)
    lengths = np.linalg.svd((np.linalg.inv(pose) @ there)[:3, :3], compute_uv=False)
    return there, left, np.asarray(lengths - 1)


def _derive(slope: Floats, offsets_mm: Floats, stretch: bool) -> Floats:
    """Change of the values per mm of shift, radian of turn and unit of stretch, (n, 6 or 9)."""
    turns = np.cross(offsets_mm, slope)
    return np.concatenate([slope, turns, slope * offsets_mm] if stretch else [slope, turns], axis=1)


def _make_step(values: Floats, centre_mm: Floats) -> Affine:
    shift_mm, turn, stretch = values[:3], values[3:6], values[6:] if len(values) > 6 else np.zeros(3)
    linear = _rotate(turn) @ np.diag(1 + stretch)
    return _move_about(centre_mm, linear, shift_mm)


def _move_about(centre_mm: Floats, linear: Floats, shift_mm: Floats) -> Affine:
    pose: Affine = np.eye(4)
    pose[:3, :3] = linear
    pose[:3, 3] = centre_mm + shift_mm - linear @ centre_mm
    return pose


def _rotate(turn: Floats) -> Floats:
    """The rotation by a rotation vector (rad)."""
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    return np.asarray(sitk.VersorTransform(axis.tolist(), angle).GetMatrix(), dtype=np.float64).reshape(3, 3)


def _turn(centre_mm: Floats, turn_deg: tuple[float, ...], shift_mm: tuple[float, ...] = (0, 0, 0)) -> Affine:
    return _move_about(centre_mm, _rotate(np.deg2rad(turn_deg)), np.asarray(shift_mm))


def _list_starts(centre_mm: Floats) -> list[Affine]:
    return [_turn(centre_mm, turn, shift) for turn, shift in zip(_START_TURNS_DEG, _START_SHIFTS_MM, strict=True)]


def _list_away(centre_mm: Floats) -> list[Affine]:
    """A shift and a turn along and about each axis, both ways."""
    axes = [tuple(sign * axis) for axis in np.eye(3) for sign in (-1, 1)]
    shifts = [_turn(centre_mm, (0, 0, 0), tuple(_AWAY_MM * one for one in axis)) for axis in axes]
    return shifts + [_turn(centre_mm, tuple(_AWAY_DEG * one for one in axis)) for axis in axes]


def _measure_mirror(view: View, own: Affine) -> float:
    """How much worse the best fit of the mirror image is: positive for the patient's uptake the right way round."""
    mirrored = own @ _move_about(view.centre_mm, np.diag([-1.0, 1.0, 1.0]), np.zeros(3))
    # Beyond its border the uptake has no values of its own, so whichever pose reaches further there would seem to lose.
    seen = view.find_seen(mirrored, _MARGIN_MM)
    if seen.sum() < _LEAST_POINTS:
        return math.nan
    view = view.keep(seen)
    there = _climb_mirrored(view, mirrored)
    seen = view.find_seen(there) & view.find_seen(own)
    if seen.sum() < _LEAST_POINTS:
        return math.nan
    view = view.keep(seen)
    return _log_ratio(climb(view, there)[1], climb(view, own)[1])


def _climb_mirrored(view: View, mirrored: Affine) -> Affine:
    """Where the mirror image fits best, from several turns of the pose ``mirrored``."""
    # A head may lie askew, so that its plane of symmetry is not the scanner's.
    turns = itertools.product((0.0,), _MIRROR_TURNS_DEG, _MIRROR_TURNS_DEG)
    soft = view.soften()
    ends = sorted((climb(soft, mirrored @ _turn(view.centre_mm, turn)) for turn in turns), key=lambda end: end[1])
    return min((climb(view, pose) for pose, _ in ends[:2]), key=lambda end: end[1])[0]


def _log_ratio(left: float, reference: float) -> float:
    return math.log(max(left, 1e-9) / max(reference, 1e-9))


def _find_bases(points_mm: Floats, classes: Floats) -> tuple[Floats, Floats]:
    """Orthonormal bases (n, 10) of the background and (n, 10 + k) of background and classes."""
    smooth = _list_background(points_mm)
    return np.linalg.qr(smooth)[0], np.linalg.qr(np.concatenate([smooth, classes], axis=1))[0]


def _list_background(points_mm: Floats) -> Floats:
    """Polynomials of the second degree in the points' coordinates, (n, 10)."""
    scaled = (points_mm - points_mm.mean(axis=0)) / np.maximum(points_mm.std(axis=0), 1.0)
    squares = [scaled[:, first] * scaled[:, second] for first in range(3) for second in range(first, 3)]
    return np.column_stack([np.ones(len(points_mm)), scaled, *squares])


def _take_off(basis: Floats, values: Floats) -> Floats:
    """What of the values (n,) or (n, k) the orthonormal basis (n, m) does not explain."""
    return np.asarray(values - basis @ (basis.T @ values))


def _list_interior_mm(mask: sitk.Image) -> Floats:
    """Centres of the mask's voxels that lie deeper than its rim, (n, 3); where the volume ends there is no rim."""
    inside = sitk.GetArrayFromImage(mask) > 0
    if not inside.all():
        depths = sitk.SignedMaurerDistanceMap(mask, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
        inside = sitk.GetArrayFromImage(depths) > _RIM_MM
    return _map(grid_from_image(mask).patient_from_index, np.argwhere(inside).astype(np.float64))


def _lay(image: sitk.Image) -> Layer:
    return Layer(array_from_image(image), grid_from_image(image))


def _thin(points_mm: Floats) -> Floats:
    thinned: Floats = points_mm[:: max(1, math.ceil(len(points_mm) / _MOST_POINTS))]
    return thinned


def _spread(limits: NDArray[np.floating[Any]]) -> Floats:
    """The same, strictly ascending, as interpolation wants them."""
    return np.asarray(np.maximum.accumulate(limits) + 1e-6 * (1 + np.abs(limits).max()) * np.arange(len(limits)))


def find_inside(points_mm: Floats, pose: Affine, grid: Grid, margin_mm: float = 0.0) -> NDArray[np.bool_]:
    """Whether each point (n, 3) lies within the grid, ``margin_mm`` away from its border, under the pose."""
    indices = _map(np.linalg.inv(grid.patient_from_index) @ pose, points_mm)
    margin = margin_mm / np.asarray(grid.spacing_mm) - 0.5
    return np.asarray(((indices >= margin) & (indices <= np.asarray(grid.shape) - 1 - margin)).all(axis=1))


def _map(pose: Affine, points_mm: Floats) -> Floats:
    return np.asarray(points_mm @ pose[:3, :3].T + pose[:3, 3])
