"""Brings stored values to float32 in a stated unit (middle)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Voxels
from fusionnode.errors import DatasetUnreadable, UnitUnusable
from fusionnode.volumes.decode import FrameDecoder, check_pixels
from fusionnode.volumes.planes import Plane
from fusionnode.volumes.suv import measure_suv
from fusionnode.volumes.values import read_numbers, read_text

MAX_VOXELS = 1 << 28
"""A gigabyte in float32; the largest series met in practice, 531 slices of 440 x 440, has less than half of it."""


@dataclass(frozen=True)
class Scale:
    """What rescaled values are multiplied by, the unit they are in then, and what should be said about it."""

    unit: Unit
    factor: float = 1.0
    notes: tuple[str, ...] = ()


def choose_scale(ordered: Sequence[Plane]) -> Scale:
    """Return the unit of a series and the factor that leads to it; SUVbw wherever it can be computed.

    Raises:
        UnitUnusable: a PET series lacks Units or a Rescale Slope, or some slices of another lack one that others have.
    """
    ds = ordered[0].ds
    modality = str(ds.get("Modality", ""))
    if modality in ("MR", "NM"):
        _refuse_partly_scaled(ordered)
    if modality == "MR":
        return Scale(Unit.ARBITRARY)
    if modality == "NM":
        return Scale(Unit.CNTS)
    _refuse_slopeless(ordered)
    return _choose_pet_scale(ordered)


def rescale_planes(ordered: Sequence[Plane], scale: Scale) -> Voxels:
    """Decode all planes: (stored * slope + intercept) * factor in float64, then float32 [slice, row, column].

    Voxels that hold the padding value (PS3.3 C.7.5.1.1.2) become 0.

    Raises:
        DatasetUnreadable, SeriesUnsupported: the pixels cannot be read as one channel of whole numbers.
        DecoderUnavailable: compressed pixels cannot be decoded now.
        UnitUnusable: a slope is zero, or values leave the range of float32.
    """
    rows, columns = ordered[0].shape
    if len(ordered) * rows * columns > MAX_VOXELS:
        raise DatasetUnreadable(
            f"A volume of {len(ordered)} x {rows} x {columns} voxels is larger than is ever needed.",
            remedy="Send a reconstruction with fewer voxels.",
            shape=(len(ordered), rows, columns),
        )
    for ds in {id(plane.ds): plane.ds for plane in ordered}.values():
        check_pixels(ds)
    voxels = np.empty((len(ordered), rows, columns), dtype=np.float32)
    with FrameDecoder() as decoder:
        for index, plane in enumerate(ordered):
            stored = decoder.decode(plane.ds, plane.source.frame_number)
            voxels[index] = _rescale_plane(plane, stored, scale.factor)
    return voxels


def _refuse_slopeless(ordered: Sequence[Plane]) -> None:
    slopeless = [plane.name for plane in ordered if plane.slope is None]
    if slopeless:
        raise UnitUnusable(
            f"{len(slopeless)} PET slice(s) have no RescaleSlope, so their values mean nothing: {slopeless[0]}.",
            remedy="Ask the scanner's vendor why.",
            instances=tuple(slopeless),
        )


def _refuse_partly_scaled(ordered: Sequence[Plane]) -> None:
    """Without a slope values count as stored; beside slices that are scaled these would be too dark or too bright."""
    slopeless = [plane.name for plane in ordered if plane.slope is None]
    scaled = any(plane.slope is not None and (plane.slope, plane.intercept) != (1.0, 0.0) for plane in ordered)
    if slopeless and scaled:
        raise UnitUnusable(
            f"{len(slopeless)} of {len(ordered)} slices have no RescaleSlope, but others have: {slopeless[0]}.",
            remedy="Ask the scanner's vendor why.",
            instances=tuple(slopeless),
        )


def _choose_pet_scale(ordered: Sequence[Plane]) -> Scale:
    ds, units = ordered[0].ds, ordered[0].units
    if units == "BQML":
        found = measure_suv(list({id(plane.ds): plane.ds for plane in ordered}.values()))
        if found.factor is None:
            return Scale(Unit.BQML, notes=(f"SUV not computed: {found.note}.",))
        return Scale(Unit.SUVBW, found.factor, (found.note,) if found.note else ())
    if units == "GML":
        return _choose_gml_scale((read_text(ds, "SUVType") or "BW").upper())
    if units in (Unit.CNTS, Unit.PROPCPS):
        return Scale(Unit(units), notes=(f"SUV not computed: Units are {units}.",))
    if not units:
        raise UnitUnusable("A PET series does not state its Units.", remedy="Ask the scanner's vendor why.")
    return Scale(Unit.ARBITRARY, notes=(f"Units {units} are shown as they are.",))


def _choose_gml_scale(suv_type: str) -> Scale:
    if suv_type == "BW":
        return Scale(Unit.SUVBW)
    return Scale(Unit.ARBITRARY, notes=(f"SUV of type {suv_type}, not by body weight, is shown as it is.",))


def _rescale_plane(plane: Plane, stored: NDArray[np.integer], factor: float) -> NDArray[np.float32]:
    slope = 1.0 if plane.slope is None else plane.slope
    if slope == 0:
        raise UnitUnusable(f"RescaleSlope of {plane.name} is zero.", remedy="Ask the scanner's vendor why.")
    values = (stored.astype(np.float64) * slope + plane.intercept) * factor
    values[_find_padding(plane.ds, stored)] = 0
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise UnitUnusable(f"Values of {plane.name} leave the range of float32.", remedy="Check its RescaleSlope.")
    return values.astype(np.float32)


def _find_padding(ds: Dataset, stored: NDArray[np.integer]) -> NDArray[np.bool_]:
    padding = read_numbers(ds, "PixelPaddingValue", 1)
    if padding is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = read_numbers(ds, "PixelPaddingRangeLimit", 1) or padding
    low, high = min(padding[0], limit[0]), max(padding[0], limit[0])
    inside: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return inside
