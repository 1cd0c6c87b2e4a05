"""Cases in which the slices lie oddly: missing, doubled, tilted, uneven, turned round (pure)."""

from collections.abc import Callable

import numpy as np
from pydicom import Dataset

from dicom_samples.edge_cases.study import Builder, Files, Study, copy_all, files, spoil_each


def _spoil_mr(spoil: Callable[[list[Dataset]], list[Dataset]]) -> Builder:
    return lambda study: files(mr=spoil(study.mr()), pt=study.pet())


def _move(ds: Dataset, offset_mm: tuple[float, float, float]) -> Dataset:
    place = np.array(ds.ImagePositionPatient, dtype=np.float64) + offset_mm
    ds.ImagePositionPatient = [f"{value:.6g}" for value in place]
    return ds


def _tilt(datasets: list[Dataset]) -> list[Dataset]:
    """Each slice 3 mm further back than the one below, as a tilted gantry leaves them: 10.6 degrees."""
    return [_move(ds, (0.0, 3.0 * index, 0.0)) for index, ds in enumerate(datasets)]


def _unsettle(datasets: list[Dataset]) -> list[Dataset]:
    """Steps of 20, 13 and 15 mm in turn instead of 16."""
    return [_move(ds, (0.0, 0.0, (0.0, 4.0, 1.0)[index % 3])) for index, ds in enumerate(datasets)]


def _double(study: Study) -> Files:
    """Slice 8 once more under another UID."""
    datasets = study.mr()
    again = copy_all(datasets[7:8])
    again[0].SOPInstanceUID = study.uid("mr", "again")
    again[0].InstanceNumber = len(datasets) + 1
    return files(mr=[*datasets, *again], pt=study.pet())


def _repeat_file(study: Study) -> Files:
    datasets = study.mr()
    return files(mr=[*datasets, *copy_all(datasets[7:8])], pt=study.pet())


def _contradict(study: Study) -> Files:
    """Slice 8 once more under its own UID with other pixels."""
    datasets = study.mr()
    other = copy_all(datasets[7:8])
    other[0].PixelData = bytes(len(other[0].PixelData))
    return files(mr=[*datasets, *other], pt=study.pet())


def _renumber(datasets: list[Dataset]) -> list[Dataset]:
    """From the head to the feet: files and instance numbers run against the positions."""
    backwards = datasets[::-1]
    for number, ds in enumerate(backwards, start=1):
        ds.InstanceNumber = number
    return backwards


def _mirror_rows(datasets: list[Dataset]) -> list[Dataset]:
    """The same voxels stored from the patient's left to the right: row x column points to the feet."""
    for ds in datasets:
        width_mm = float(ds.PixelSpacing[1]) * (ds.Columns - 1)
        pixels = np.frombuffer(ds.PixelData, dtype="<u2").reshape(ds.Rows, ds.Columns)
        ds.PixelData = np.ascontiguousarray(pixels[:, ::-1]).tobytes()
        ds.ImageOrientationPatient = ["-1", "0", "0", "0", "1", "0"]
        _move(ds, (width_mm, 0.0, 0.0))
    return datasets


def _forget(keyword: str) -> Callable[[Dataset], None]:
    return lambda ds: delattr(ds, keyword)


def _flatten(ds: Dataset) -> None:
    ds.PixelSpacing = ["0", "0"]


def _part(study: Study) -> Files:
    """A PET of the same frame of reference, 400 mm away."""
    moved = [_move(ds, (0.0, 0.0, -400.0)) for ds in study.pet()]
    return files(mr=study.mr(), pt=moved)


def _overstate(study: Study) -> Files:
    """The last slice of the PET is missing; only the count tag tells."""
    return files(mr=study.mr(), pt=study.pet()[:-1])


CASES: dict[str, Builder] = {
    "plain": _spoil_mr(lambda datasets: datasets),
    "slice-missing-mr": _spoil_mr(lambda datasets: datasets[:7] + datasets[8:]),
    "slice-missing-pet": lambda study: files(mr=study.mr(), pt=study.pet()[:7] + study.pet()[8:]),
    "last-slice-missing": _overstate,
    "slice-doubled": _double,
    "file-repeated": _repeat_file,
    "uid-reused": _contradict,
    "tilted": _spoil_mr(_tilt),
    "uneven": _spoil_mr(_unsettle),
    "reversed": _spoil_mr(_renumber),
    "mirrored-rows": _spoil_mr(_mirror_rows),
    "no-orientation": spoil_each("mr", _forget("ImageOrientationPatient")),
    "no-position": spoil_each("mr", _forget("ImagePositionPatient")),
    "no-pixel-spacing": spoil_each("mr", _forget("PixelSpacing")),
    "pixel-spacing-zero": spoil_each("mr", _flatten),
    "one-slice": _spoil_mr(lambda datasets: datasets[7:8]),
    "no-overlap": _part,
}
