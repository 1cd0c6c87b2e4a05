"""What the functional groups of an enhanced object say of one of its frames (middle; PS3.3 C.7.6.16)."""

from pydicom import Dataset

from fusionnode.capture.inherit import read_text


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
