"""Reads the planes of enhanced multi-frame MR and PET objects from their functional groups (middle)."""

from collections.abc import Iterator, Mapping

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.valuerep import format_number_as_ds

from fusionnode.errors import DatasetUnreadable
from fusionnode.volumes.planes import Marks, Plane, count_frames, find_source, make_plane
from fusionnode.volumes.values import read_integers, read_items, read_numbers, read_value, spell_value

_Wanted = Mapping[str, tuple[str, ...]]

# Functional group macro -> attributes it holds that place or scale a frame (PS3.3 C.7.6.16.2).
_PLACING: _Wanted = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}
# The same for those that all frames of one volume have in common; what a conversion from classic objects could not
# assign keeps its classic names (PS3.3 C.7.6.16.2.25, C.7.6.16.2.26).
_CLASSIC = ("ImageType", "EchoTime", "EchoNumbers", "InversionTime", "TemporalPositionIdentifier", "DiffusionBValue")
_TRAITS: _Wanted = {
    "FrameContentSequence": ("StackID", "TemporalPositionIndex"),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRModifierSequence": ("InversionTimes",),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "MRImageFrameTypeSequence": ("FrameType", "ComplexImageComponent"),
    "PETFrameTypeSequence": ("FrameType",),
    "UnassignedPerFrameConvertedAttributesSequence": _CLASSIC,
    "UnassignedSharedConvertedAttributesSequence": _CLASSIC,
}
_MOMENTS: _Wanted = {
    "FrameContentSequence": ("FrameAcquisitionNumber",),
    "TemporalPositionSequence": ("TemporalPositionTimeOffset",),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime",),
    "UnassignedPerFrameConvertedAttributesSequence": ("TriggerTime", "FrameReferenceTime", "AcquisitionNumber"),
}
_SPATIAL_DIMENSIONS = frozenset({"InStackPositionNumber", "ImagePositionPatient", "StackID"})
# UCUM codes of PS3.16 CID 84 -> Units (PS3.3 C.8.9.1).
_UNITS = {"Bq/ml": "BQML", "g/ml{SUVbw}": "GML", "{counts}": "CNTS", "{propcounts}/s": "PROPCPS"}


def read_enhanced_planes(ds: Dataset) -> list[Plane]:
    """Return one plane per frame of an MR, in frame order, scaled by Pixel Value Transformation.

    Raises:
        DatasetUnreadable: the number of functional groups differs from the number of frames.
        GeometryIrregular: position, orientation or spacing of a frame is missing.
    """
    return [_read_frame(ds, groups, number) for number, groups in _list_groups(ds)]


def read_enhanced_pet_planes(ds: Dataset) -> list[Plane]:
    """Return one plane per frame of a PET, in frame order, in the unit its Rescale Type or real world mapping names.

    Raises:
        DatasetUnreadable: the number of functional groups differs from the number of frames.
        GeometryIrregular: position, orientation or spacing of a frame is missing.
    """
    return [_read_pet_frame(ds, groups, number) for number, groups in _list_groups(ds)]


_Groups = tuple[Dataset, Dataset]


def _list_groups(ds: Dataset) -> Iterator[tuple[int, _Groups]]:
    """Yield the number of each frame with its own functional groups and the shared ones."""
    per_frame = read_items(ds, "PerFrameFunctionalGroupsSequence")
    frames = count_frames(ds)
    if len(per_frame) != frames:
        raise DatasetUnreadable(
            f"An enhanced object has {frames} frames but {len(per_frame)} functional groups.",
            remedy="Ask the sender.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
    shared = _find_first(ds, "SharedFunctionalGroupsSequence")
    for number, groups in enumerate(per_frame, start=1):
        yield number, (groups, shared)


def _read_frame(ds: Dataset, groups: _Groups, number: int) -> Plane:
    place = _gather(groups, _PLACING)
    return make_plane(ds, place, find_source(ds, number), _read_marks(ds, groups, ""))


def _read_pet_frame(ds: Dataset, groups: _Groups, number: int) -> Plane:
    place = _gather(groups, _PLACING)
    units = spell_value(place, "RescaleType").upper()
    if units not in _UNITS.values():
        units = _map_to_real_world(place, groups)
    return make_plane(ds, place, find_source(ds, number), _read_marks(ds, groups, units))


def _map_to_real_world(place: Dataset, groups: _Groups) -> str:
    """Put the slope of the first linear real world mapping (PS3.3 C.7.6.16.2.11) into ``place``; return its unit."""
    own, shared = (read_items(group, "RealWorldValueMappingSequence") for group in groups)
    for mapping in own or shared:
        slope, intercept = (read_numbers(mapping, f"RealWorldValue{name}", 1) for name in ("Slope", "Intercept"))
        if slope and intercept:
            place.RescaleSlope, place.RescaleIntercept = (
                format_number_as_ds(number[0]) for number in (slope, intercept)
            )
            code = spell_value(_find_first(mapping, "MeasurementUnitsCodeSequence"), "CodeValue")
            return _UNITS.get(code, code)
    return ""


def _read_marks(ds: Dataset, groups: _Groups, units: str) -> Marks:
    traits, moments = (_gather(groups, wanted) for wanted in (_TRAITS, _MOMENTS))
    return Marks(_spell(traits), _spell(moments) | _read_dimensions(ds, groups[0]), units)


def _spell(gathered: Dataset) -> dict[str, str]:
    return {e.keyword: text for e in gathered if (text := spell_value(gathered, e.keyword))}


def _read_dimensions(ds: Dataset, frame: Dataset) -> dict[str, str]:
    """The frame's indices in the dimensions the object was organised by, other than those of space."""
    indices = read_integers(_find_first(frame, "FrameContentSequence"), "DimensionIndexValues")
    items = enumerate(read_items(ds, "DimensionIndexSequence"), start=1)
    names = [_name_dimension(item) or f"{number} of the object" for number, item in items]
    if len(names) != len(indices):
        return {}
    pairs = zip(names, indices, strict=True)
    return {f"dimension {name}": str(index) for name, index in pairs if name not in _SPATIAL_DIMENSIONS}


def _gather(groups: _Groups, wanted: _Wanted) -> Dataset:
    """Collect attributes, each from the frame's own group or, failing that, from the shared one."""
    gathered = Dataset()
    for macro, keywords in wanted.items():
        items = read_items(groups[0], macro) or read_items(groups[1], macro)
        for keyword in keywords:
            if items and read_value(items[0], keyword) is not None:
                gathered[keyword] = items[0][keyword]
    return gathered


def _find_first(ds: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence, an empty one where there is none."""
    items = read_items(ds, keyword)
    return items[0] if items else Dataset()


def _name_dimension(item: Dataset) -> str:
    pointer = read_value(item, "DimensionIndexPointer")
    return keyword_for_tag(pointer) if isinstance(pointer, int) else ""
