"""The data sets of one series become one volume (middle)."""

from collections.abc import Callable, Sequence

from pydicom import Dataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from fusionnode.domain.volume import Volume
from fusionnode.errors import DatasetUnreadable, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.enhanced import read_enhanced_planes
from fusionnode.volumes.nm import read_nm_planes
from fusionnode.volumes.order import derive_grid, order_planes
from fusionnode.volumes.planes import Plane, read_numbers, read_plane
from fusionnode.volumes.rescale import choose_scale, rescale_planes

_READERS: dict[str, Callable[[Dataset], list[Plane]]] = {
    MRImageStorage: lambda ds: [read_plane(ds)],
    PositronEmissionTomographyImageStorage: lambda ds: [read_plane(ds)],
    NuclearMedicineImageStorage: read_nm_planes,
    EnhancedMRImageStorage: read_enhanced_planes,
}
_MODALITIES = {
    MRImageStorage: "MR",
    EnhancedMRImageStorage: "MR",
    PositronEmissionTomographyImageStorage: "PT",
    NuclearMedicineImageStorage: "NM",
}
_NAMES = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality")
_EXTENTS = ("Rows", "Columns")


def assemble_volume(datasets: Sequence[Dataset]) -> Volume:
    """Return the volume that the data sets of one series hold, whatever order they come in.

    Slices are ordered along row direction x column direction; voxels are float32 in the stated unit; the grid is
    in LPS mm, float64. PET in Bq/ml becomes SUVbw where the headers allow it, and a note says why where they
    do not.

    Raises:
        DatasetUnreadable: an attribute is missing or no number, or the pixels cannot be decoded.
        SeriesUnsupported: this kind of series cannot become a volume.
        SeriesMixed: it holds several volumes.
        GeometryIrregular: its slices do not form a grid.
        UnitUnusable: its values mean nothing.
    """
    if not datasets:
        raise SeriesUnsupported("A series without instances is no volume.", remedy="Send the series.", slices=0)
    _require(datasets, _NAMES)
    reader = _choose_reader(datasets)
    # Only now: what is no image has no extent either, and should be refused as what it is.
    _require_extents(datasets)
    ordered = order_planes([plane for ds in datasets for plane in reader(ds)])
    scale = choose_scale(ordered)
    head = ordered[0].ds
    return Volume(
        voxels=rescale_planes(ordered, scale),
        grid=derive_grid(ordered),
        unit=scale.unit,
        frame_of_reference_uid=str(head.get("FrameOfReferenceUID") or ""),
        series_instance_uid=str(head.SeriesInstanceUID),
        sources=tuple(plane.source for plane in ordered),
        notes=scale.notes,
    )


def _require_extents(datasets: Sequence[Dataset]) -> None:
    _require(datasets, _EXTENTS)
    for ds in datasets:
        for keyword in _EXTENTS:
            read_numbers(ds, keyword, 1)


def _require(datasets: Sequence[Dataset], demanded: Sequence[str]) -> None:
    for ds in datasets:
        absent = [keyword for keyword in demanded if ds.get(keyword) in (None, "")]
        if absent:
            raise DatasetUnreadable(
                f"Instance {ds.get('SOPInstanceUID', '')} lacks {', '.join(absent)}.",
                remedy="Ask the sender.",
                absent=tuple(absent),
            )


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
    kind = UID(ds.SOPClassUID)
    if kind == EnhancedPETImageStorage:
        raise SeriesUnsupported(
            "Enhanced multi-frame PET is not yet read.", remedy="Send the classic PET series.", sop_class_uid=str(kind)
        )
    if kind not in _READERS or _MODALITIES[kind] != ds.Modality:
        raise SeriesUnsupported(
            f"{kind.name} with modality {ds.Modality} is no MR, PET or SPECT image.",
            remedy="Exclude it in the pipeline.",
            sop_class_uid=str(kind),
        )
    return _READERS[kind]
