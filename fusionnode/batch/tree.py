"""Brings trees of DICOM files into the spool, as an archive's studies are brought; can be gone on with."""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pydicom
from pydicom import Dataset

from fusionnode.batch.earlier import EarlierResult, read_result
from fusionnode.batch.folder import BatchFolder
from fusionnode.batch.inbox import SpoolInbox
from fusionnode.durable import write_whole
from fusionnode.errors import DatasetUnreadable, Refused
from fusionnode.intake.deposit import read_file_meta

logger = logging.getLogger(__name__)

_SENDER = "FOLDER"
_TAGS = [
    "Modality",
    "Manufacturer",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "ContentDate",
    "ContentTime",
    "ReferencedSeriesSequence",
    "StudiesContainingOtherReferencedInstancesSequence",
    "ContributingEquipmentSequence",
]


def require_folders(folders: Sequence[Path]) -> None:
    """Do nothing where all of them are folders.

    Raises:
        DatasetUnreadable: one is none.
    """
    for one in folders:
        if not one.is_dir():
            raise DatasetUnreadable(f"{one} is not a folder.", remedy="Name folders with --folder.")


def gather_trees(
    folders: Sequence[Path],
    inbox: SpoolInbox,
    folder: BatchFolder,
    modalities: Collection[str],
    tell: Callable[[int, int], None],
) -> None:
    """Bring every instance of ``modalities`` below ``folders``; nothing happens where that was done before.

    Files that are no DICOM are passed over. One that is and cannot be used is listed in
    ``unusable.txt``, and costs itself only.

    Raises:
        DatasetUnreadable: a folder is none.
        SpoolFull: there is no room.
    """
    if folder.list_notes("searched"):
        return
    require_folders(folders)
    paths = sorted(path for one in folders for path in one.rglob("*") if path.is_file())
    results: dict[str, EarlierResult] = {}
    brought, unusable = 0, []
    for number, path in enumerate(paths, start=1):
        try:
            brought += _bring(path, inbox, modalities, results)
        except Refused as refusal:
            # The name of a file may be a patient's, so it goes into no log and into no summary.
            logger.warning("left out file %d of %d: %s", number, len(paths), refusal)
            folder.note("unusable", number=number, error=refusal.code)
            unusable.append(f"{path}: {refusal.code}")
        tell(number, len(paths))
    if unusable:
        write_whole(folder.root / "unusable.txt", "\n".join(unusable) + "\n")
    for result in results.values():
        folder.note("earlier", **result.as_facts())
    folder.note("fetched", study="", series=[], instances=brought, seconds=0.0)
    folder.note("searched")


def _bring(path: Path, inbox: SpoolInbox, modalities: Collection[str], results: dict[str, EarlierResult]) -> int:
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return 0
        meta = read_file_meta(file)
        header = _read_header(path)
        if header.get("Modality") in modalities:
            if inbox.list_missing([meta.sop_instance_uid]):
                inbox.keep_file(file, _SENDER)
            return 1
    result = read_result(header)
    if result is not None:
        known = results.get(result.series_instance_uid, result)
        results[result.series_instance_uid] = replace(known, sources=tuple(sorted({*known.sources, *result.sources})))
    return 0


def _read_header(path: Path) -> Dataset:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        # What cannot be decoded shows only when it is looked at.
        header.decode()
    except Exception as error:
        # pydicom lets many kinds of error out of a broken file; to the user they all mean the same.
        raise DatasetUnreadable(f"It cannot be read: {type(error).__name__}.") from error
    return header
