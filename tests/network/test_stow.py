"""STOW-RS against a real Orthanc, and against servers that answer in every other way the Standard allows."""

import json
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import RLELossless

from fusionnode.delivery import stow
from fusionnode.delivery.statuses import FILE_MISSING, FILE_UNREADABLE, NOT_ACCOUNTED_FOR
from fusionnode.delivery.stow import StowSender, WebDestination
from fusionnode.dimse.node import Patience
from fusionnode.errors import DestinationUnreachable
from fusionnode.flow.ports import Delivery
from fusionnode.settings import TlsSettings
from fusionnode.wiring import build_tls
from tests.support.certificates import make_authority
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.pacs import find_dicomweb_root, find_free_port, running_orthanc

SECRET = "correct-horse"


@pytest.fixture
def objects() -> list[Dataset]:
    return make_mr_series(Layout(slices=4, rows=16, columns=16))


@pytest.fixture
def owed(tmp_path: Path, objects: list[Dataset]) -> list[Delivery]:
    return [
        Delivery("job", "web", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name)
        for ds, path in zip(objects, write_series(tmp_path, objects), strict=True)
    ]


def _make_sender(root: Path, url: str, **facts: object) -> StowSender:
    return StowSender(root, {"web": WebDestination("web", url, **facts)}, Patience(5, 5, 5))  # type: ignore[arg-type]


@pytest.mark.system
def test_orthanc_stores_what_was_sent_behind_its_password(
    tmp_path: Path, objects: list[Dataset], owed: list[Delivery], caplog: pytest.LogCaptureFixture
) -> None:
    packed = objects[0]
    packed.compress(RLELossless, generate_instance_uid=False)
    write_series(tmp_path, [packed])
    spoilt = Delivery("job", "web", "1.2", "1.2.3", "spoilt.dcm")
    caplog.set_level(logging.DEBUG)
    # Orthanc's own client in the test asks without a password, so that only the outer door has one.
    with running_orthanc(tmp_path / "orthanc") as pacs, _door(pacs.http_port) as port:
        url = find_dicomweb_root(pacs).replace(str(pacs.http_port), str(port))
        sender = _make_sender(tmp_path, url, user="node", password=SECRET)
        assert sender.echo("web") == "HTTP 200"
        outcomes = {one.delivery: one.status for one in sender.send("web", [*owed, spoilt])}
        stored = pacs.fetch_series(str(objects[0].SeriesInstanceUID))
        with pytest.raises(DestinationUnreachable, match="HTTP 401"):
            list(_make_sender(tmp_path, url, user="node", password="wrong").send("web", owed))
    assert outcomes == {**dict.fromkeys(owed, "0000"), spoilt: "file-missing"}
    pixels = {ds.SOPInstanceUID: ds.pixel_array for ds in stored}
    assert all(np.array_equal(pixels[ds.SOPInstanceUID], ds.pixel_array) for ds in objects)
    assert SECRET not in caplog.text + repr(sender._destinations)


@contextmanager
def _door(behind: int) -> Iterator[int]:
    """A port that passes on to ``behind`` what comes with the right password."""
    import base64
    import urllib.error
    import urllib.request

    right = "Basic " + base64.b64encode(f"node:{SECRET}".encode()).decode()

    def pass_on(asked: "_Handler") -> tuple[int, str, bytes]:
        if asked.headers.get("Authorization") != right:
            return 401, "text/plain", b"no"
        kept = {name: asked.headers[name] for name in ("Content-Type", "Accept") if asked.headers[name]}
        request = urllib.request.Request(f"http://127.0.0.1:{behind}{asked.path}", asked.body or None, kept)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()

    with _serving(pass_on) as port:
        yield port


class _Handler(BaseHTTPRequestHandler):
    answer: Callable[["_Handler"], tuple[int, str, bytes]]
    body = b""

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        status, kind, body = type(self).answer(self)
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Be silent."""


@contextmanager
def _serving(answer: Callable[[_Handler], tuple[int, str, bytes]], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    handler = type("Handler", (_Handler,), {"answer": staticmethod(answer)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _account(asked: _Handler, refuse: dict[str, int], warn: dict[str, int] | None = None) -> bytes:
    """A Store Instances Response for the instances in the request, some of them refused or warned of."""
    import re

    uids = dict.fromkeys(uid.decode() for uid in re.findall(rb"\x08\x00\x18\x00UI..([0-9.]+)", asked.body, re.DOTALL))

    def item(uid: str, tag: str = "", reason: int = 0) -> dict[str, object]:
        facts: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
        return facts | ({tag: {"vr": "US", "Value": [reason]}} if tag else {})

    warned = warn or {}
    stored = [item(uid, "00081196", warned[uid]) if uid in warned else item(uid) for uid in uids if uid not in refuse]
    failed = [item(uid, "00081197", refuse[uid]) for uid in uids if uid in refuse]
    return json.dumps({"00081199": {"vr": "SQ", "Value": stored}, "00081198": {"vr": "SQ", "Value": failed}}).encode()


@pytest.mark.parametrize("kind", ["application/dicom+json", "application/dicom+json; charset=utf-8"])
def test_one_of_four_refused_costs_one_and_a_warning_means_stored(
    tmp_path: Path, owed: list[Delivery], kind: str
) -> None:
    refuse, warn = {owed[2].sop_instance_uid: 0xA700}, {owed[1].sop_instance_uid: 0xB000}
    with _serving(lambda asked: (202, kind, _account(asked, refuse, warn))) as port:
        outcomes = list(_make_sender(tmp_path, f"http://127.0.0.1:{port}").send("web", owed))
    assert [(one.stored, one.status) for one in outcomes] == [
        (True, "0000"), (True, "B000"), (False, "A700"), (True, "0000")
    ]  # fmt: skip


def test_all_refused_are_told_one_by_one_with_the_reasons(tmp_path: Path, owed: list[Delivery]) -> None:
    refuse = {one.sop_instance_uid: 0xC000 + number for number, one in enumerate(owed)}
    with _serving(lambda asked: (409, "application/dicom+json", _account(asked, refuse))) as port:
        outcomes = list(_make_sender(tmp_path, f"http://127.0.0.1:{port}").send("web", owed))
    assert [one.status for one in outcomes] == ["C000", "C001", "C002", "C003"]
    assert not any(one.stored for one in outcomes)


@pytest.mark.parametrize("status", [400, 409, 413, 415])
def test_one_that_spoils_its_request_costs_only_itself(tmp_path: Path, owed: list[Delivery], status: int) -> None:
    bad = owed[1].sop_instance_uid.encode()

    def answer(asked: _Handler) -> tuple[int, str, bytes]:
        return (status, "text/html", b"<p>no") if bad in asked.body else (200, "application/json", _account(asked, {}))

    with _serving(answer) as port:
        outcomes = list(_make_sender(tmp_path, f"http://127.0.0.1:{port}").send("web", owed))
    assert [one.status for one in outcomes] == ["0000", NOT_ACCOUNTED_FOR, "0000", "0000"]


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", b"<html>"), ("application/json", b"{"), ("application/json", b"[]"), ("", b"")]
)
def test_an_answer_that_says_nothing_of_the_instances_is_no_success(
    tmp_path: Path, owed: list[Delivery], kind: str, body: bytes
) -> None:
    with _serving(lambda _: (200, kind, body)) as port:
        outcomes = list(_make_sender(tmp_path, f"http://127.0.0.1:{port}").send("web", owed))
    assert {(one.stored, one.status) for one in outcomes} == {(False, NOT_ACCOUNTED_FOR)}


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 500, 503])
def test_a_server_that_is_not_itself_is_unreachable(tmp_path: Path, owed: list[Delivery], status: int) -> None:
    with _serving(lambda _: (status, "text/plain", b"")) as port:
        sender = _make_sender(tmp_path, f"http://127.0.0.1:{port}")
        with pytest.raises(DestinationUnreachable):
            list(sender.send("web", owed))
        with pytest.raises(DestinationUnreachable):
            sender.echo("web")


def test_a_server_that_takes_no_question_only_stores_and_one_that_takes_no_store_is_unreachable(
    tmp_path: Path, owed: list[Delivery]
) -> None:
    with _serving(lambda _: (405, "text/plain", b"")) as port:
        sender = _make_sender(tmp_path, f"http://127.0.0.1:{port}")
        assert sender.echo("web") == "HTTP 405"
        with pytest.raises(DestinationUnreachable, match="405"):
            list(sender.send("web", owed))


def test_a_file_that_is_spoilt_or_vanishes_meanwhile_costs_only_itself(
    tmp_path: Path, owed: list[Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow, "_REQUEST_BYTES", 1000)
    with _serving(lambda asked: (200, "application/json", _account(asked, {}))) as port:
        outcomes = _make_sender(tmp_path, f"http://127.0.0.1:{port}").send("web", owed)
        told = [next(outcomes).status]
        (tmp_path / owed[1].path).write_bytes(b"spoilt")
        (tmp_path / owed[2].path).unlink()
        told += [one.status for one in outcomes]
    assert told == ["0000", FILE_UNREADABLE, FILE_MISSING, "0000"]


def test_a_server_that_is_away_or_silent_is_unreachable(tmp_path: Path, owed: list[Delivery]) -> None:
    with pytest.raises(DestinationUnreachable, match="ConnectionError"):
        list(_make_sender(tmp_path, f"http://127.0.0.1:{find_free_port()}").send("web", owed))
    hold = threading.Event()
    with _serving(lambda _: (200, "", b"x" * hold.wait(20))) as port:
        destinations = {"web": WebDestination("web", f"http://127.0.0.1:{port}")}
        with pytest.raises(DestinationUnreachable, match="ReadTimeout"):
            list(StowSender(tmp_path, destinations, Patience(1, 0.3, 1)).send("web", owed))
        hold.set()


def test_a_syntax_the_server_does_not_take_is_decoded(tmp_path: Path, objects: list[Dataset]) -> None:
    ds, pixels = objects[0], objects[0].PixelData
    ds.compress(RLELossless, generate_instance_uid=False)
    path = write_series(tmp_path, [ds])[0]
    owed = Delivery("job", "web", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name)
    bodies: list[bytes] = []

    def answer(asked: _Handler) -> tuple[int, str, bytes]:
        bodies.append(asked.body)
        refuse = {owed.sop_instance_uid: 0xC122} if RLELossless.encode() in asked.body else {}
        return (409 if refuse else 200), "application/dicom+json", _account(asked, refuse)

    with _serving(answer) as port:
        outcomes = list(_make_sender(tmp_path, f"http://127.0.0.1:{port}").send("web", [owed]))
    assert [one.status for one in outcomes] == ["0000"]
    assert pixels in bodies[1]


@pytest.mark.system
def test_https_is_believed_only_from_the_authority_of_the_site(tmp_path: Path, owed: list[Delivery]) -> None:
    authority, strangers = make_authority(tmp_path / "ca"), make_authority(tmp_path / "other", "other")
    papers = authority.issue("web")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate, papers.key)
    with _serving(lambda asked: (200, "application/dicom+json", _account(asked, {})), context) as port:
        url = f"https://127.0.0.1:{port}"
        trusting = _make_sender(tmp_path, url, tls=build_tls(TlsSettings(ca=authority.own.certificate)))
        assert {one.status for one in trusting.send("web", owed)} == {"0000"}
        for tls in (TlsSettings(ca=strangers.own.certificate), None):
            with pytest.raises(DestinationUnreachable, match="certificate is not accepted"):
                list(_make_sender(tmp_path, url, tls=build_tls(tls)).send("web", owed))


@pytest.mark.system
@pytest.mark.parametrize(
    ("host", "days", "told"), [("DNS:elsewhere.example", 2, "127.0.0.1"), ("IP:127.0.0.1", -1, "expired")]
)
def test_https_with_papers_of_another_host_or_run_out_is_not_spoken(
    tmp_path: Path, owed: list[Delivery], host: str, days: int, told: str
) -> None:
    authority = make_authority(tmp_path / "ca")
    papers = authority.issue("web", host, days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers.certificate, papers.key)
    asked: list[_Handler] = []

    def note(request: _Handler) -> tuple[int, str, bytes]:
        asked.append(request)
        return 200, "application/dicom+json", b"{}"

    with _serving(note, context) as port:
        tls = build_tls(TlsSettings(ca=authority.own.certificate))
        sender = _make_sender(tmp_path, f"https://127.0.0.1:{port}", tls=tls)
        for ask in (lambda: list(sender.send("web", owed)), lambda: sender.echo("web")):
            with pytest.raises(DestinationUnreachable, match="certificate is not accepted") as refusal:
                ask()
            assert told in str(refusal.value)
    assert asked == [], "nothing may leave before the certificate was looked at"
