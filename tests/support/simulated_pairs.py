"""Simulates PET and SPECT from the MR of a head, so that a registration can be judged by an exact truth.

Uptake is laid out by tissue on the millimetre lattice of the head, blurred by half of the scanner's point spread and
sampled once, at the places the true motion assigns to the voxels of the scanner's own grid; counts are then drawn
(Poisson) and the image is filtered by the other half, as a reconstruction would. So no voxel of the fixed grid takes
part in making the moving volume.
"""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from tests.support.phantoms import AXIAL, CORONAL, make_motion
from tests.support.simulated_heads import Field, Head

SAGITTAL = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Directions (columns: slice, row, column): slices to the left, rows downwards, columns to the back."""
ORIENTATIONS = MappingProxyType({"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL})


@dataclass(frozen=True)
class Tracer:
    """Uptake per tissue, relative; ``striatum`` is added around the basal ganglia."""

    grey: float
    white: float
    fluid: float
    scalp: float
    striatum: float = 0.0


TRACERS = MappingProxyType(
    {
        "fdg": Tracer(grey=4.0, white=1.0, fluid=0.1, scalp=0.4),
        "perfusion": Tracer(grey=4.0, white=1.2, fluid=0.2, scalp=0.5),
        "amyloid-negative": Tracer(grey=1.2, white=2.0, fluid=0.2, scalp=0.5),
        "amyloid-positive": Tracer(grey=2.6, white=2.0, fluid=0.2, scalp=0.5),
        "striatum": Tracer(grey=1.0, white=0.7, fluid=0.2, scalp=0.4, striatum=5.0),
    }
)
WHOLE_HEADS = ("synthetic", "philips")
"""Heads whose MR shows them whole; the atlas shows slabs."""
CONTRASTS = MappingProxyType({"t1": (0.65, 1.0, 0.25), "t2": (1.0, 0.72, 2.0), "flair": (1.0, 0.8, 0.15)})
"""Signal of grey matter, white matter and fluid where the MR is not used as it is."""
_CUT_MARGIN_MM = 14.0
_STRIATUM_MM, _STRIATUM_RADIUS_MM = (22.0, -12.0, 2.0), (9.0, 18.0, 10.0)


@dataclass(frozen=True)
class MrSpec:
    """How the MR is taken.

    Attributes:
        contrast: ``native`` for the MR as it is, else a key of `CONTRASTS`.
        spacing_mm: (slice, row, column).
        orientation: a key of `ORIENTATIONS`.
        keep: first and last share of the extent along the slice axis, 0 to 1; less than all is a slab.
        bias: how far the coil's sensitivity departs from 1.
        gamma: exponent of the intensity curve.
        noise: standard deviation, white matter = 1.
    """

    contrast: str = "native"
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    orientation: str = "axial"
    keep: tuple[float, float] = (0.0, 1.0)
    bias: float = 0.1
    gamma: float = 1.0
    noise: float = 0.02


@dataclass(frozen=True)
class UptakeSpec:
    """How the functional volume is taken.

    Attributes:
        kind: a key of `TRACERS`.
        fwhm_mm: of the whole point spread; PET 4 to 7 mm, SPECT 8 to 14 mm.
        counts: events in the volume.
        spacing_mm: (slice, row, column).
        axial_keep: first and last share of the head's height within the field of view, from the feet, 0 to 1.
        radius_mm: of the field of view around the scanner's axis; beyond it the image is 0.
        lesions: number of hot or cold spheres.
        regions: standard deviation of the uptake between regions of about 40 mm, of 1; clipped at twice that.
    """

    kind: str = "fdg"
    fwhm_mm: float = 6.0
    counts: float = 1e7
    spacing_mm: tuple[float, float, float] = (3.27, 2.0, 2.0)
    axial_keep: tuple[float, float] = (0.0, 1.0)
    radius_mm: float = math.inf
    lesions: int = 0
    regions: float = 0.12


@dataclass(frozen=True)
class PairSpec:
    """One simulated pair: whose head, both scans, and the motion between them.

    Attributes:
        head: a name `load_head` knows.
        patient: 0 for the head as it is, else the seed of its variation.
        turns_deg: about the patient's axes through the brain's centre, one after the other.
        shift_mm: LPS, after the turns.
        seed: of noise, coil, regional uptake, lesions and the place of the moving grid.
    """

    head: str = "synthetic"
    patient: int = 0
    mr: MrSpec = field(default_factory=MrSpec)
    uptake: UptakeSpec = field(default_factory=UptakeSpec)
    turns_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """Both volumes, the motion that carries the fixed head onto the moving one, and the brain's points (fixed, mm)."""

    fixed: Volume
    moving: Volume
    truth: RigidMotion
    points_mm: NDArray[np.float64]


def make_pair(spec: PairSpec, head: Head) -> SimulatedPair:
    """Simulate both scans of ``head``, which is the one ``spec`` names, already varied into its patient."""
    truth = make_motion(spec.turns_deg, spec.shift_mm, tuple(head.centre_mm))
    return SimulatedPair(make_mr(spec, head), make_uptake(spec, head, truth), truth, head.list_points_mm())


def make_mr(spec: PairSpec, head: Head) -> Volume:
    """Simulate the MR. Where the lattice cuts the brain, the scan ends 14 mm earlier, out of sight of that cut."""
    chance = np.random.default_rng([spec.seed, 1])
    grid = _lay_fixed_grid(spec.mr, head)
    signal = _sample(_paint_signal(spec.mr, head), head, grid, RigidMotion.identity())
    signal = np.clip(signal, 0, None) ** spec.mr.gamma * (1 + spec.mr.bias * _wave(grid, chance))
    noise = chance.normal(0, spec.mr.noise, (2, *grid.shape))
    voxels = (1000 * np.hypot(signal + noise[0], noise[1])).astype(np.float32)
    return Volume(voxels, grid, Unit.ARBITRARY, "1.2.3.1", "1.2.3.10")


def make_uptake(spec: PairSpec, head: Head, motion: RigidMotion) -> Volume:
    """Simulate the PET or SPECT of the head where ``motion`` carried it."""
    chance = np.random.default_rng([spec.seed, 2])
    sigma_mm = spec.uptake.fwhm_mm / math.sqrt(8 * math.log(2))
    seen = ndimage.gaussian_filter(_paint_uptake(spec.uptake, head, chance), sigma_mm * math.sqrt(0.5))
    grid = _lay_moving_grid(spec.uptake, head, motion, chance)
    expected = np.clip(_sample(seen, head, grid, motion), 0, None) * _outline_field_of_view(spec.uptake, grid)
    counts = chance.poisson(expected * (spec.uptake.counts / expected.sum()))
    filtered = ndimage.gaussian_filter(
        counts.astype(np.float64), sigma_mm * math.sqrt(0.5) / np.asarray(grid.spacing_mm)
    )
    voxels = filtered * _outline_field_of_view(spec.uptake, grid) * (1e4 * expected.sum() / spec.uptake.counts)
    return Volume(voxels.astype(np.float32), grid, Unit.BQML, "1.2.3.2", "1.2.3.20")


def target_registration_error_mm(
    truth: RigidMotion, found: RigidMotion, points_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance between where both motions carry each point (n, 3) of fixed space, in mm, (n,)."""
    offset = found.moving_from_fixed - truth.moving_from_fixed
    return np.asarray(np.linalg.norm(points_mm @ offset[:3, :3].T + offset[:3, 3], axis=1))


def flip_left_right(volume: Volume) -> Volume:
    """The volume as a wrong orientation would show it: mirrored from left to right, its grid unchanged."""
    axis = int(np.abs(volume.grid.directions[0]).argmax())
    return replace(volume, voxels=np.ascontiguousarray(np.flip(volume.voxels, axis)))


def misplace(
    motion: RigidMotion, head_centre_mm: NDArray[np.float64], shift_mm: float, turn_deg: float, seed: int
) -> RigidMotion:
    """A wrong motion: ``motion`` after a shift and a turn of the given sizes about the head, in seeded directions."""
    chance = np.random.default_rng([seed, 3])
    direction, axis = (one / np.linalg.norm(one) for one in chance.normal(size=(2, 3)))
    cross = np.cross(np.eye(3), axis)
    angle = math.radians(turn_deg)
    rotation = np.eye(3) - math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    wrong = np.eye(4)
    wrong[:3, :3] = rotation
    wrong[:3, 3] = head_centre_mm - rotation @ head_centre_mm + shift_mm * direction
    return RigidMotion(motion.moving_from_fixed @ wrong)


def _paint_signal(spec: MrSpec, head: Head) -> Field:
    if spec.contrast == "native":
        return head.mr
    grey, white, fluid = CONTRASTS[spec.contrast]
    inside = grey * head.grey + white * head.white + fluid * head.fluid
    return np.asarray(inside + (1 - head.brain) * 0.7 * np.clip(head.mr, 0, 2), dtype=np.float32)


def _paint_uptake(spec: UptakeSpec, head: Head, chance: np.random.Generator) -> Field:
    """Uptake by tissue, with regions up to a quarter above or below it, and lesions anywhere in the brain."""
    tracer = TRACERS[spec.kind]
    painted = tracer.grey * head.grey + tracer.white * head.white + tracer.fluid * head.fluid
    painted *= 1 + spec.regions * _make_regions(painted.shape, chance)
    for side in (-1, 1) if tracer.striatum else ():
        place = _measure_ellipsoid(head, np.array(_STRIATUM_MM) * (side, 1, 1), _STRIATUM_RADIUS_MM)
        painted += tracer.striatum * (head.grey + 0.3 * head.white) * (place < 1)
    matter = head.list_points_mm()
    for _ in range(spec.lesions):
        centre_mm = matter[chance.integers(len(matter))] - head.centre_mm
        place = _measure_ellipsoid(head, centre_mm, (chance.uniform(5, 12),) * 3)
        painted *= np.where(place < 1, chance.choice([0.3, 2.0]), 1)
    return np.asarray(painted + tracer.scalp * head.scalp, dtype=np.float32)


def _make_regions(shape: tuple[int, ...], chance: np.random.Generator) -> Field:
    """A smooth field of variance 1 that changes over about 40 mm."""
    knots = chance.normal(size=[n // 40 + 3 for n in shape])
    field_ = ndimage.zoom(knots, [n / m for n, m in zip(shape, knots.shape, strict=True)], order=1)
    return np.asarray(np.clip(field_, -2, 2), dtype=np.float32)


def _measure_ellipsoid(
    head: Head, offset_mm: NDArray[np.float64], radii_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Below 1 within the ellipsoid at ``offset_mm`` (LPS) from the brain's centre, shape of the lattice."""
    middle = (head.centre_mm + offset_mm - head.origin_mm)[::-1]
    axes = np.ogrid[tuple(slice(n) for n in head.mr.shape)]
    terms = zip(axes, middle, radii_mm[::-1], strict=True)
    return np.asarray(sum(((axis - at) / radius) ** 2 for axis, at, radius in terms))


def _lay_fixed_grid(spec: MrSpec, head: Head) -> Grid:
    directions = ORIENTATIONS[spec.orientation]
    low_mm, high_mm = _find_extent_mm(head)
    extent_mm = np.abs((high_mm - low_mm) @ directions)
    shares = np.array([spec.keep[1] - spec.keep[0], 1, 1])
    shape = np.maximum(1, np.round(extent_mm * shares / spec.spacing_mm)).astype(int)
    middle_mm = (low_mm + high_mm) / 2 + directions[:, 0] * extent_mm[0] * (sum(spec.keep) / 2 - 0.5)
    half_mm = directions @ ((shape - 1) / 2 * spec.spacing_mm)
    return Grid.from_axes(tuple(shape.tolist()), middle_mm - half_mm, directions, spec.spacing_mm)


def _find_extent_mm(head: Head) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two corners (LPS) of what the lattice shows reliably: short of each face through which the brain was cut."""
    low, high = np.zeros(3), np.array(head.mr.shape) - 1.0
    for axis in range(3):
        low[axis] += _CUT_MARGIN_MM * _is_cut(head.brain, axis, 1)
        high[axis] -= _CUT_MARGIN_MM * _is_cut(head.brain, axis, -2)
    return low[::-1] + head.origin_mm, high[::-1] + head.origin_mm


def _is_cut(brain: Field, axis: int, face: int) -> bool:
    return bool((brain.take([face], axis) > 0.5).sum() > 300)


def _lay_moving_grid(spec: UptakeSpec, head: Head, motion: RigidMotion, chance: np.random.Generator) -> Grid:
    """Axial slices over the kept part of the moved head, which lies in the middle to a few millimetres."""
    matrix = motion.moving_from_fixed
    points_mm = np.argwhere((head.brain + head.scalp)[::8, ::8, ::8] > 0.3)[:, ::-1] * 8 + head.origin_mm
    moved_mm = points_mm @ matrix[:3, :3].T + matrix[:3, 3]
    centre_mm = matrix[:3, :3] @ head.centre_mm + matrix[:3, 3] + chance.uniform(-6, 6, 3)
    top_mm = moved_mm[:, 2].max() + 15
    bottom_mm = max(moved_mm[:, 2].min() - 15, top_mm - 240)
    first, last = (bottom_mm + share * (top_mm - bottom_mm) for share in spec.axial_keep)
    centre_mm[2] = (first + last) / 2
    size_mm = np.array([last - first, 260, 260])
    shape = np.round(size_mm / spec.spacing_mm).astype(int)
    half_mm = AXIAL @ ((shape - 1) / 2 * spec.spacing_mm)
    return Grid.from_axes(tuple(shape.tolist()), centre_mm - half_mm, AXIAL, spec.spacing_mm)


def _outline_field_of_view(spec: UptakeSpec, grid: Grid) -> NDArray[np.bool_]:
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in grid.shape[1:])
    radius_mm = np.hypot(rows[:, None] * grid.spacing_mm[1], columns[None, :] * grid.spacing_mm[2])
    return np.broadcast_to(radius_mm <= spec.radius_mm, grid.shape)


def _sample(values: Field, head: Head, grid: Grid, motion: RigidMotion) -> NDArray[np.float64]:
    """Values of the head's lattice at the grid's voxels, the head lying where ``motion`` carried it; 0 outside."""
    lattice_from_head = np.eye(4)
    lattice_from_head[:3, 3] = -head.origin_mm
    index = (lattice_from_head @ motion.fixed_from_moving @ grid.patient_from_index)[[2, 1, 0]]
    return np.asarray(
        ndimage.affine_transform(values.astype(np.float64), index[:, :3], index[:, 3], grid.shape, order=1)
    )


def _wave(grid: Grid, chance: np.random.Generator) -> NDArray[np.float64]:
    """A smooth sensitivity, -1 to 1, of one to two waves over 300 mm, shape of the grid."""
    wave = np.ones(grid.shape)
    for axis, (count, step_mm) in enumerate(zip(grid.shape, grid.spacing_mm, strict=True)):
        along_mm = np.arange(count) * step_mm
        shape = [-1 if one == axis else 1 for one in range(3)]
        wave = wave * np.cos(along_mm / chance.uniform(40, 90) + chance.uniform(0, 6)).reshape(shape)
    return wave


def draw_specs(count: int, seed: int, heads: tuple[str, ...], patients: int = 4) -> list[PairSpec]:
    """Draw pairs as a clinic might send them: two of three PET, a third of them cut off or with thick slices.

    Motions are up to 20 degrees about any axis and up to 25 mm in any direction, uniform in size. Every head appears as
    it is and as ``patients`` - 1 variations; the same arguments give the same list.
    """
    return [_draw_spec(index, np.random.default_rng([seed, index]), heads, patients) for index in range(count)]


def _draw_spec(index: int, chance: np.random.Generator, heads: tuple[str, ...], patients: int) -> PairSpec:
    head, patient = heads[index % len(heads)], (index // len(heads)) % patients
    axis, direction = (one / np.linalg.norm(one) for one in chance.normal(size=(2, 3)))
    turns = axis * chance.uniform(0, 20)
    shift = direction * chance.uniform(0, 25)
    return PairSpec(
        head=head,
        patient=patient,
        mr=_draw_mr(head, patient, chance),
        uptake=_draw_uptake(index, chance),
        turns_deg=(float(turns[0]), float(turns[1]), float(turns[2])),
        shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
        seed=index,
    )


def _draw_mr(head: str, patient: int, chance: np.random.Generator) -> MrSpec:
    native = patient == 0 or chance.random() < 0.5
    thickness_mm = float(chance.choice([1.0, 1.0, 2.0, 3.0, 5.0]))
    keep = [(0.0, 1.0), (0.0, 1.0), (0.15, 1.0), (0.3, 0.9)][chance.integers(4)] if head in WHOLE_HEADS else (0.0, 1.0)
    return MrSpec(
        contrast="native" if native else str(chance.choice(list(CONTRASTS))),
        spacing_mm=(thickness_mm, 1.0, 1.0),
        orientation=str(chance.choice(list(ORIENTATIONS))) if keep == (0.0, 1.0) else "axial",
        keep=keep,
        bias=float(chance.uniform(0, 0.2)),
        gamma=float(chance.uniform(0.8, 1.25)),
        noise=float(chance.uniform(0.01, 0.04)),
    )


def _draw_uptake(index: int, chance: np.random.Generator) -> UptakeSpec:
    keep = [(0.0, 1.0)] * 4 + [(0.35, 1.0), (0.0, 0.8)]
    cut = UptakeSpec(
        axial_keep=keep[chance.integers(len(keep))],
        radius_mm=float(chance.choice([math.inf, math.inf, math.inf, 85.0])),
        lesions=int(chance.integers(0, 4)),
    )
    if index % 3 == 2:
        kind = str(chance.choice(["perfusion", "perfusion", "striatum"]))
        step_mm = float(chance.uniform(3.0, 4.5))
        fwhm_mm, counts = float(chance.uniform(8, 14)), float(10 ** chance.uniform(6.0, 6.7))
        return replace(cut, kind=kind, fwhm_mm=fwhm_mm, counts=counts, spacing_mm=(step_mm, step_mm, step_mm))
    kind = str(chance.choice(["fdg", "fdg", "amyloid-negative", "amyloid-positive"]))
    in_plane_mm = float(chance.uniform(1.2, 2.6))
    spacing_mm = (float(chance.uniform(2.0, 4.25)), in_plane_mm, in_plane_mm)
    fwhm_mm, counts = float(chance.uniform(4, 7)), float(10 ** chance.uniform(6.7, 7.7))
    return replace(cut, kind=kind, fwhm_mm=fwhm_mm, counts=counts, spacing_mm=spacing_mm)
