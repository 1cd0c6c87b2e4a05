"""What the functional groups of an enhanced object say of one of its frames (middle; PS3.3 C.7.6.16)."""

from pydicom import Dataset
from pydicom.uid import EnhancedPETImageStorage

from fusionnode.capture.inherit import read_text

_UNITS = ("BQML", "GML", "CNTS", "PROPCPS")
"""Rescale Types by which the values of PET are read; of others the real world value mapping counts."""


def list_group_items(header: Dataset, frame_number: int | None, macro: str) -> list[Dataset]:
    """Return the items of a functional group sequence that hold for a frame (from 1): its own, then the shared ones.

    Nothing where ``header`` has no functional groups, as of classic images.
    """
    own = list(header.get("PerFrameFunctionalGroupsSequence") or [])
    own = own[frame_number - 1 : frame_number] if frame_number is not None else []
    groups = [*own, *(header.get("SharedFunctionalGroupsSequence") or [])]
    return [item for group in groups for item in group.get(macro) or []]


def read_group_text(header: Dataset, frame_number: int | None, macro: str, keyword: str) -> str:
    """Return the first value of an attribute of a functional group, as text; empty where no item has one."""
    texts = (read_text(item, keyword) for item in list_group_items(header, frame_number, macro))
    return next((text for text in texts if text), "")


def find_mapping(header: Dataset, frame_number: int | None) -> Dataset | None:
    """Return the real world value mapping by which a frame of enhanced PET was read: its first linear one.

    None where the frame's Rescale Type names its unit, where there is no such mapping, and of all other objects.
    """
    if header.get("SOPClassUID") != EnhancedPETImageStorage:
        return None
    if read_group_text(header, frame_number, "PixelValueTransformationSequence", "RescaleType").upper() in _UNITS:
        return None
    for mapping in list_group_items(header, frame_number, "RealWorldValueMappingSequence"):
        if read_text(mapping, "RealWorldValueSlope") and read_text(mapping, "RealWorldValueIntercept"):
            return mapping
    return None
