"""Reads the planes of an Enhanced MR object from its functional groups (middle)."""

from pydicom import Dataset

from fusionnode.errors import DatasetUnreadable
from fusionnode.volumes.planes import Plane, count_frames, find_source, make_plane

# Functional group macro -> attributes it holds that place or scale a frame (PS3.3 C.7.6.16.2).
_PLACING = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}
# The same for those that tell one volume of the object from another.
_TELLING = {
    "FrameContentSequence": ("StackID", "TemporalPositionIndex"),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "MRImageFrameTypeSequence": ("FrameType", "ComplexImageComponent"),
}


def read_enhanced_planes(ds: Dataset) -> list[Plane]:
    """Return one plane per frame, in frame order.

    Raises:
        DatasetUnreadable: the number of functional groups differs from the number of frames.
        GeometryIrregular: position, orientation or spacing of a frame is missing.
    """
    per_frame = ds.get("PerFrameFunctionalGroupsSequence") or []
    frames = count_frames(ds)
    if len(per_frame) != frames:
        raise DatasetUnreadable(
            f"An enhanced object has {frames} frames but {len(per_frame)} functional groups.",
            remedy="Ask the sender.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
    shared = (ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return [_read_frame(ds, (groups, shared), number) for number, groups in enumerate(per_frame, start=1)]


def _read_frame(ds: Dataset, groups: tuple[Dataset, Dataset], number: int) -> Plane:
    place = _gather(groups, _PLACING)
    traits = {element.keyword: str(element.value) for element in _gather(groups, _TELLING)}
    return make_plane(ds, place, find_source(ds, number), traits)


def _gather(groups: tuple[Dataset, Dataset], wanted: dict[str, tuple[str, ...]]) -> Dataset:
    """Collect attributes, each from the frame's own group or, failing that, from the shared one."""
    gathered = Dataset()
    for macro, keywords in wanted.items():
        items = groups[0].get(macro) or groups[1].get(macro) or []
        for keyword in keywords:
            if items and keyword in items[0]:
                gathered[keyword] = items[0][keyword]
    return gathered
