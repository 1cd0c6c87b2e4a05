"""Heads to simulate from: an MR on a millimetre lattice with its tissues, as it is or varied into another patient's."""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage

from dicom_samples.anatomy import build_head
from dicom_samples.tissues import LOW_MM
from fusionnode.registration.bridge import image_from_volume
from fusionnode.volumes.assemble import assemble_volume

Field = NDArray[np.float32]
"""float32 [up, back, left], one value per millimetre."""

REAL_HEADS = MappingProxyType(
    {
        "philips": "philips_mr/classic_1301_T1_MPRAGE",
        "atlas-axial": "aanlib/pet_axial/mr",
        "atlas-coronal": "aanlib/pet_hybrid/mr",
        "atlas-t2": "aanlib/spect_a/mr",
    }
)
"""Folders of MR series of heads within the real data, by the name a specification uses."""
SYNTHETIC = "synthetic"
_MAPS = ("mr", "grey", "white", "fluid", "scalp")
_DARK_FLUID, _BRIGHT_FLUID = ("fluid", "grey", "white"), ("white", "grey", "fluid")
_CORE_RADII_MM = (40.0, 60.0, 45.0)
_BRAIN_BELOW_VERTEX_MM = 150.0
_COARSE = 2


@dataclass(frozen=True, eq=False)
class Head:
    """One head on a lattice of 1 mm whose axes are the patient's.

    Attributes:
        mr: the MR as it is, white matter of a T1 (grey matter of a T2) at about 1.
        grey, white, fluid: share of each voxel's volume, 0 to 1; they sum to 1 in the brain and are 0 elsewhere.
        scalp: share of everything else that is no air, bone or cavity.
        origin_mm: of voxel [0, 0, 0]; (left, back, up), LPS mm.
    """

    name: str
    mr: Field
    grey: Field
    white: Field
    fluid: Field
    scalp: Field
    origin_mm: NDArray[np.float64]

    @property
    def brain(self) -> Field:
        """Share of each voxel that lies within the brain's outline, its fluid included."""
        return np.asarray(self.grey + self.white + self.fluid, dtype=np.float32)

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """Centre of mass of the brain, LPS mm."""
        return np.asarray(ndimage.center_of_mass(self.brain), dtype=np.float64)[::-1] + self.origin_mm

    def list_points_mm(self, every_mm: int = 8) -> NDArray[np.float64]:
        """Points of the brain, ``every_mm`` apart, (n, 3), LPS mm: where a registration error is measured."""
        indices = np.argwhere(self.brain[::every_mm, ::every_mm, ::every_mm] > 0.5)[:, ::-1] * every_mm
        return np.asarray(indices + self.origin_mm, dtype=np.float64)


@cache
def load_head(name: str, real_data: Path | None = None) -> Head:
    """Return a head by name; all but the synthetic one need the folder of real data."""
    if name == SYNTHETIC:
        return _segment(name, build_head().t1, np.asarray(LOW_MM, dtype=np.float64))
    if real_data is None:
        raise ValueError(f"the head {name} needs the real data")
    files = sorted((real_data / REAL_HEADS[name]).glob("*.dcm"))
    image = image_from_volume(assemble_volume([dcmread(path) for path in files]))
    lattice = _lay_lattice(image)
    return _segment(name, sitk.GetArrayFromImage(lattice).astype(np.float32), np.asarray(lattice.GetOrigin()))


def list_heads(real_data: Path | None) -> tuple[str, ...]:
    """Names of the heads that can be loaded here."""
    return (SYNTHETIC, *(REAL_HEADS if real_data else ()))


def vary_head(head: Head, patient: int) -> Head:
    """Return another patient's head: other proportions (to 8 %) and a smoothly changed anatomy; 0 changes nothing.

    MR and tissues go through the same deformation, so that they still belong together.
    """
    if patient == 0:
        return head
    chance = np.random.default_rng([patient, 20_114])
    stretch = sitk.AffineTransform(3)
    stretch.SetCenter(head.centre_mm.tolist())
    stretch.Scale((1 / chance.uniform(0.92, 1.08, 3)).tolist())
    bend = sitk.BSplineTransformInitializer(_image(head.mr, head), [6, 6, 6], 3)
    bend.SetParameters(chance.normal(0, 7.0, len(bend.GetParameters())).tolist())
    maps = sitk.Compose([_image(getattr(head, name), head) for name in _MAPS])
    warp = _tabulate(sitk.CompositeTransform([stretch, bend]), maps)
    warped = np.moveaxis(sitk.GetArrayFromImage(sitk.Resample(maps, warp, sitk.sitkLinear, 0.0)), -1, 0)
    return replace(
        head, name=f"{head.name}, patient {patient}", **dict(zip(_MAPS, np.ascontiguousarray(warped), strict=True))
    )


def _image(field: Field, head: Head) -> sitk.Image:
    image = sitk.GetImageFromArray(field)
    image.SetOrigin(head.origin_mm.tolist())
    return image


def _tabulate(warp: sitk.Transform, like: sitk.Image) -> sitk.Transform:
    """The same transform to a fraction of a millimetre, tabulated every 4 mm, because splines are slow to evaluate."""
    size = [n // 4 + 2 for n in like.GetSize()]
    table = sitk.TransformToDisplacementField(
        warp, sitk.sitkVectorFloat64, size, like.GetOrigin(), [4.0] * 3, like.GetDirection()
    )
    return sitk.DisplacementFieldTransform(table)


def _lay_lattice(image: sitk.Image) -> sitk.Image:
    ends = [(0, n - 1) for n in image.GetSize()]
    corners = np.array(
        [image.TransformContinuousIndexToPhysicalPoint((x, y, z)) for x in ends[0] for y in ends[1] for z in ends[2]]
    )
    size = (np.ceil(np.ptp(corners, axis=0)) + 1).astype(int).tolist()
    still = sitk.Transform(3, sitk.sitkIdentity)
    upright = np.eye(3).ravel().tolist()
    return sitk.Resample(image, size, still, sitk.sitkLinear, corners.min(axis=0).tolist(), [1.0] * 3, upright, 0.0)


def _segment(name: str, mr: Field, origin_mm: NDArray[np.float64]) -> Head:
    """Tell the tissues apart by intensity, twice: the first pass shows how unevenly the coil sees the brain."""
    order = _BRIGHT_FLUID if "t2" in name else _DARK_FLUID
    coarse = np.asarray(ndimage.gaussian_filter(mr, 1.0)[::_COARSE, ::_COARSE, ::_COARSE])
    outline = _largest(ndimage.gaussian_filter(coarse, 1.0) > 0.25 * mr[mr > mr.mean()].mean())
    vertex = int(np.argwhere(outline.sum(axis=(1, 2)) > 1500 / _COARSE**2)[:, 0].max())
    core = _outline_core(outline, vertex)
    first = _grow_brain(coarse, _find_classes(coarse[core]), order, vertex)
    gain = _estimate_gain(coarse, first)
    even = np.asarray(coarse / gain, dtype=np.float32)
    classes = _find_classes(even[core])
    inside = _refine(_grow_brain(even, classes, order, vertex).astype(np.float32), mr.shape)
    smooth = ndimage.gaussian_filter(mr, 0.6) / _refine(gain, mr.shape)
    shares = zip(order, _share_out(smooth, classes), strict=True)
    tissues = {tissue: (inside * share).astype(np.float32) for tissue, share in shares}
    scalp = ((1 - inside) * np.clip(smooth / classes[1] - 0.2, 0, 1)).astype(np.float32)
    reference = classes[1] if order is _BRIGHT_FLUID else classes[2]
    return Head(name, (mr / reference).astype(np.float32), scalp=scalp, origin_mm=origin_mm, **tissues)


def _estimate_gain(coarse: Field, brain: NDArray[np.bool_]) -> Field:
    """How bright the coil sees each place, around 1: the mean of the brain's matter within about 30 mm."""
    usual = brain & (coarse > 0.5 * np.median(coarse[brain])) & (coarse < 1.5 * np.median(coarse[brain]))
    middle = float(coarse[usual].mean())
    total = ndimage.gaussian_filter(np.where(usual, coarse / middle, 0), 30 / _COARSE)
    return np.asarray((total + 0.01) / (ndimage.gaussian_filter(usual.astype(np.float32), 30 / _COARSE) + 0.01))


def _refine(coarse: Field, shape: tuple[int, ...]) -> Field:
    factors = [n / m for n, m in zip(shape, coarse.shape, strict=True)]
    return np.asarray(ndimage.zoom(coarse, factors, order=1), dtype=np.float32)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _outline_core(head: NDArray[np.bool_], vertex: int) -> NDArray[np.bool_]:
    """An ellipsoid 60 mm below the vertex that holds little but brain."""
    level = vertex - 60 // _COARSE
    upper = head[max(0, level - 20 // _COARSE) : vertex].any(axis=0)
    middle = [(line.min() + line.max()) / 2 for line in np.argwhere(upper).T]
    axes = np.ogrid[tuple(slice(n) for n in head.shape)]
    terms = zip(axes, (level, *middle), _CORE_RADII_MM, strict=True)
    return np.asarray(sum(((axis - at) * _COARSE / radius) ** 2 for axis, at, radius in terms) < 1)


def _find_classes(values: Field) -> NDArray[np.float64]:
    """Three means of the intensities (Lloyd), ascending; what is nearly black is none of them."""
    values = values[values > 0.05 * np.percentile(values, 99)]
    means = np.percentile(values, [5, 50, 95])
    for _ in range(30):
        nearest = np.abs(values[:, None] - means).argmin(axis=1)
        means = np.array([values[nearest == index].mean() for index in range(3)])
    return np.sort(means)


def _grow_brain(coarse: Field, classes: NDArray[np.float64], order: tuple[str, ...], vertex: int) -> NDArray[np.bool_]:
    """Grey and white matter that hang together after 3.2 mm (T2: 3.5 mm) were taken off, and what they enclose."""
    if order is _DARK_FLUID:
        limits, take_off_mm = ((classes[0] + classes[1]) / 2, 1.6 * classes[2] - 0.6 * classes[1]), 3.2
    else:
        limits, take_off_mm = (0.6 * classes[0], (classes[1] + classes[2]) / 2), 3.5
    matter = (coarse > limits[0]) & (coarse < limits[1])
    matter[: max(0, vertex - int(_BRAIN_BELOW_VERTEX_MM) // _COARSE)] = False
    brain = _dilate(_largest(_erode(matter, take_off_mm)), take_off_mm + 2)
    return np.asarray(ndimage.binary_fill_holes(brain | _erode(_dilate(brain, 8), 8)))


def _erode(mask: NDArray[np.bool_], radius_mm: float) -> NDArray[np.bool_]:
    return np.asarray(ndimage.distance_transform_edt(mask) * _COARSE > radius_mm)


def _dilate(mask: NDArray[np.bool_], radius_mm: float) -> NDArray[np.bool_]:
    return np.asarray(ndimage.distance_transform_edt(~mask) * _COARSE <= radius_mm)


def _share_out(smooth: Field, classes: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Shares of the three classes by ascending intensity: between two means a voxel holds both (partial volume)."""
    place = np.interp(smooth, classes, [0.0, 1.0, 2.0])
    return [np.maximum(0.0, 1 - np.abs(place - index)) for index in range(3)]
