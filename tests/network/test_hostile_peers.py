"""Peers that keep no rules: what they send is answered by an abort or a closed connection, and harms nobody else."""

import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom.dsutils import encode

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.dimse.sockets import PDU_LIMIT_BYTES
from fusionnode.flow.ports import Delivery
from fusionnode.intake.door import Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool
from tests.support.datasets import Identity, Layout, make_mr_series
from tests.support.files import write_series
from tests.support.running import await_value
from tests.support.wire import (
    ABORTED,
    ACCEPTED,
    REJECTED,
    connected,
    encode_echo,
    encode_fragment,
    encode_request,
    encode_store,
    establish,
    read_pdus,
)

_NUMBERS = itertools.count(1)
# Whoever loses a connection to the patient listener loses it for what was sent: time runs out for nobody, however
# starved the machine. The impatient one is for peers whose fault is that something does not come.
PATIENT = ListenerLimits(acse_seconds=300, network_seconds=300)
IMPATIENT = ListenerLimits(acse_seconds=4, network_seconds=5, least_bytes_per_second=1024)


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Spool:
    return Spool(tmp_path_factory.mktemp("hostile") / "spool", reserve_bytes=0)


@contextmanager
def _listening(spool: Spool, limits: ListenerLimits) -> Iterator[Listener]:
    running = Listener("NODE", "127.0.0.1", 0, spool, Entrance(limits=limits))
    running.start()
    yield running
    running.stop(grace_seconds=5)


@pytest.fixture(scope="module")
def listener(spool: Spool) -> Iterator[Listener]:
    with _listening(spool, PATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def impatient(spool: Spool) -> Iterator[Listener]:
    with _listening(spool, IMPATIENT) as running:
        yield running


@pytest.fixture(scope="module")
def image() -> Dataset:
    return make_mr_series(Layout(slices=1, rows=256, columns=256))[0]


@pytest.fixture
def send_good(spool: Spool, tmp_path: Path) -> Callable[[Listener], None]:
    """Sends a series by our own sender; each of its instances must be in the spool then."""

    def send(listener: Listener) -> None:
        before = len(list(spool.list_arrivals()))
        datasets = make_mr_series(Layout(slices=5, rows=64, columns=64), Identity(series_number=next(_NUMBERS)))
        paths = write_series(tmp_path / "good", datasets)
        owed = [
            Delivery("job", "node", ds.SOPClassUID, ds.SOPInstanceUID, path.name)
            for ds, path in zip(datasets, paths, strict=True)
        ]
        node = Destination("node", "NODE", "127.0.0.1", listener.port, "SCANNER")
        assert [one.status for one in AssociationSender(tmp_path / "good", {"node": node}).send("node", owed)] == [
            "0000"
        ] * 5
        assert len(list(spool.list_arrivals())) == before + 5

    return send


def _encode(ds: Dataset) -> bytes:
    encoded = encode(ds, False, True)
    assert encoded is not None
    return encoded


def _patch(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


REQUEST = encode_request()
ITEM = 74  # of the application context: the first item of a request
BEFORE = {
    "an empty request": b"\x01\0\0\0\0\0",
    "a request of 4 GiB": b"\x01\0\xff\xff\xff\xff",
    "a request above the limit": b"\x01\0" + struct.pack(">L", PDU_LIMIT_BYTES + 1) + bytes(100),
    "a request without items": _patch(REQUEST[:ITEM], 2, struct.pack(">L", ITEM - 6)),
    "an item longer than its request": _patch(REQUEST, ITEM + 2, b"\xff\xff"),
    "an item of no known type": _patch(REQUEST, ITEM, b"\x77"),
    "a request full of empty items": b"\x01\0" + struct.pack(">L", 250_068) + REQUEST[6:ITEM] + b"\x20\0\0\0" * 62_500,
    "another version of the protocol": _patch(REQUEST, 6, b"\0\2"),
    "data before a request": encode_fragment(3, b"x"),
    "a release before a request": b"\x05\0\0\0\0\x04\0\0\0\0",
    "an acceptance": _patch(REQUEST, 0, b"\x02"),
    "a type that does not exist": b"\x99\0\0\0\0\x04abcd",
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506),
    "a telnet": b"\xff\xfd\x18\xff\xfd \xff\xfd#",
    "an SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "noise": os.urandom(5000),
}
WITHIN = {
    "a second request": REQUEST,
    "an answer to a release nobody asked for": b"\x06\0\0\0\0\x04\0\0\0\0",
    "a value without a control header": struct.pack(">BxLLB", 4, 5, 1, 3),
    "a value without anything": struct.pack(">BxLL", 4, 4, 0),
    "a value longer than its PDU": struct.pack(">BxLLBB", 4, 6, 0x7FFFFFFF, 3, 3),
    "a PDU of 4 GiB": b"\x04\0\xff\xff\xff\xff",
    "a PDU above the limit": b"\x04\0" + struct.pack(">L", PDU_LIMIT_BYTES + 1) + bytes(100),
    "a command that does not exist": encode_fragment(3, bytes.fromhex("0000000102000000feca00000008020000000101")),
    "a command set without an end": encode_fragment(1, bytes(16000)) * 5,
    "a type that does not exist": b"\x99\0\0\0\0\x04abcd",
    "noise": b"\x99" + os.urandom(5000),
}


TITLES = {
    "control characters": bytes(range(1, 33)),
    "no text": b"\xff" * 32,
    "blanks": b" " * 32,
    "an escape sequence": b"\x1b[2J\x1b[31mPWNED".ljust(16) * 2,
}


def _await_quiet(spool: Spool) -> None:
    """Wait until no association is left, nor anything that it held."""
    await_value(lambda: not [thread for thread in threading.enumerate() if "Acceptor" in thread.name])
    # The files go when the connection is closed, which is the last thing that its threads do.
    await_value(lambda: not [*spool.incoming.iterdir(), *spool.associations.iterdir()])


@pytest.mark.parametrize("sent", BEFORE.values(), ids=BEFORE)
def test_what_is_no_association_request_ends_the_connection(
    listener: Listener, send_good: Callable[[Listener], None], sent: bytes
) -> None:
    with connected(listener.port) as peer:
        peer.sendall(sent)
        assert {one.kind for one in read_pdus(peer)} <= {ABORTED, REJECTED}
    send_good(listener)


@pytest.mark.parametrize("titles", TITLES.values(), ids=TITLES)
def test_titles_that_are_none_are_logged_harmlessly(
    listener: Listener, send_good: Callable[[Listener], None], caplog: pytest.LogCaptureFixture, titles: bytes
) -> None:
    with connected(listener.port) as peer:
        peer.sendall(_patch(REQUEST, 10, titles) + encode_fragment(3, b"x"))
        read_pdus(peer)
    send_good(listener)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("fusionnode")]
    assert told
    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize("sent", WITHIN.values(), ids=WITHIN)
def test_what_is_no_message_aborts_the_association(
    listener: Listener, spool: Spool, image: Dataset, send_good: Callable[[Listener], None], sent: bytes
) -> None:
    half = encode_store(_encode(image), image.SOPInstanceUID)[:4]
    for before in ([], half):
        with connected(listener.port) as peer:
            establish(peer)
            peer.sendall(b"".join(before) + sent)
            assert {one.kind for one in read_pdus(peer)} <= {ABORTED}
    send_good(listener)
    _await_quiet(spool)


@pytest.mark.parametrize("sent", [REQUEST[:100], REQUEST + encode_fragment(3, os.urandom(300))], ids=["cut", "noise"])
def test_what_is_waited_for_in_vain_ends_the_connection(
    impatient: Listener, spool: Spool, send_good: Callable[[Listener], None], sent: bytes
) -> None:
    with connected(impatient.port) as peer:
        peer.sendall(sent)
        assert {one.kind for one in read_pdus(peer)} <= {ACCEPTED, ABORTED}
    send_good(impatient)
    _await_quiet(spool)


class _Trickle:
    """Sends ``first`` at once and then a piece of ``rest`` every now and then, until the other end has enough."""

    def __init__(self, connection: socket.socket, first: bytes, rest: Sequence[bytes]) -> None:
        self.connection = connection
        connection.sendall(first)
        self._rest = iter(rest)

    def go_on(self) -> bool:
        """Send one more piece; False once the connection was closed."""
        piece = next(self._rest, b"")
        try:
            self.connection.setblocking(False)
            if piece:
                self.connection.send(piece)
            return bool(self.connection.recv(65536))
        except BlockingIOError:
            return True
        except OSError:
            return False


def _list_lorises(stack: ExitStack, port: int, image: Dataset) -> dict[str, _Trickle]:
    """Peers that would hold a connection for ever, each in its own way."""
    store = encode_store(_encode(image), image.SOPInstanceUID)
    one_by_one = [bytes([byte]) for byte in b"".join(store)]
    crumbs = [encode_fragment(0, b"x")] * 100_000

    def begin(established: bool, first: bytes, rest: Sequence[bytes]) -> _Trickle:
        connection = stack.enter_context(connected(port))
        if established:
            establish(connection)
        return _Trickle(connection, first, rest)

    return {
        "says nothing": begin(False, b"", []),
        "a request, byte by byte": begin(False, b"", [bytes([byte]) for byte in REQUEST]),
        "a request that stays away": begin(False, REQUEST[:80], []),
        "a PDU, byte by byte": begin(True, b"", one_by_one),
        "an instance, byte by byte": begin(True, b"".join(store[:3]), one_by_one),
        "an instance in tiny PDUs": begin(True, b"".join(store[:3]), crumbs),
        "an instance that stays away": begin(True, b"".join(store[:5]), []),
        "a command set in tiny PDUs": begin(True, b"", [encode_fragment(1, b"x")] * 100_000),
        "an association for nothing": begin(True, b"", []),
    }


def test_peers_that_trickle_lose_their_connections_while_a_good_series_passes(
    impatient: Listener, spool: Spool, image: Dataset, send_good: Callable[[Listener], None]
) -> None:
    with ExitStack() as stack:
        lorises = _list_lorises(stack, impatient.port, image)
        send_good(impatient)
        deadline = time.monotonic() + 60
        while lorises:
            assert time.monotonic() < deadline, f"still connected: {sorted(lorises)}"
            lorises = {name: one for name, one in lorises.items() if one.go_on()}
            time.sleep(0.05)
    send_good(impatient)
    _await_quiet(spool)


def test_requests_that_wait_for_no_answer_are_not_heaped_up(
    listener: Listener, spool: Spool, send_good: Callable[[Listener], None]
) -> None:
    with connected(listener.port) as peer:
        establish(peer)
        flood = threading.Thread(target=_send_quietly, args=(peer, encode_echo() * 5000))
        flood.start()
        read_pdus(peer)
        flood.join()
    send_good(listener)
    _await_quiet(spool)


def _send_quietly(peer: socket.socket, content: bytes) -> None:
    with suppress(OSError):
        peer.sendall(content)


def test_a_peer_that_reads_no_answers_loses_its_connection(
    impatient: Listener, spool: Spool, image: Dataset, send_good: Callable[[Listener], None]
) -> None:
    store = b"".join(encode_store(_encode(image)[:2000], image.SOPInstanceUID))
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        peer.settimeout(60)
        peer.connect(("127.0.0.1", impatient.port))
        establish(peer)
        _send_quietly(peer, store * 100_000)
    send_good(impatient)
    _await_quiet(spool)


def test_hundreds_of_checks_of_the_port_leave_nothing_behind(
    listener: Listener, spool: Spool, send_good: Callable[[Listener], None]
) -> None:
    for _ in range(150):
        socket.create_connection(("127.0.0.1", listener.port), timeout=30).close()
    send_good(listener)
    _await_quiet(spool)


def test_connections_that_are_reset_leave_nothing_behind(
    listener: Listener, spool: Spool, image: Dataset, send_good: Callable[[Listener], None]
) -> None:
    store = encode_store(_encode(image), image.SOPInstanceUID)
    for sent in (b"", REQUEST[:50], REQUEST, REQUEST + b"".join(store[:4])):
        with connected(listener.port) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.sendall(sent)
    send_good(listener)
    _await_quiet(spool)
