"""The data sets of one series become one volume (middle)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from fusionnode.domain.series import holds_image
from fusionnode.domain.volume import Volume
from fusionnode.errors import DatasetUnreadable, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.candidates import choose_planes
from fusionnode.volumes.enhanced import read_enhanced_pet_planes, read_enhanced_planes
from fusionnode.volumes.nm import read_nm_planes
from fusionnode.volumes.order import derive_grid, order_planes
from fusionnode.volumes.planes import Plane, count_frames, read_plane
from fusionnode.volumes.rescale import choose_scale, rescale_planes
from fusionnode.volumes.values import read_numbers, read_text, read_value

_READERS: dict[str, Callable[[Dataset], list[Plane]]] = {
    MRImageStorage: lambda ds: [read_plane(ds)],
    PositronEmissionTomographyImageStorage: lambda ds: [read_plane(ds)],
    NuclearMedicineImageStorage: read_nm_planes,
    EnhancedMRImageStorage: read_enhanced_planes,
    LegacyConvertedEnhancedMRImageStorage: read_enhanced_planes,
    EnhancedPETImageStorage: read_enhanced_pet_planes,
}
_MODALITIES = {
    MRImageStorage: "MR",
    EnhancedMRImageStorage: "MR",
    LegacyConvertedEnhancedMRImageStorage: "MR",
    PositronEmissionTomographyImageStorage: "PT",
    EnhancedPETImageStorage: "PT",
    NuclearMedicineImageStorage: "NM",
}
_ENHANCED = {
    MRImageStorage: (EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage),
    PositronEmissionTomographyImageStorage: (EnhancedPETImageStorage,),
}
_NAMES = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality")
_EXTENTS = ("Rows", "Columns")


def assemble_volume(series: Iterable[Dataset]) -> Volume:
    """Return the volume that the data sets of one series hold, whatever order they come in.

    What holds no picture, such as raw data under the series UID of its images, is left alone.
    Slices are ordered along row direction x column direction; voxels are float32 in the stated unit; the grid is
    in LPS mm, float64. PET in Bq/ml becomes SUVbw where the headers allow it, and a note says why where they
    do not. Where one series holds several volumes, `choose_planes` says which one is meant, and a note tells of the
    others. Sources are those of the chosen volume alone.

    Raises:
        DatasetUnreadable: an attribute is missing or no number, or the pixels cannot be decoded.
        SeriesUnsupported: this kind of series cannot become a volume.
        SeriesMixed: it holds several volumes and no rule chooses one.
        GeometryIrregular: its slices do not form a grid.
        UnitUnusable: its values mean nothing.
    """
    everything = list(series)
    if not everything:
        raise SeriesUnsupported("A series without instances is no volume.", remedy="Send the series.", slices=0)
    images = [ds for ds in everything if holds_image(read_text(ds, "SOPClassUID"))]
    # Where nothing is an image, the refusal shall name what is there.
    datasets: Sequence[Dataset] = images or everything
    _require(datasets, _NAMES, read_text)
    datasets, copies = _leave_out_copies(datasets)
    reader = _choose_reader(datasets)
    # Only now: what is no image has no extent either, and should be refused as what it is.
    _require_extents(datasets)
    planes = [plane for ds in datasets for plane in reader(ds)]
    if not planes:
        raise DatasetUnreadable("The series holds no frame.", remedy="Ask the sender.", absent=("NumberOfFrames",))
    choice = choose_planes(planes)
    ordered = order_planes(choice.planes)
    scale = choose_scale(ordered)
    head = ordered[0].ds
    return Volume(
        voxels=rescale_planes(ordered, scale),
        grid=derive_grid(ordered),
        unit=scale.unit,
        frame_of_reference_uid=read_text(head, "FrameOfReferenceUID"),
        series_instance_uid=str(head.SeriesInstanceUID),
        sources=tuple(plane.source for plane in ordered),
        notes=tuple(note for note in (copies, choice.note, *scale.notes) if note),
        scale=scale.factor,
    )


def _require_extents(datasets: Sequence[Dataset]) -> None:
    _require(datasets, _EXTENTS, read_value)
    for ds in datasets:
        for keyword in _EXTENTS:
            read_numbers(ds, keyword, 1)


def _require(datasets: Sequence[Dataset], demanded: Sequence[str], read: Callable[[Dataset, str], Any]) -> None:
    for ds in datasets:
        absent = [keyword for keyword in demanded if read(ds, keyword) in (None, "")]
        if absent:
            raise DatasetUnreadable(
                f"Instance {ds.get('SOPInstanceUID', '')} lacks {', '.join(absent)}.",
                remedy="Ask the sender.",
                absent=tuple(absent),
            )


def _leave_out_copies(datasets: Sequence[Dataset]) -> tuple[Sequence[Dataset], str]:
    """Leave out the classic copies of an enhanced object, as some PACS keep both under one series UID.

    Only where there are as many of them as the object has frames: else they are something else, and mixed.
    """
    kinds = {str(ds.SOPClassUID) for ds in datasets}
    for classic, enhanced in _ENHANCED.items():
        if len(kinds) == 2 and classic in kinds and kinds & set(enhanced):
            objects = [ds for ds in datasets if ds.SOPClassUID != classic]
            copies = len(datasets) - len(objects)
            if len(objects) == 1 and count_frames(objects[0]) == copies:
                return objects, f"The series holds {copies} classic copies beside the enhanced object, which is shown."
    return datasets, ""


def _choose_reader(datasets: Sequence[Dataset]) -> Callable[[Dataset], list[Plane]]:
    kinds = sorted({str(ds.SOPClassUID) for ds in datasets})
    if len(kinds) > 1:
        raise SeriesMixed(
            f"The series holds several kinds of objects: {', '.join(UID(kind).name for kind in kinds)}.",
            remedy="Send classic or enhanced objects under one series UID, not both.",
            differing=("SOPClassUID",),
        )
    reader = _find_reader(datasets[0])
    if kinds[0] == NuclearMedicineImageStorage and len(datasets) > 1:
        raise SeriesMixed(
            f"The series holds {len(datasets)} reconstructions.",
            remedy="Send one NM reconstruction per series.",
            differing=("SOPInstanceUID",),
        )
    return reader


def _find_reader(ds: Dataset) -> Callable[[Dataset], list[Plane]]:
    kind = UID(str(ds.SOPClassUID))
    if kind == LegacyConvertedEnhancedPETImageStorage:
        raise SeriesUnsupported(
            "PET that was converted to a legacy enhanced object is not read: too much of what SUV needs is unassigned.",
            remedy="Send the classic PET series.",
            sop_class_uid=str(kind),
        )
    if kind not in _READERS or _MODALITIES[kind] != ds.Modality:
        raise SeriesUnsupported(
            f"{kind.name} with modality {ds.Modality} is no MR, PET or SPECT image.",
            remedy="Exclude it in the pipeline.",
            sop_class_uid=str(kind),
        )
    return _READERS[kind]
