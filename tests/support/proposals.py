"""Peers that note what they are asked for and grant nothing: what this node proposes is read off the wire."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.transport import ThreadedAssociationServer

_NOBODYS_CLASS = UID("2.25.1")
_KNOWN = (ImplementationClassUIDNotification, MaximumLengthNotification)


@dataclass(frozen=True)
class Proposal:
    """One association request.

    Attributes:
        contexts: SOP class and transfer syntaxes of each presentation context, in order.
        roles: SOP classes for which the role of an SCP is proposed.
        extended: names of other user information items.
    """

    calling: str
    called: str
    max_pdu_bytes: int
    implementation_class_uid: str
    implementation_version: str
    contexts: tuple[tuple[str, tuple[str, ...]], ...]
    roles: tuple[str, ...]
    extended: tuple[str, ...]


@dataclass(frozen=True)
class WebRequest:
    """One HTTP request; path and query have the names of their variable parts in braces, boundaries are left out."""

    method: str
    path: str
    query: str
    accept: str
    content_type: str


@contextmanager
def noting_associations() -> Iterator[tuple[int, list[Proposal]]]:
    """Yield a port of the loopback interface and the list of what is proposed there; every context is rejected."""
    noted: list[Proposal] = []
    entity = AE("NOTING")
    entity.add_supported_context(_NOBODYS_CLASS)
    handlers = [(evt.EVT_REQUESTED, lambda event: noted.append(_read_proposal(event.assoc.requestor.primitive)))]
    server = entity.make_server(("127.0.0.1", 0), evt_handlers=handlers, server_class=ThreadedAssociationServer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield int(server.server_address[1]), noted
    finally:
        # pynetdicom's own method wants to strike the server off a list that only `start_server` fills.
        BaseServer.shutdown(server)
        server.server_close()


@contextmanager
def noting_requests(names: dict[str, str]) -> Iterator[tuple[str, list[WebRequest]]]:
    """Yield the URL of a server and the list of what it is asked; it finds nothing and stores nothing.

    ``names`` are those of the variable parts, by their values.
    """
    noted: list[WebRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._note()
            self._answer(404 if "multipart" in self.headers.get("Accept", "") else 200, b"[]")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._note()
            self._answer(200, b"{}")

        def _note(self) -> None:
            path, _, query = self.path.partition("?")
            headers = [self.headers.get(name, "") for name in ("Accept", "Content-Type")]
            plain = [_name_parts(text, names) for text in (path, query)]
            noted.append(WebRequest(self.command, *plain, *(re.sub(r";\s*boundary=.*", "", one) for one in headers)))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", noted
    finally:
        server.shutdown()
        server.server_close()


def _read_proposal(request: A_ASSOCIATE) -> Proposal:
    roles, extended, version = [], [], ""
    for item in request.user_information:
        if isinstance(item, ImplementationVersionNameNotification):
            version = item.implementation_version_name or ""
        elif isinstance(item, SCP_SCU_RoleSelectionNegotiation):
            roles += [str(item.sop_class_uid)] if item.scp_role else []
        elif not isinstance(item, _KNOWN):
            extended.append(type(item).__name__)
    return Proposal(
        request.calling_ae_title,
        request.called_ae_title,
        request.maximum_length_received,
        str(request.implementation_class_uid),
        version,
        tuple(
            (str(one.abstract_syntax), tuple(str(syntax) for syntax in one.transfer_syntax))
            for one in request.presentation_context_definition_list
        ),
        tuple(roles),
        tuple(extended),
    )


def _name_parts(text: str, names: dict[str, str]) -> str:
    for value, name in names.items():
        text = text.replace(value, f"{{{name}}}")
    return text
