"""The functional series on the grid of the MRI: which kind of object it becomes (middle; docs/adr/0010)."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from fusionnode.capture.functional import find_functional
from fusionnode.capture.pet_facts import FindHeader, PetUndescribed
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.resampled_nm import build_resampled_nm
from fusionnode.capture.resampled_pet import build_resampled_pet, gather_pet
from fusionnode.domain.images import PreparedPair
from fusionnode.domain.volume import SourceFrame

NOT_WRITTEN = "No resampled series was written"
"""How the sentence begins that says why not."""


def explain_absence(find_header: FindHeader, sources: Sequence[SourceFrame]) -> str:
    """Return in a sentence why no resampled series can be made of the volume of ``sources``; empty where one can."""
    if find_header(sources[0]).SOPClassUID == NuclearMedicineImageStorage:
        return ""
    try:
        gather_pet(find_header, sources)
    except PetUndescribed as gap:
        return f"{NOT_WRITTEN}: {gap}."
    return ""


def find_absence(prepared: PreparedPair) -> str:
    """Return the note of `explain_absence` that ``prepared`` carries; empty where it carries none."""
    return next((note for note in prepared.notes if note.startswith(NOT_WRITTEN)), "")


def build_resampled(request: CaptureRequest) -> list[Dataset]:
    """Return the functional series on the grid of the MRI: PET as one image per slice, SPECT as one of many frames.

    Raises:
        CaptureInvalid: the MRI identifies its patient or study in a way that cannot be carried over.
    """
    functional, _ = find_functional(request)
    if functional.SOPClassUID == NuclearMedicineImageStorage:
        return [build_resampled_nm(request)]
    return build_resampled_pet(request)
