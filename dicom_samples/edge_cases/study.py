"""An ordinary small study of the sample head, which the edge cases then spoil: MR, PET and SPECT on one coarse grid."""

import copy
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from scipy import ndimage

from dicom_samples.objects import build_mr, build_pet, build_spect
from dicom_samples.scanners import Scan
from fusionnode.domain.grid import Grid
from fusionnode.domain.uids import derive_uid

SAMPLES = Path(__file__).resolve().parent.parent
STRIDES = (4, 4, 4)

Files = dict[str, list[Dataset | bytes]]
"""What a case consists of: folder -> its objects, or the bytes of files that no data set can stand for."""
Builder = Callable[["Study"], Files]


@dataclass(frozen=True)
class Study:
    """The study of one case: its own patient, its own UIDs, one frame of reference for all series.

    The same name always gives the same data sets. Every call returns fresh ones, free to be spoiled.
    """

    name: str

    def mr(self, folder: str = "mr") -> list[Dataset]:
        """Return the T1 series: 12 slices of 40 x 32, 16 x 5.6 x 5.6 mm, feet to head."""
        return self._own(build_mr(_load_scans()["mr"]), folder)

    def pet(self, folder: str = "pt") -> list[Dataset]:
        """Return the FDG PET in Bq/ml, on the grid of the MR."""
        return self._own(build_pet(_load_scans()["pt"]), folder)

    def spect(self, folder: str = "nm") -> list[Dataset]:
        """Return the SPECT, one object, on the grid of the MR."""
        return self._own(build_spect(_load_scans()["nm"]), folder)

    def whole(self, name: str) -> list[Dataset]:
        """Return the committed series ``name`` (mr, pt or nm) in full, in a frame of reference and study of its own."""
        datasets = self._own(_read_committed(name), name)
        for ds in datasets:
            ds.StudyInstanceUID = self.uid(name, "study")
            ds.FrameOfReferenceUID = self.uid(name, "frame of reference")
        return datasets

    def uid(self, *parts: str) -> str:
        """Return the UID of something in this study."""
        return derive_uid("dicom_samples", "edge case", self.name, *parts)

    def rename(self, datasets: list[Dataset], folder: str) -> list[Dataset]:
        """Give data sets the UIDs of another series of this study."""
        for number, ds in enumerate(datasets, start=1):
            ds.SeriesInstanceUID = self.uid(folder)
            ds.SOPInstanceUID = self.uid(folder, str(number))
        return datasets

    def _own(self, datasets: list[Dataset], folder: str) -> list[Dataset]:
        for ds in datasets:
            ds.PatientID, ds.PatientName = f"FN-EDGE-{self.name.upper()}", "FUSIONNODE^EDGE"
            ds.StudyInstanceUID = self.uid("study")
            ds.FrameOfReferenceUID = self.uid("frame of reference")
        return self.rename(datasets, folder)


def copy_all(datasets: list[Dataset]) -> list[Dataset]:
    """Return data sets that share nothing with the given ones."""
    return copy.deepcopy(datasets)


def spoil_each(folder: str, change: Callable[[Dataset], None]) -> Builder:
    """Return the case in which ``change`` is done to every data set of ``folder`` (mr or pt)."""

    def build(study: Study) -> Files:
        series = {"mr": study.mr(), "pt": study.pet()}
        for ds in series[folder]:
            change(ds)
        return files(**series)

    return build


def files(**folders: list[Dataset]) -> Files:
    """Return the files of a case that consists of whole data sets."""
    return {name: list(datasets) for name, datasets in folders.items()}


@cache
def _load_scans() -> dict[str, Scan]:
    """The committed head on every fourth slice, row and column of the MR, all of it in the MR's space."""
    series = {name: _read_head(name) for name in ("mr", "pt", "nm")}
    grid = _thin(series["mr"].grid)
    truth = tomllib.loads((SAMPLES / "MANIFEST.toml").read_text(encoding="utf-8"))["truth"]
    # What `build_mr` stores is twice the signal.
    signal = series["mr"].voxels[:: STRIDES[0], :: STRIDES[1], :: STRIDES[2]] / 2
    return {
        "mr": Scan(signal, grid),
        "pt": Scan(_resample(series["pt"], grid, np.array(truth["pet"]["moving_from_fixed"])), grid),
        "nm": Scan(_resample(series["nm"], grid, np.array(truth["spect"]["moving_from_fixed"])), grid),
    }


def _read_committed(name: str) -> list[Dataset]:
    datasets: list[Dataset] = [dcmread(path) for path in sorted((SAMPLES / "head" / name).glob("*.dcm"))]
    for ds in datasets:
        # Written anew from the data set, which is about to get another UID.
        del ds.file_meta.MediaStorageSOPInstanceUID
    return datasets


def _read_head(name: str) -> Scan:
    """Read a committed series without the readers under test: its geometry is known to be plain."""
    datasets = _read_committed(name)
    head = datasets[0]
    place = head.DetectorInformationSequence[0] if name == "nm" else head
    frames = [ds.pixel_array.astype(np.float64) * float(ds.get("RescaleSlope", 1)) for ds in datasets]
    voxels = np.concatenate([frame.reshape(-1, head.Rows, head.Columns) for frame in frames])
    row, column = np.array(place.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    directions = np.column_stack([np.cross(row, column), column, row])
    spacing_mm = (float(head.SpacingBetweenSlices), float(head.PixelSpacing[0]), float(head.PixelSpacing[1]))
    origin_mm = np.array(place.ImagePositionPatient, dtype=np.float64)
    return Scan(voxels, Grid.from_axes(voxels.shape, origin_mm, directions, spacing_mm))


def _thin(grid: Grid) -> Grid:
    shape = tuple(-(-count // stride) for count, stride in zip(grid.shape, STRIDES, strict=True))
    spacing_mm = tuple(step * stride for step, stride in zip(grid.spacing_mm, STRIDES, strict=True))
    return Grid.from_axes(
        (shape[0], shape[1], shape[2]), grid.origin_mm, grid.directions, (spacing_mm[0], spacing_mm[1], spacing_mm[2])
    )


def _resample(moving: Scan, grid: Grid, moving_from_fixed: NDArray[np.float64]) -> NDArray[np.float64]:
    index_from_fixed = np.linalg.inv(moving.grid.patient_from_index) @ moving_from_fixed @ grid.patient_from_index
    index = np.indices(grid.shape, dtype=np.float64).reshape(3, -1)
    places = index_from_fixed[:3, :3] @ index + index_from_fixed[:3, 3:]
    values = ndimage.map_coordinates(moving.voxels, places, order=1)
    return np.asarray(values, dtype=np.float64).reshape(grid.shape)
