"""Edge: a series that arrives as files in a folder instead of over the network."""

import filecmp
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from fusionnode.errors import DatasetUnreadable, SeriesMixed
from fusionnode.intake.spool import hash_dataset
from fusionnode.volumes.bounds import require_bounded


def read_folder(folder: Path, *, pixels: bool = True) -> list[Dataset]:
    """Read the one series that lies in ``folder`` and below, in any order. Files that are no DICOM are left alone.

    Without ``pixels`` the data sets end before their Pixel Data, and `read_again` reads them whole.

    An instance whose file is there several times, byte for byte, is read once, as a node would take it; instances
    that share their UID and differ are all returned.

    Raises:
        DatasetUnreadable: there is no DICOM file, or a DICOM file is broken or larger than is ever needed.
        SeriesMixed: the folder holds more than one series.
    """
    if not folder.is_dir():
        raise DatasetUnreadable(f"{folder} is not a folder.", remedy="Name the folder that holds one series.")
    datasets = [ds for path in sorted(folder.rglob("*")) if path.is_file() and (ds := _read(path, pixels)) is not None]
    series = {str(ds.SeriesInstanceUID) for ds in datasets}
    if not datasets:
        raise DatasetUnreadable(f"{folder} holds no DICOM file.", remedy="Name the folder that holds one series.")
    if len(series) > 1:
        raise SeriesMixed(
            f"{folder} holds {len(series)} series.", remedy="Put each series into a folder of its own.", series=series
        )
    return _leave_out_repeats(datasets)


def read_again(datasets: Iterable[Dataset]) -> Iterator[Dataset]:
    """Yield what `read_folder` returned, whole, each read when it is asked for.

    Raises:
        DatasetUnreadable: a file is no longer what it was.
    """
    for known in datasets:
        path = Path(known.filename)
        ds = _read(path, pixels=True)
        if ds is None or ds.get("SOPInstanceUID") != known.get("SOPInstanceUID"):
            raise DatasetUnreadable(f"{path} changed while it was read.", remedy="Wait until the folder is complete.")
        yield ds


def _read(path: Path, pixels: bool) -> Dataset | None:
    try:
        with path.open("rb") as stream:
            require_bounded(stream, str(path))
        ds = pydicom.dcmread(path, stop_before_pixels=not pixels)
        # A value is converted, or cannot be, when it is first asked for.
        series, instance = ds.get("SeriesInstanceUID"), ds.get("SOPInstanceUID")
    except InvalidDicomError:
        return None
    except DatasetUnreadable:
        raise
    except Exception as error:
        # pydicom lets many kinds of error out of a broken file; to the user they all mean the same.
        raise DatasetUnreadable(
            f"{path} cannot be read: {type(error).__name__}.", remedy="Take the file out or fetch it again."
        ) from error
    if "DirectoryRecordSequence" in ds:
        return None
    if not series:
        raise DatasetUnreadable(
            f"{path} names no series; it is probably cut short.", remedy="Take the file out or fetch it again."
        )
    if not isinstance(series, str) or not isinstance(instance, str | None):
        raise DatasetUnreadable(
            f"{path} names its series or its instance by what is no UID.", remedy="Take the file out or fetch it again."
        )
    return ds


def _leave_out_repeats(datasets: Sequence[Dataset]) -> list[Dataset]:
    kept: dict[str, list[Dataset]] = defaultdict(list)
    for ds in datasets:
        known = kept[str(ds.get("SOPInstanceUID", ""))]
        if not any(_is_repeated(Path(ds.filename), Path(other.filename)) for other in known):
            known.append(ds)
    return [ds for same in kept.values() for ds in same]


def _is_repeated(one: Path, other: Path) -> bool:
    """Whether two files hold the same data set; whoever wrote it may differ."""
    if filecmp.cmp(one, other, shallow=False):
        return True
    try:
        return hash_dataset(one) == hash_dataset(other)
    except DatasetUnreadable:
        return False
