"""Which stored instances a fused object was made from, in the Standard's three ways of saying so (middle).

A fused slice names its MRI slice and those functional slices that linear interpolation can have reached. Naming
every slice of a whole-body PET in every fused slice would outweigh the pixels; naming none that matter is what the
Standard forbids. A multi-frame functional object, and one without a position, is always named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from fusionnode.capture.inherit import read_text
from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.grid import Affine
from fusionnode.domain.volume import SourceFrame

# CID 7013 has a term for deformable registrations alone; a rigid one needs a private term (PS3.16 section 8.2).
_SPATIAL_REGISTRATION = Code("RIGID_REG", "99FUSIONNODE", "Source Spatial Registration")


@dataclass(frozen=True)
class InstanceReference:
    """One instance worth naming: its class and UIDs, and its frames (from 1; empty means all of them)."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frames: tuple[int, ...] = ()

    def make_item(self) -> Dataset:
        """Return an Image SOP Instance Reference Macro item (PS3.3 table 10-3)."""
        item = Dataset()
        item.ReferencedSOPClassUID = self.sop_class_uid
        item.ReferencedSOPInstanceUID = self.sop_instance_uid
        if self.frames:
            item.ReferencedFrameNumber = list(self.frames) if len(self.frames) > 1 else self.frames[0]
        return item


@dataclass(frozen=True)
class ReachableInstance:
    """An instance and the stretch along the fixed normal (mm) on which it can have shaped a fused slice."""

    reference: InstanceReference
    low_mm: float = -np.inf
    high_mm: float = np.inf


def list_references(request: CaptureRequest, sources: Iterable[SourceFrame]) -> list[InstanceReference]:
    """Return one reference for each instance of ``sources``, in their order, its frames gathered."""
    frames: dict[str, list[int]] = {}
    classes: dict[str, SourceFrame] = {}
    for source in sources:
        numbers = frames.setdefault(source.sop_instance_uid, [])
        classes.setdefault(source.sop_instance_uid, source)
        if source.frame_number is not None:
            numbers.append(source.frame_number)
    return [_refer(request.header_of(classes[uid]), classes[uid], numbers) for uid, numbers in frames.items()]


def measure_reach(
    request: CaptureRequest, sources: Sequence[SourceFrame], fixed_from_source: Affine
) -> list[ReachableInstance]:
    """Return every instance of ``sources`` with its reach; the whole line where its header gives no position.

    ``fixed_from_source`` (4x4, LPS mm) carries the space of the sources to that of the grid.
    """
    references = list_references(request, sources)
    firsts = {source.sop_instance_uid: source for source in reversed(sources)}
    headers = [request.header_of(firsts[reference.sop_instance_uid]) for reference in references]
    corners = [_find_corners_mm(ds) for ds in headers]
    if len(references) < 2 or any(points is None for points in corners):
        return [ReachableInstance(reference) for reference in references]
    placed = np.stack([points for points in corners if points is not None])
    low, high = _project_reach(request, placed, fixed_from_source)
    return [ReachableInstance(*row) for row in zip(references, low.tolist(), high.tolist(), strict=True)]


def find_normal(request: CaptureRequest) -> NDArray[np.float64]:
    """Return the unit normal of the fixed slices, row direction cross column direction (LPS)."""
    orientation = np.asarray(request.prepared.grid.orientation())
    return np.cross(orientation[:3], orientation[3:]).astype(np.float64)


def find_middle_mm(ds: Dataset) -> NDArray[np.float64] | None:
    """Return the middle of a slice with its geometry at the top level, (3,) LPS mm; None where it is not given."""
    corners = _find_corners_mm(ds)
    return None if corners is None else corners.mean(axis=0)


def make_source_image(reference: InstanceReference, *, locations_preserved: bool) -> Dataset:
    """Return an item of Source Image Sequence (PS3.3 C.7.6.1.1.4); the functional voxels were resampled."""
    item = reference.make_item()
    item.SpatialLocationsPreserved = "YES" if locations_preserved else "NO"
    item.PurposeOfReferenceCodeSequence = [make_code(codes.DCM.SourceImageForImageProcessingOperation)]
    return item


def make_source_registration(reference: InstanceReference) -> Dataset:
    """Return an item of Source Instance Sequence (PS3.3 C.12.4): the registration the resampling followed."""
    item = reference.make_item()
    item.PurposeOfReferenceCodeSequence = [make_code(_SPATIAL_REGISTRATION)]
    return item


def add_common_references(ds: Dataset, references: Sequence[InstanceReference]) -> None:
    """Fill the Common Instance Reference module (PS3.3 C.12.2): by series here, by study and series elsewhere."""
    own = [reference for reference in references if reference.study_instance_uid == ds.StudyInstanceUID]
    others: dict[str, list[InstanceReference]] = {}
    for reference in references:
        if reference.study_instance_uid != ds.StudyInstanceUID:
            others.setdefault(reference.study_instance_uid, []).append(reference)
    if own:
        ds.ReferencedSeriesSequence = _group_by_series(own)
    if others:
        ds.StudiesContainingOtherReferencedInstancesSequence = [_make_study(*entry) for entry in others.items()]


def make_code(code: Code) -> Dataset:
    """Return an item of the Code Sequence Macro (PS3.3 table 8.8-1a)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _refer(header: Dataset, source: SourceFrame, numbers: Sequence[int]) -> InstanceReference:
    everything = read_text(header, "NumberOfFrames") == str(len(set(numbers)))
    return InstanceReference(
        source.sop_class_uid,
        source.sop_instance_uid,
        read_text(header, "SeriesInstanceUID"),
        read_text(header, "StudyInstanceUID"),
        () if everything else tuple(sorted(set(numbers))),
    )


def _find_corners_mm(ds: Dataset) -> NDArray[np.float64] | None:
    """The outermost four pixel centres of a classic slice, (4, 3) LPS mm."""
    position, orientation, spacing = (
        _read_numbers(ds, *wanted)
        for wanted in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    rows, columns = read_text(ds, "Rows"), read_text(ds, "Columns")
    if position is None or orientation is None or spacing is None or not (rows.isdigit() and columns.isdigit()):
        return None
    across = orientation[:3] * spacing[1] * (int(columns) - 1)
    down = orientation[3:] * spacing[0] * (int(rows) - 1)
    return np.stack([position, position + across, position + down, position + across + down])


def _read_numbers(ds: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    try:
        numbers = np.asarray(ds.get(keyword), dtype=np.float64)
    except (ValueError, TypeError):
        return None
    return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None


def _project_reach(
    request: CaptureRequest, corners: NDArray[np.float64], fixed_from_source: Affine
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project slices (n, 4 corners, 3), widened by their greatest gap on both sides, onto the fixed normal (mm)."""
    across, down = corners[0, 1] - corners[0, 0], corners[0, 2] - corners[0, 0]
    source_normal = np.cross(across, down)
    length = float(np.linalg.norm(source_normal))
    if length == 0:  # a single row or column has no plane
        return np.full(len(corners), -np.inf), np.full(len(corners), np.inf)
    source_normal /= length
    gap_mm = float(np.diff(np.sort(corners[:, 0] @ source_normal)).max())
    normal = find_normal(request)
    heights = (corners @ fixed_from_source[:3, :3].T + fixed_from_source[:3, 3]) @ normal
    margin = abs(float(fixed_from_source[:3, :3] @ source_normal @ normal)) * gap_mm
    return heights.min(axis=1) - margin, heights.max(axis=1) + margin


def _group_by_series(references: Sequence[InstanceReference]) -> list[Dataset]:
    series: dict[str, list[Dataset]] = {}
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        series.setdefault(reference.series_instance_uid, []).append(item)
    return [_make_series(*entry) for entry in series.items()]


def _make_series(series_instance_uid: str, instances: list[Dataset]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_instance_uid
    item.ReferencedInstanceSequence = instances
    return item


def _make_study(study_instance_uid: str, references: Sequence[InstanceReference]) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = study_instance_uid
    item.ReferencedSeriesSequence = _group_by_series(references)
    return item
