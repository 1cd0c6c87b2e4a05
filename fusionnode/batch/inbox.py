"""Where fetched instances go: the spool, by the way of those that are sent."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from fusionnode.intake.deposit import deposit, deposit_file
from fusionnode.intake.spool import AssociationEvidence, Spool
from fusionnode.intake.streaming import StoreRequest
from fusionnode.malformed import MALFORMED
from fusionnode.retrieval.archive import Received


class SpoolInbox:
    """Makes instances durable in a spool; fulfils `fusionnode.retrieval.archive.Inbox`."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._evidence: AssociationEvidence | None = None

    @contextmanager
    def carrying(self) -> Iterator[None]:
        """Tell the sweep of a running node that more of what arrives meanwhile is to come, as an association does."""
        self._evidence = self._spool.open_evidence()
        try:
            yield
        finally:
            self._evidence.close()
            self._evidence = None

    def keep(self, received: Received) -> None:
        """Make an instance durable."""
        syntax = UID(received.transfer_syntax_uid)
        request = StoreRequest(received.sop_class_uid, received.sop_instance_uid, syntax, received.sender)
        stored = deposit(self._spool, request, received.dataset)
        if self._evidence is not None:
            self._evidence.add(stored)

    def keep_file(self, file: BinaryIO, sender: str) -> None:
        """Make the instance in a DICOM file durable."""
        stored = deposit_file(self._spool, file, sender)
        if self._evidence is not None:
            self._evidence.add(stored)

    def list_missing(self, sop_instance_uids: Iterable[str]) -> list[str]:
        """Return those that are not here, in their order."""
        return self._spool.list_missing(sop_instance_uids)

    def read_header(self, sop_instance_uid: str) -> Dataset | None:
        """Return the header of an instance that is here; None where none is, or it cannot be read."""
        for path in self._spool.find_files(sop_instance_uid):
            with suppress(InvalidDicomError, *MALFORMED):
                return pydicom.dcmread(path, stop_before_pixels=True)
        return None
