"""The folder that stands for a destination: fused series go there instead of to a PACS."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom

from fusionnode.durable import sync_folder
from fusionnode.errors import DestinationUnreachable, SpoolFileMissing
from fusionnode.flow.ports import Delivery, DeliveryOutcome


class ResultFolder:
    """Lays copies in ``STUDY/SERIES/NNNN.dcm``; fulfils `fusionnode.flow.ports.Sender`.

    Args:
        spool_root: what the paths of deliveries are relative to.
        folder: where the results go; made when needed.
    """

    def __init__(self, spool_root: Path, folder: Path) -> None:
        self._spool_root = spool_root
        self._folder = folder

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Copy each instance and yield that it is there, also after a power cut; a file is there whole or not at all.

        Raises:
            SpoolFileMissing: an instance is not in the outbox any more.
            DestinationUnreachable: the folder cannot be written to.
        """
        for delivery in deliveries:
            source = self._spool_root / delivery.path
            if not source.exists():
                raise SpoolFileMissing(f"{delivery.path} is not in the outbox.", remedy="Fuse the pair again.")
            try:
                self._copy(source)
            except OSError as problem:
                raise DestinationUnreachable(
                    f"{self._folder} cannot be written to: {problem.strerror}.", remedy="Free space, or its rights."
                ) from problem
            yield DeliveryOutcome(delivery, stored=True, status="0000")

    def offers_commitment(self, destination: str) -> bool:
        """Return False: a folder does not."""
        return False

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        """Refuse.

        Raises:
            DestinationUnreachable: always.
        """
        raise DestinationUnreachable("A folder offers no storage commitment.")

    def echo(self, destination: str) -> str:
        """Return that the folder answers."""
        return "folder"

    def _copy(self, source: Path) -> None:
        tags = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
        header = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=tags)
        target = self._folder / header.StudyInstanceUID / header.SeriesInstanceUID / f"{source.stem}.dcm"
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self._folder.parent, self._folder, target.parent.parent):
                sync_folder(folder)
        temporary = target.with_name(f".{target.name}.partial")
        with temporary.open("wb") as file, source.open("rb") as content:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
