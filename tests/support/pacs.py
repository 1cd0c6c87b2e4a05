"""The other ends of tests: a storage SCP inside the test that can be told to misbehave, and a real Orthanc."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import BaseServer
from types import TracebackType
from typing import Any, Self

from pydicom import Dataset
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from fusionnode.demo.pacs import OrthancPacs
from tests.support.tools import forgo, require_tool

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def _accept_everything(event: evt.Event) -> None:
    """Default hook of a peer: it has nothing to add."""


@dataclass
class StoragePeer:
    """Accepts associations on a free port of the loopback interface while the context lasts.

    Attributes:
        ae_title: what it is called; with ``strict_title`` it rejects callers who call it anything else.
        answers: DIMSE status by SOP Instance UID, for those that are not to be answered with 0000.
        abort_after: abort the association instead of answering the instance after this many.
        silent_after: never answer the instance after this many.
        syntaxes: transfer syntaxes it accepts for everything.
        sop_classes: SOP classes it accepts; empty means every storage class.
        on_store: called with every C-STORE event before it is answered.
        datasets: what it has stored, in order of arrival, with file meta information.
        messages: the encoded data sets, byte for byte as they came.
        associations: number of associations accepted so far.
    """

    ae_title: str = "TESTPACS"
    strict_title: bool = False
    answers: Mapping[str, int] = field(default_factory=dict)
    abort_after: int | None = None
    silent_after: int | None = None
    syntaxes: Sequence[str] = tuple(AllTransferSyntaxes)
    sop_classes: Sequence[str] = ()
    on_store: Callable[[evt.Event], None] = _accept_everything
    datasets: list[Dataset] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    associations: int = 0
    _server: ThreadedAssociationServer | None = None
    _asked: int = 0
    _released: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def uids(self) -> list[str]:
        """SOP Instance UIDs of what it has stored, in order of arrival."""
        return [str(ds.SOPInstanceUID) for ds in self.datasets]

    def __enter__(self) -> Self:
        entity = AE(self.ae_title)
        entity.require_called_aet = self.strict_title
        classes = self.sop_classes or [cx.abstract_syntax for cx in AllStoragePresentationContexts]
        for sop_class in [*classes, *([] if self.sop_classes else [Verification])]:
            entity.add_supported_context(UID(sop_class), list(self.syntaxes))
        handlers = [(evt.EVT_C_STORE, self._answer_store), (evt.EVT_ACCEPTED, self._count)]
        self._server = entity.make_server(
            ("127.0.0.1", 0), evt_handlers=handlers, server_class=ThreadedAssociationServer
        )
        # Looks often whether it is to stop; pynetdicom's own thread would keep every test waiting for half a second.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        assert self._server is not None
        # pynetdicom's own method wants to strike the server off a list that only `start_server` fills.
        BaseServer.shutdown(self._server)
        self._server.server_close()

    def _count(self, event: evt.Event) -> None:
        self.associations += 1

    def _answer_store(self, event: evt.Event) -> int:
        self._asked += 1
        self.on_store(event)
        if self.abort_after is not None and self._asked > self.abort_after:
            event.assoc.abort()
            return 0xA700
        if self.silent_after is not None and self._asked > self.silent_after:
            self._released.wait(30)
            return 0xA700
        status = self.answers.get(str(event.request.AffectedSOPInstanceUID), 0x0000)
        if status == 0x0000 or status >> 12 == 0xB:
            ds = event.dataset
            ds.file_meta = event.file_meta
            self.datasets.append(ds)
            self.messages.append(event.encoded_dataset(include_meta=False))
        return status


def find_free_port() -> int:
    """Return a port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_orthanc(folder: Path, extra: Mapping[str, Any] | None = None) -> Iterator[OrthancPacs]:
    """Run Orthanc with its DICOMweb plug-in (`find_dicomweb_root`) until the block ends; skip without them.

    ``extra`` is added to its configuration: ``DicomModalities``, ``DicomTlsEnabled`` and so on.
    """
    program = require_tool("Orthanc")
    if not DICOMWEB_PLUGIN.exists():
        forgo("Orthanc's DICOMweb plug-in is not installed")
    web = {"Plugins": [str(DICOMWEB_PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    pacs = OrthancPacs(folder, program, {**web, **(extra or {})})
    try:
        yield pacs
    finally:
        pacs.stop()


def find_dicomweb_root(pacs: OrthancPacs) -> str:
    """Return the URL below which Orthanc answers DICOMweb (PS3.18)."""
    return f"http://127.0.0.1:{pacs.http_port}/dicom-web"
