"""Writes into a slice what it was made from: MRI slice, functional slices in reach, registration (middle)."""

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.uid import SpatialRegistrationStorage

from fusionnode.capture.inherit import read_text
from fusionnode.capture.place import SlicePlace
from fusionnode.capture.references import (
    InstanceReference,
    ReachableInstance,
    add_common_references,
    list_references,
    make_source_image,
    make_source_registration,
    measure_reach,
)
from fusionnode.capture.request import CaptureRequest
from fusionnode.pipeline.schema import OutputGrid


@dataclass(frozen=True)
class SliceSources:
    """What one slice was made from: MRI images, the nearest first, and functional images."""

    fixed: list[InstanceReference]
    moving: list[InstanceReference]


@dataclass(frozen=True)
class SourceReach:
    """How far the images of both series reach along the normal of the grid.

    Attributes:
        fixed: empty on the MRI's own grid, where a slice is made from one image alone.
    """

    fixed: list[ReachableInstance]
    moving: list[ReachableInstance]

    def find(self, request: CaptureRequest, place: SlicePlace) -> SliceSources:
        """Return what reaches the slice at ``place``."""
        nearest = list_references(request, [request.prepared.fixed_sources[place.index]])
        first = nearest[0].sop_instance_uid
        others = [one for one in _list_near(self.fixed, place) if one.sop_instance_uid != first]
        return SliceSources([*nearest, *others], _list_near(self.moving, place))


def measure_sources(request: CaptureRequest) -> SourceReach:
    """Return the reach of all images of both series on the grid of the request."""
    prepared = request.prepared
    moving = measure_reach(request, prepared.moving_sources, prepared.estimate.motion.fixed_from_moving)
    if request.pipeline.output.grid is OutputGrid.MRI:
        return SourceReach([], moving)
    return SourceReach(measure_reach(request, prepared.fixed_sources, np.eye(4)), moving)


def list_source_images(request: CaptureRequest, sources: SliceSources) -> list[Dataset]:
    """Return the items of Source Image Sequence of a fused slice: MRI images first, then functional ones."""
    preserved = request.pipeline.output.grid is OutputGrid.MRI
    return [
        *(make_source_image(reference, locations_preserved=preserved) for reference in sources.fixed),
        *(make_source_image(reference, locations_preserved=False) for reference in sources.moving),
    ]


def refer_to_sources(ds: Dataset, request: CaptureRequest, sources: SliceSources) -> None:
    """Fill Source Image Sequence, Source Instance Sequence and the Common Instance Reference module of one slice."""
    ds.SourceImageSequence = list_source_images(request, sources)
    refer_to_registration(ds, request, [*sources.fixed, *sources.moving])


def refer_to_functional(ds: Dataset, request: CaptureRequest, sources: SliceSources) -> None:
    """Say that pixels come from the functional images alone, and their places from the MRI images.

    The MRI is a Referenced Image (PS3.3 C.7.6.1), no Source Image: none of its values is in the pixels.
    """
    ds.ReferencedImageSequence = [reference.make_item() for reference in sources.fixed]
    if sources.moving:
        ds.SourceImageSequence = [make_source_image(one, locations_preserved=False) for one in sources.moving]
    refer_to_registration(ds, request, [*sources.fixed, *sources.moving])


def refer_to_registration(ds: Dataset, request: CaptureRequest, images: list[InstanceReference]) -> None:
    """Fill Source Instance Sequence where there is a registration, and list it with ``images`` by series."""
    registrations = list_registrations(request)
    if registrations:
        ds.SourceInstanceSequence = [make_source_registration(registrations[0])]
    add_common_references(ds, [*images, *registrations])


def list_registrations(request: CaptureRequest) -> list[InstanceReference]:
    """Return the registration object of the job; nothing where both series share a frame of reference."""
    if not request.frames_differ:
        return []
    identity = request.identity
    study = read_text(request.head, "StudyInstanceUID")
    return [
        InstanceReference(
            SpatialRegistrationStorage, identity.registration_uid, identity.registration_series_uid, study
        )
    ]


def _list_near(instances: list[ReachableInstance], place: SlicePlace) -> list[InstanceReference]:
    return [near.reference for near in instances if near.low_mm <= place.height_mm <= near.high_mm]
