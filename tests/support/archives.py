"""Archives that run inside the test and can be told to misbehave: by DIMSE, and by DICOMweb."""

import io
import json
import re
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from pydicom import Dataset, dcmwrite
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.transport import ThreadedAssociationServer

from fusionnode.batch.inbox import SpoolInbox
from fusionnode.intake.spool import Spool
from tests.support.certificates import Certificate

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
ECHO = "1.2.840.10008.1.1"

_LEVELS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


def make_inbox(spool: Spool) -> SpoolInbox:
    """Return an inbox into a spool, which is prepared."""
    spool.prepare()
    return SpoolInbox(spool)


def select(datasets: Sequence[Dataset], level: str, wanted: Mapping[str, Sequence[str]]) -> list[Dataset]:
    """Return one data set for each entity of ``level`` whose attributes equal one of the values wanted, if any are."""
    found: dict[str, Dataset] = {}
    for ds in datasets:
        if all(not values or str(ds.get(keyword, "")) in values for keyword, values in wanted.items()):
            found.setdefault(str(ds[_LEVELS[level]].value), ds)
    return list(found.values())


def count_in_series(datasets: Sequence[Dataset], series: str) -> int:
    """Return how many instances a series has."""
    return sum(ds.SeriesInstanceUID == series for ds in datasets)


@dataclass
class ArchivePeer:
    """Answers C-FIND and C-GET on a free port of the loopback interface while the context lasts.

    Attributes:
        datasets: what it holds.
        find_status: what it ends each query with.
        hidden: returned by no query: optional keys that it ignores.
        limit: it never lists more answers than this; silently, unless it ``tells`` by a status.
        get_status: it ends each C-GET with this instead of bringing anything, unless it is 0000.
        withheld: SOP Instance UIDs that a C-GET leaves out, each as often as it says.
        identifiers: what it was asked.
        services: SOP classes that it takes beside those of storage.
        tls: how it secures its connections.
    """

    datasets: Sequence[Dataset]
    find_status: int = 0x0000
    hidden: Sequence[str] = ()
    limit: int = 1000
    tells: bool = False
    get_status: int = 0x0000
    withheld: dict[str, int] = field(default_factory=dict)
    identifiers: list[Dataset] = field(default_factory=list)
    gets: int = 0
    services: Sequence[str] = (ECHO, FIND, GET)
    tls: ssl.SSLContext | None = None
    _server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        entity = AE("ARCHIVE")
        contexts = [build_context(UID(one)) for one in self.services]
        syntax = self.datasets[0].file_meta.TransferSyntaxUID if self.datasets else "1.2.840.10008.1.2.1"
        for sop_class in sorted({str(ds.SOPClassUID) for ds in self.datasets}):
            context = build_context(UID(sop_class), syntax)
            context.scu_role, context.scp_role = True, True
            contexts.append(context)
        handlers = [(evt.EVT_C_FIND, self._answer_find), (evt.EVT_C_GET, self._answer_get)]
        self._server = entity.make_server(
            ("127.0.0.1", 0),
            contexts=contexts,
            evt_handlers=handlers,
            server_class=ThreadedAssociationServer,
            ssl_context=self.tls,
        )
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        BaseServer.shutdown(self._server)
        self._server.server_close()

    def _answer_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        self.identifiers.append(asked)
        found = self._select(asked)
        for ds in found[: self.limit]:
            yield 0xFF00, self._describe(ds, asked)
        if self.tells and len(found) > self.limit:
            yield 0xFE00, None
        if self.find_status:
            yield self.find_status, None

    def _answer_get(self, event: evt.Event) -> Iterator[Any]:
        self.gets += 1
        self.identifiers.append(event.identifier)
        wanted = self._select(event.identifier, level="IMAGE")
        if self.get_status:
            yield len(wanted)
            yield self.get_status, None
            return
        sent = [ds for ds in wanted if not self._withhold(str(ds.SOPInstanceUID))]
        yield len(sent)
        for ds in sent:
            yield 0xFF00, ds

    def _withhold(self, uid: str) -> bool:
        left = self.withheld.get(uid, 0)
        self.withheld[uid] = left - 1
        return left > 0

    def _select(self, asked: Dataset, level: str = "") -> list[Dataset]:
        wanted = {}
        for element in asked:
            known = element.keyword in self.datasets[0] and element.keyword not in self.hidden
            if known and element.value and "-" not in str(element.value):
                values = [element.value] if isinstance(element.value, str) else list(element.value)
                wanted[element.keyword] = [str(value) for value in values]
        return select(self.datasets, level or asked.QueryRetrieveLevel, wanted)

    def _describe(self, ds: Dataset, asked: Dataset) -> Dataset:
        answer = Dataset()
        answer.QueryRetrieveLevel = asked.QueryRetrieveLevel
        for element in asked:
            if element.keyword in self.hidden or element.keyword == "QueryRetrieveLevel":
                continue
            if element.keyword == "NumberOfSeriesRelatedInstances":
                answer.NumberOfSeriesRelatedInstances = count_in_series(self.datasets, ds.SeriesInstanceUID)
            elif element.keyword in ds:
                answer[element.keyword] = ds[element.keyword]
        return answer


@dataclass
class WebPeer:
    """Answers QIDO-RS and WADO-RS on a free port of the loopback interface.

    Attributes:
        datasets: what it holds.
        page: it never gives more answers at once than this.
        limit: it never gives more answers to a query, and warns where it has more.
        heeds_offset: whether it skips what was given before.
        status: answers everything with this HTTP status instead, unless it is 200.
        garbled: sends something else than DICOM in place of instances.
        requests: paths and queries that it was asked.
    """

    datasets: Sequence[Dataset]
    page: int = 1000
    limit: int = 1000
    heeds_offset: bool = True
    status: int = 200
    garbled: bool = False
    requests: list[str] = field(default_factory=list)
    url: str = ""
    left: int = 0

    def answer(self, path: str, query: Mapping[str, Sequence[str]]) -> tuple[str, bytes]:
        """Return content type and body."""
        match = re.fullmatch(r"/studies(?:/([\d.]+)/series(?:/([\d.]+)(?:/instances(?:/([\d.]+))?)?)?)?", path)
        assert match, path
        study, series, instance = match.groups()
        wanted = {"StudyInstanceUID": [study] if study else [], "SeriesInstanceUID": [series] if series else []}
        if instance or (series and not path.endswith("/instances")):
            found = select(self.datasets, "IMAGE", wanted | {"SOPInstanceUID": [instance] if instance else []})
            kind, body = _encode_parts(found)
            return kind, body.replace(b"DICM", b"HTML") if self.garbled else body
        level = "IMAGE" if series else "SERIES" if study else "STUDY"
        asked = {name: list(values) for name, values in query.items() if name[0].isupper() and "-" not in values[0]}
        asked = {name: values for name, values in asked.items() if name in self.datasets[0]}
        found = select(self.datasets, level, wanted | asked)
        offset = int(query.get("offset", ["0"])[0]) if self.heeds_offset else 0
        self.left = max(0, len(found) - self.limit)
        page = found[: self.limit][offset : offset + min(self.page, int(query.get("limit", ["1000"])[0]))]
        return "application/dicom+json", json.dumps([self._describe(ds) for ds in page]).encode()

    def _describe(self, ds: Dataset) -> dict[str, Any]:
        answer = Dataset()
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "PatientID"):
            answer[keyword] = ds[keyword]
        answer.Modality, answer.StudyDate = ds.Modality, ds.StudyDate
        answer.NumberOfSeriesRelatedInstances = count_in_series(self.datasets, ds.SeriesInstanceUID)
        described: dict[str, Any] = answer.to_json_dict()
        return described


def make_server_tls(certificate: Certificate) -> ssl.SSLContext:
    """Return how a server shows ``certificate``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


@contextmanager
def running_web_peer(peer: WebPeer, tls: ssl.SSLContext | None = None) -> Iterator[WebPeer]:
    """Serve ``peer`` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            peer.requests.append(self.path)
            kind, body = "text/plain", b"Mrs Example was not found"
            if peer.status == 200:
                kind, body = peer.answer(parts.path, parse_qs(parts.query))
            self.send_response(peer.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if peer.left:
                self.send_header(
                    "Warning", f'299 peer: "There are {peer.left} additional results that can be requested"'
                )
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()


def _encode_parts(datasets: Sequence[Dataset]) -> tuple[str, bytes]:
    body = io.BytesIO()
    for ds in datasets:
        body.write(b"--part\r\nContent-Type: application/dicom\r\n\r\n")
        content = io.BytesIO()
        dcmwrite(content, ds, enforce_file_format=True)
        body.write(content.getvalue() + b"\r\n")
    body.write(b"--part--")
    return 'multipart/related; type="application/dicom"; boundary=part', body.getvalue()
