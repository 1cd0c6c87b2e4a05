"""Edge: a series that arrives as files in a folder instead of over the network."""

from pathlib import Path

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from fusionnode.errors import DatasetUnreadable, SeriesMixed


def read_folder(folder: Path) -> list[Dataset]:
    """Read the one series that lies in ``folder`` and below, in any order. Files that are no DICOM are left alone.

    Raises:
        DatasetUnreadable: there is no DICOM file, or a DICOM file is broken.
        SeriesMixed: the folder holds more than one series.
    """
    if not folder.is_dir():
        raise DatasetUnreadable(f"{folder} is not a folder.", remedy="Name the folder that holds one series.")
    datasets = [ds for path in sorted(folder.rglob("*")) if path.is_file() and (ds := _read(path)) is not None]
    series = {str(ds.SeriesInstanceUID) for ds in datasets}
    if not datasets:
        raise DatasetUnreadable(f"{folder} holds no DICOM file.", remedy="Name the folder that holds one series.")
    if len(series) > 1:
        raise SeriesMixed(
            f"{folder} holds {len(series)} series.", remedy="Put each series into a folder of its own.", series=series
        )
    return datasets


def _read(path: Path) -> Dataset | None:
    try:
        ds = pydicom.dcmread(path)
    except InvalidDicomError:
        return None
    except Exception as error:
        # pydicom lets many kinds of error out of a broken file; to the user they all mean the same.
        raise DatasetUnreadable(
            f"{path} cannot be read: {type(error).__name__}.", remedy="Take the file out or fetch it again."
        ) from error
    if "DirectoryRecordSequence" in ds:
        return None
    if not ds.get("SeriesInstanceUID"):
        raise DatasetUnreadable(
            f"{path} names no series; it is probably cut short.", remedy="Take the file out or fetch it again."
        )
    return ds
