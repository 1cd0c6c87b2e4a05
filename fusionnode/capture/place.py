"""Where a picture lies: the attributes of Frame of Reference and Image Plane, from the grid of the MRI (middle)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from fusionnode.capture.inherit import copy_valid, read_text
from fusionnode.capture.references import find_normal
from fusionnode.capture.request import CaptureRequest
from fusionnode.pipeline.schema import OutputGrid

_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_OBLIQUE = 0.1  # a direction cosine below this does not earn a letter (about 6 degrees)


@dataclass(frozen=True)
class SlicePlace:
    """One slice of the grid: its index from 0, its number from 1 along the normal, and its height along it in mm."""

    index: int
    number: int
    height_mm: float


def list_slices(request: CaptureRequest) -> list[SlicePlace]:
    """Return the slices of the grid in their own order; their numbers count along the normal of the MRI slices."""
    grid, normal = request.prepared.grid, find_normal(request)
    heights = [float(np.asarray(grid.slice_position_mm(index)) @ normal) for index in range(grid.shape[0])]
    numbers = np.argsort(np.argsort(heights)) + 1
    return [SlicePlace(index, int(numbers[index]), height) for index, height in enumerate(heights)]


def place_series(ds: Dataset, request: CaptureRequest) -> None:
    """Fill the Frame of Reference and Image Plane modules (PS3.3 C.7.4.1, C.7.6.2), without the position."""
    prepared = request.prepared
    ds.FrameOfReferenceUID = prepared.frame_of_reference_uid
    if not copy_valid(ds, request.head, "PositionReferenceIndicator"):
        ds.PositionReferenceIndicator = ""
    ds.ImageOrientationPatient = write_numbers(prepared.grid.orientation(), 10)
    ds.PatientOrientation = list(find_patient_orientation(request))
    slices, rows, columns = prepared.grid.spacing_mm
    ds.PixelSpacing = write_numbers((rows, columns), 9)
    ds.SpacingBetweenSlices = write_numbers((slices,), 9)[0]
    ds.SliceThickness = write_numbers((find_slice_thickness_mm(request),), 9)[0]


def find_slice_thickness_mm(request: CaptureRequest) -> float:
    """As the MRI states it, at the top level or for all frames together; else the distance between slices.

    That is also the thickness of a slice that was cut anew through the voxels of the MRI.
    """
    if request.pipeline.output.grid is not OutputGrid.MRI:
        return request.prepared.grid.spacing_mm[0]
    places = [request.head]
    for shared in request.head.get("SharedFunctionalGroupsSequence") or []:
        places.extend(shared.get("PixelMeasuresSequence") or [])
    for place in places:
        text = read_text(place, "SliceThickness")
        try:
            thickness_mm = float(text)
        except ValueError:
            continue
        if np.isfinite(thickness_mm) and thickness_mm > 0:
            return thickness_mm
    return request.prepared.grid.spacing_mm[0]


def find_patient_orientation(request: CaptureRequest) -> tuple[str, str]:
    """Letters of the row and of the column direction, the most important first (PS3.3 C.7.6.1.1.1)."""
    orientation = request.prepared.grid.orientation()
    return _spell_direction(orientation[:3]), _spell_direction(orientation[3:])


def _spell_direction(direction: tuple[float, float, float]) -> str:
    order = sorted(range(3), key=lambda axis: -abs(direction[axis]))
    letters = (_LETTERS[axis][0 if direction[axis] > 0 else 1] for axis in order if abs(direction[axis]) > _OBLIQUE)
    return "".join(letters)


def write_numbers(values: Sequence[float], decimals: int) -> list[str]:
    """DS texts of at most 16 characters; adding zero turns -0.0 into 0.0."""
    return [format_number_as_ds(round(float(value), decimals) + 0.0) for value in values]
