"""Reads the planes of a reconstructed SPECT (NM RECON TOMO) object (middle)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from fusionnode.errors import GeometryIrregular, SeriesUnsupported
from fusionnode.volumes.planes import Plane, count_frames, demand_geometry, demand_spacing_mm, find_source
from fusionnode.volumes.values import read_integers, read_items, read_numbers, spell_value

# Vectors beside Slice Vector (PS3.3 C.8.4.8): frames that differ in one of them belong to different volumes.
_OTHER_VECTORS = (
    "EnergyWindowVector",
    "DetectorVector",
    "PhaseVector",
    "RotationVector",
    "RRIntervalVector",
    "TimeSlotVector",
    "AngularViewVector",
    "TimeSliceVector",
)


def read_nm_planes(ds: Dataset) -> list[Plane]:
    """Return one plane per frame, in frame order.

    Slice s lies (s - 1) Spacing Between Slices along the normal from Image Position (Patient) of the frame's
    detector; a negative spacing stacks against the normal (PS3.3 C.8.4.11, C.8.4.15). The traits of a plane are its
    energy window, detector, phase, time slot and so on, where the object tells frames apart by them.

    Raises:
        SeriesUnsupported: it is planar, dynamic, gated or an unreconstructed acquisition.
        GeometryIrregular: geometry is missing or contradicts itself.
    """
    _refuse_unreconstructed(ds)
    numbers = _read_slice_numbers(ds)
    vectors = _read_other_vectors(ds, len(numbers))
    normals, firsts_mm, orientations = _place_frames(ds, len(numbers))
    step_mm, spacing_mm = _read_step_mm(ds), demand_spacing_mm(ds)
    slope, intercept = read_numbers(ds, "RescaleSlope", 1), read_numbers(ds, "RescaleIntercept", 1)
    return [
        Plane(
            ds=ds,
            source=find_source(ds, index + 1),
            position_mm=firsts_mm[index] + normals[index] * (step_mm * (number - 1)),
            orientation=orientations[index],
            spacing_mm=spacing_mm,
            slope=slope[0] if slope else None,
            intercept=intercept[0] if intercept else 0.0,
            traits={keyword: _name_value(ds, keyword, values[index]) for keyword, values in vectors.items()},
        )
        for index, number in enumerate(numbers)
    ]


def _refuse_unreconstructed(ds: Dataset) -> None:
    image_type = spell_value(ds, "ImageType").upper().split("\\")
    kind = image_type[2] if len(image_type) > 2 else "unstated"
    if kind != "RECON TOMO":
        raise SeriesUnsupported(
            f"An NM object of type {kind} is no reconstructed volume.",
            remedy="Send the RECON TOMO series of this examination.",
            sop_instance_uid=str(ds.SOPInstanceUID),
            image_type=kind,
        )


def _read_other_vectors(ds: Dataset, frames: int) -> dict[str, list[int]]:
    """Return the vectors that tell the frames apart, one number per frame."""
    vectors = {keyword: read_integers(ds, keyword) for keyword in _OTHER_VECTORS}
    telling = {keyword: values for keyword, values in vectors.items() if len(set(values)) > 1}
    for keyword, values in telling.items():
        if len(values) != frames:
            raise GeometryIrregular(
                f"{keyword} has {len(values)} values for {frames} frames.",
                remedy="Ask the workstation's vendor why.",
                sop_instance_uid=str(ds.SOPInstanceUID),
            )
    return telling


def _name_value(ds: Dataset, keyword: str, number: int) -> str:
    if keyword != "EnergyWindowVector":
        return str(number)
    windows = read_items(ds, "EnergyWindowInformationSequence")
    name = spell_value(windows[number - 1], "EnergyWindowName") if 0 < number <= len(windows) else ""
    return f"{number} ({name})" if name else str(number)


def _list_detectors(ds: Dataset) -> Sequence[Dataset]:
    items = read_items(ds, "DetectorInformationSequence")
    if not items:
        raise GeometryIrregular(
            "DetectorInformationSequence is missing or empty, so nothing says how the slices lie in the patient.",
            remedy="Send a reconstruction with patient geometry.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
    return items


_Points = list[NDArray[np.float64]]


def _place_frames(ds: Dataset, frames: int) -> tuple[_Points, _Points, list[tuple[float, ...]]]:
    """Return normal, Image Position of the first slice (LPS mm) and orientation of each frame, by its detector."""
    items = _list_detectors(ds)
    numbers = read_integers(ds, "DetectorVector")
    if len(numbers) != frames or len(items) == 1:  # a reconstruction from several heads may describe one place for all
        numbers = [1] * frames
    if min(numbers) < 1 or max(numbers) > len(items):
        raise GeometryIrregular(
            f"DetectorVector names detector {max(numbers)}, but only {len(items)} are described.",
            remedy="Ask the workstation's vendor why.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
    orientation = {n: demand_geometry(items[n - 1], "ImageOrientationPatient", 6) for n in sorted(set(numbers))}
    first_mm = {n: np.asarray(demand_geometry(items[n - 1], "ImagePositionPatient", 3)) for n in orientation}
    normal = {n: np.cross(cosines[:3], cosines[3:]).astype(np.float64) for n, cosines in orientation.items()}
    return [normal[n] for n in numbers], [first_mm[n] for n in numbers], [orientation[n] for n in numbers]


def _read_step_mm(ds: Dataset) -> float:
    step = read_numbers(ds, "SpacingBetweenSlices", 1)
    if step is None or step[0] == 0:
        raise GeometryIrregular(
            "SpacingBetweenSlices is missing or zero, so neither distance nor direction of the slices is known.",
            remedy="Send a reconstruction with patient geometry.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
    return step[0]


def _read_slice_numbers(ds: Dataset) -> list[int]:
    numbers = read_integers(ds, "SliceVector")
    frames = count_frames(ds)
    if len(numbers) != frames or numbers[:1] != [1]:
        # Image Position is that of the first voxel transmitted and of the first slice; only where both agree
        # is there one answer.
        raise GeometryIrregular(
            f"SliceVector names {len(numbers)} slices for {frames} frames, or does not begin with slice 1.",
            remedy="Ask the workstation's vendor why.",
            sop_instance_uid=str(ds.SOPInstanceUID),
            slice_vector=tuple(numbers),
        )
    return numbers
