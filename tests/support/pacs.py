"""A storage SCP that runs inside the test: a PACS that can be told to misbehave."""

import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from socketserver import BaseServer
from types import TracebackType
from typing import Self

from pydicom import Dataset
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer


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
