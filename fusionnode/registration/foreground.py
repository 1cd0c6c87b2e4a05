"""Finds the head in a volume, so that air, bed and body do not decide where it is (middle)."""

# SimpleITK's Python layer is generated and mostly without types.
# mypy: allow-untyped-calls

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from fusionnode.domain.volume import Volume, Voxels
from fusionnode.errors import RegistrationImplausible
from fusionnode.registration.bridge import image_from_volume
from fusionnode.registration.shrink import shrink_volume

_FINEST_MM = 1.0
_MASK_SPACING_MM = 4.0
_MASK_BLUR_MM = 3.0
_SMALLEST_PART_ML = 100.0
_SMALLEST_HEAD_ML = 150.0
_MARGIN_MM = 100.0
# Of the bright voxels: a vessel or a bladder above it would leave the head a single histogram bin, or none of the mask.
_HEAD_PERCENTILE = 99.5
_BODY_PERCENTILE = 50.0
_ENOUGH_VOXELS = 200_000


@dataclass(frozen=True, eq=False)
class Head:
    """A volume ready to be compared: intensities clipped to the head's range, cut to the head's surroundings.

    Attributes:
        image: float32, the volume within 10 cm of the head.
        mask: uint8, 1 in the head; spacing about 4 mm.
        points_mm: centres of the mask's voxels, (n, 3), LPS mm.
        centre_mm: centre of mass of the mask, LPS mm.
        vertex_mm: the centre, raised to the mask's highest level, LPS mm.
    """

    image: sitk.Image
    mask: sitk.Image
    points_mm: NDArray[np.float64]
    centre_mm: NDArray[np.float64]
    vertex_mm: NDArray[np.float64]


def find_head(volume: Volume, head_height_mm: float) -> Head:
    """Find the topmost large bright body and cut the volume to its surroundings.

    The foreground is what lies above Otsu's threshold (IEEE Trans. SMC 9, 1979) of the blurred volume, without parts
    below 100 ml and without what lies more than ``head_height_mm`` below the vertex.

    Raises:
        RegistrationImplausible: the volume holds nothing of a head's size.
    """
    image = image_from_volume(shrink_volume(volume, _FINEST_MM))
    body = _cut_below(_find_parts(image, _BODY_PERCENTILE), head_height_mm)
    _require_head(body, volume)
    mask = _cut_below(_find_parts(_crop(image, _mask_points_mm(body), 0.0), _HEAD_PERCENTILE), head_height_mm)
    _require_head(mask, volume)
    points_mm = _mask_points_mm(mask)
    centre_mm = points_mm.mean(axis=0)
    vertex_mm = np.array([centre_mm[0], centre_mm[1], points_mm[:, 2].max()])
    return Head(_clip(_crop(image, points_mm, _MARGIN_MM), _HEAD_PERCENTILE), mask, points_mm, centre_mm, vertex_mm)


def find_foreground_points_mm(volume: Volume) -> NDArray[np.float64]:
    """Return where the volume is bright, as points about 4 mm apart, (n, 3), LPS mm; none where it is uniform.

    Unlike `find_head` this makes no assumption about the anatomy.
    """
    return _mask_points_mm(_find_parts(image_from_volume(shrink_volume(volume, _FINEST_MM)), _HEAD_PERCENTILE))


def reduce_image(image: sitk.Image, spacing_mm: float, blur_mm: float) -> sitk.Image:
    """Blur and resample so that no axis is finer than ``spacing_mm``; coarser axes keep their spacing.

    Much finer axes are averaged over whole voxels first, as far as the blur covers that; a remainder of less than
    ``spacing_mm`` at their end is left out.
    """
    image = _blur_and_shrink(image, spacing_mm, blur_mm)
    old_mm, size = np.asarray(image.GetSpacing()), np.asarray(image.GetSize())
    reduced = np.maximum(1, np.round(size * old_mm / np.maximum(old_mm, spacing_mm))).astype(int)
    if (reduced == size).all():
        return image
    new_mm = size * old_mm / reduced
    directions = np.asarray(image.GetDirection()).reshape(3, 3)
    origin_mm = np.asarray(image.GetOrigin()) + directions @ ((new_mm - old_mm) / 2)
    still = sitk.Transform(3, sitk.sitkIdentity)
    frame = ([int(n) for n in reduced], still, sitk.sitkLinear, origin_mm.tolist(), new_mm.tolist())
    return sitk.Resample(image, *frame, image.GetDirection(), 0.0, image.GetPixelID())


def _blur_and_shrink(image: sitk.Image, spacing_mm: float, blur_mm: float) -> sitk.Image:
    """A Gaussian costs the more the finer the voxels are, and the mean of n voxels is already part of one."""
    if blur_mm <= 0:
        return image
    factors = _count_whole(image, spacing_mm)
    boxes_mm2 = [(n**2 - 1) / 12 * own_mm**2 for n, own_mm in zip(factors, image.GetSpacing(), strict=True)]
    rest_mm2 = [max(0.0, blur_mm**2 - box_mm2) for box_mm2 in boxes_mm2]
    return sitk.DiscreteGaussian(sitk.BinShrink(image, factors), rest_mm2, 64, 0.01, True)


def _count_whole(image: sitk.Image, spacing_mm: float) -> list[int]:
    """How many whole voxels ``spacing_mm`` holds along each axis, one at least."""
    fits = [min(spacing_mm / own_mm, size) for own_mm, size in zip(image.GetSpacing(), image.GetSize(), strict=True)]
    return [max(1, int(fit + 1e-6)) for fit in fits]


def _require_head(mask: sitk.Image, volume: Volume) -> None:
    foreground_ml = float(sitk.GetArrayViewFromImage(mask).sum() * np.prod(mask.GetSpacing())) / 1000
    if foreground_ml >= _SMALLEST_HEAD_ML:
        return
    raise RegistrationImplausible(
        f"The series shows {foreground_ml:.0f} ml of foreground, less than a head.",
        remedy="Check that the right series was chosen and that its slices are complete.",
        series_instance_uid=volume.series_instance_uid,
        foreground_ml=foreground_ml,
    )


def _clip(image: sitk.Image, percentile: float) -> sitk.Image:
    array = _thin_out(sitk.GetArrayViewFromImage(image))
    low, middle = float(np.percentile(array, 1)), float(array.mean(dtype=np.float64))
    bright = array[array > middle]
    high = float(np.percentile(bright, percentile)) if bright.size else middle
    clipped: sitk.Image = sitk.Clamp(image, sitk.sitkFloat32, min(low, middle), max(high, middle))
    return clipped


def _thin_out(array: NDArray[np.generic]) -> Voxels:
    """Every second or further voxel of an array that has very many: a percentile needs no more."""
    step = max(1, int((array.size / _ENOUGH_VOXELS) ** (1 / 3)))
    return array[::step, ::step, ::step].astype(np.float32)


def _find_parts(image: sitk.Image, percentile: float) -> sitk.Image:
    """Foreground as a mask without small parts; where all parts are small, the largest."""
    # Shrunk before it is clipped, lest a whole body be copied at full size.
    shrunk = _clip(sitk.BinShrink(image, _count_whole(image, _MASK_SPACING_MM)), percentile)
    blurred = reduce_image(shrunk, _MASK_SPACING_MM, _MASK_BLUR_MM)
    closed = sitk.BinaryMorphologicalClosing(sitk.OtsuThreshold(blurred, 0, 1, 128), [3, 3, 3])
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.BinaryFillhole(closed)))
    labels = sitk.GetArrayFromImage(parts)
    sizes_ml = np.bincount(labels.ravel())[1:] * float(np.prod(parts.GetSpacing())) / 1000
    large = max(1, int((sizes_ml >= _SMALLEST_PART_ML).sum()))
    return _mask_like(parts, (labels > 0) & (labels <= large))


def _cut_below(mask: sitk.Image, head_height_mm: float) -> sitk.Image:
    array = sitk.GetArrayFromImage(mask).astype(bool)
    heights_mm = _mask_points_mm(mask)[:, 2]
    if heights_mm.size:
        array[array] = heights_mm > heights_mm.max() - head_height_mm
    return _mask_like(mask, array)


def _mask_like(mask: sitk.Image, array: NDArray[np.bool_]) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.CopyInformation(mask)
    return image


def _mask_points_mm(mask: sitk.Image) -> NDArray[np.float64]:
    indices = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[:, ::-1]
    patient_from_index = np.asarray(mask.GetDirection()).reshape(3, 3) * np.asarray(mask.GetSpacing())
    points: NDArray[np.float64] = indices @ patient_from_index.T + np.asarray(mask.GetOrigin())
    return points


def _crop(image: sitk.Image, points_mm: NDArray[np.float64], margin_mm: float) -> sitk.Image:
    spacing_mm = np.asarray(image.GetSpacing())
    directions = np.asarray(image.GetDirection()).reshape(3, 3)
    indices = (points_mm - np.asarray(image.GetOrigin())) @ np.linalg.inv(directions).T / spacing_mm
    margin = margin_mm / spacing_mm
    first = np.clip(np.floor(indices.min(axis=0) - margin), 0, None).astype(int)
    last = np.minimum(np.ceil(indices.max(axis=0) + margin).astype(int) + 1, image.GetSize())
    cropped: sitk.Image = sitk.RegionOfInterest(image, [int(n) for n in last - first], [int(n) for n in first])
    return cropped
