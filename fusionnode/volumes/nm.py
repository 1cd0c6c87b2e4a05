"""Reads the planes of a reconstructed SPECT (NM RECON TOMO) object (middle)."""

from collections.abc import Sequence

import numpy as np
from pydicom import Dataset

from fusionnode.errors import GeometryIrregular, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.planes import Plane, count_frames, demand_geometry, demand_spacing_mm, find_source, read_numbers

# Vectors that a reconstructed volume may carry, but only with one value in them (PS3.3 C.8.4.8).
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

    Slice s lies (s - 1) Spacing Between Slices along the normal from Image Position (Patient) of the first
    detector; a negative spacing stacks against the normal (PS3.3 C.8.4.11, C.8.4.15).

    Raises:
        SeriesUnsupported: it is planar, dynamic, gated or an unreconstructed acquisition.
        SeriesMixed: the frames belong to several energy windows, detectors or time slots.
        GeometryIrregular: geometry is missing or contradicts itself.
    """
    _refuse_unreconstructed(ds)
    _refuse_several_volumes(ds)
    detector = _find_detector(ds)
    orientation = demand_geometry(detector, "ImageOrientationPatient", 6)
    first_mm = np.asarray(demand_geometry(detector, "ImagePositionPatient", 3), dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    step_mm = _read_step_mm(ds)
    slope, intercept = read_numbers(ds, "RescaleSlope", 1), read_numbers(ds, "RescaleIntercept", 1)
    return [
        Plane(
            ds=ds,
            source=find_source(ds, frame),
            position_mm=first_mm + normal * (step_mm * (number - 1)),
            orientation=orientation,
            spacing_mm=demand_spacing_mm(ds),
            slope=slope[0] if slope else None,
            intercept=intercept[0] if intercept else 0.0,
        )
        for frame, number in enumerate(_read_slice_numbers(ds), start=1)
    ]


def _refuse_unreconstructed(ds: Dataset) -> None:
    image_type = [str(word).upper() for word in ds.get("ImageType") or []]
    kind = image_type[2] if len(image_type) > 2 else "unstated"
    if kind != "RECON TOMO":
        raise SeriesUnsupported(
            f"An NM object of type {kind} is no reconstructed volume.",
            remedy="Send the RECON TOMO series of this examination.",
            sop_instance_uid=str(ds.SOPInstanceUID),
            image_type=kind,
        )


def _refuse_several_volumes(ds: Dataset) -> None:
    for keyword in _OTHER_VECTORS:
        values = _list_integers(ds, keyword)
        if len(set(values)) > 1:
            raise SeriesMixed(
                f"The frames differ in {keyword}, so the object holds several volumes.",
                remedy="Send one reconstruction per series.",
                sop_instance_uid=str(ds.SOPInstanceUID),
                differing=(keyword,),
            )


def _find_detector(ds: Dataset) -> Dataset:
    items: Sequence[Dataset] = ds.get("DetectorInformationSequence") or []
    if not items:
        raise GeometryIrregular(
            "DetectorInformationSequence is missing or empty, so nothing says how the slices lie in the patient.",
            remedy="Send a reconstruction with patient geometry.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
    return items[0]


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
    numbers = _list_integers(ds, "SliceVector")
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


def _list_integers(ds: Dataset, keyword: str) -> list[int]:
    value = ds.get(keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, int) else [int(item) for item in value]
