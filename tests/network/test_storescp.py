"""Conversations between the sender and DCMTK's storescp, which refuses, aborts, dawdles and takes one syntax only."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.dimse.node import Patience
from fusionnode.errors import DestinationUnreachable
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from tests.support.datasets import Layout, make_mr_series
from tests.support.dcmtk import running_storescp
from tests.support.files import write_series

pytestmark = pytest.mark.system

PATIENCE = Patience(5, 5, 5)


@pytest.fixture
def objects() -> list[Dataset]:
    return make_mr_series(Layout(slices=4, rows=64, columns=64))


def _owe(folder: Path, objects: list[Dataset]) -> list[Delivery]:
    paths = write_series(folder / "spool", objects)
    return [
        Delivery("job", "pacs", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name)
        for ds, path in zip(objects, paths, strict=True)
    ]


def _make_sender(folder: Path, port: int, patience: Patience = PATIENCE) -> AssociationSender:
    peer = Destination("pacs", "STORESCP", "127.0.0.1", port, "FUSIONNODE")
    return AssociationSender(folder / "spool", {"pacs": peer}, patience)


def _try_all(sender: AssociationSender, owed: list[Delivery]) -> tuple[list[DeliveryOutcome], str]:
    """What was yielded, and why it ended early; empty when it did not."""
    outcomes: list[DeliveryOutcome] = []
    try:
        for outcome in sender.send("pacs", owed):
            outcomes.append(outcome)  # one at a time: what came before an error stands
    except DestinationUnreachable as error:
        return outcomes, str(error.facts["why"])
    return outcomes, ""


def test_it_stores_what_was_sent(tmp_path: Path, objects: list[Dataset]) -> None:
    owed = _owe(tmp_path, objects)
    with running_storescp(tmp_path / "stored", "+xa") as scp:
        sender = _make_sender(tmp_path, scp.port)
        assert sender.echo("pacs") == "0000"
        assert {one.status for one in sender.send("pacs", owed)} == {"0000"}
        stored = scp.read_stored()
    assert {uid: ds.PixelData for uid, ds in stored.items()} == {ds.SOPInstanceUID: ds.PixelData for ds in objects}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("option", "taken"), [("--implicit", ImplicitVRLittleEndian), ("+xe", ExplicitVRLittleEndian)])
def test_one_that_takes_one_plain_syntax_gets_the_same_pixels(
    tmp_path: Path, objects: list[Dataset], option: str, taken: str, compressed: bool
) -> None:
    pixels = {str(ds.SOPInstanceUID): ds.PixelData for ds in objects}
    if compressed:
        for ds in objects:
            ds.compress(RLELossless, generate_instance_uid=False)
    owed = _owe(tmp_path, objects)
    with running_storescp(tmp_path / "stored", option, "+B") as scp:
        assert {one.status for one in _make_sender(tmp_path, scp.port).send("pacs", owed)} == {"0000"}
        stored = scp.read_stored()
    assert {uid: ds.PixelData for uid, ds in stored.items()} == pixels
    if option == "--implicit":
        assert {ds.file_meta.TransferSyntaxUID for ds in stored.values()} == {taken}


def test_one_that_refuses_the_association_is_unreachable(tmp_path: Path, objects: list[Dataset]) -> None:
    with running_storescp(tmp_path / "stored", "--refuse") as scp:
        outcomes, why = _try_all(_make_sender(tmp_path, scp.port), _owe(tmp_path, objects))
    assert outcomes == []
    assert "rejected" in why


@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
def test_one_that_aborts_has_not_stored_and_nothing_is_said_to_be(
    tmp_path: Path, objects: list[Dataset], option: str
) -> None:
    with running_storescp(tmp_path / "stored", option) as scp:
        outcomes, why = _try_all(_make_sender(tmp_path, scp.port), _owe(tmp_path, objects))
    assert outcomes == []
    assert why


@pytest.mark.parametrize("option", ["--sleep-during", "--sleep-after"])
def test_one_that_is_slow_is_waited_for(tmp_path: Path, objects: list[Dataset], option: str) -> None:
    with running_storescp(tmp_path / "stored", option, "1") as scp:
        outcomes, why = _try_all(_make_sender(tmp_path, scp.port), _owe(tmp_path, objects[:1]))
    assert [one.status for one in outcomes] == ["0000"]
    assert not why


@pytest.mark.parametrize(("option", "acknowledged"), [("--sleep-during", 0), ("--sleep-after", 1)])
def test_one_that_is_too_slow_is_given_up(
    tmp_path: Path, objects: list[Dataset], option: str, acknowledged: int
) -> None:
    with running_storescp(tmp_path / "stored", option, "30") as scp:
        sender = _make_sender(tmp_path, scp.port, Patience(5, 0.5, 5))
        outcomes, why = _try_all(sender, _owe(tmp_path, objects))
    assert [one.stored for one in outcomes] == [True] * acknowledged
    assert "no answer" in why


@contextmanager
def _cutting_relay(port: int, after_bytes: int, *, stall: bool) -> Iterator[int]:
    """A way to ``port`` that breaks off, or stops reading, after so many bytes towards it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        done = threading.Event()

        def relay() -> None:
            client, _ = server.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as target:
                back = threading.Thread(target=_pour, args=(target, client, None), daemon=True)
                back.start()
                _pour(client, target, after_bytes)
                if stall:
                    done.wait(60)

        threading.Thread(target=relay, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()


def _pour(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    passed = 0
    try:
        while (limit is None or passed < limit) and (data := source.recv(4096)):
            target.sendall(data)
            passed += len(data)
    except OSError:
        return


@pytest.mark.parametrize("stall", [False, True])
def test_a_connection_that_breaks_or_stalls_in_mid_instance_costs_no_hang_and_no_false_account(
    tmp_path: Path, stall: bool
) -> None:
    # Larger than what both kernels buffer, so that the sender is really stopped in the middle of it.
    layout = Layout(slices=2, rows=2048, columns=2048)
    objects = make_mr_series(layout, voxels=np.zeros(layout.shape))
    owed = _owe(tmp_path, objects)
    with (
        running_storescp(tmp_path / "stored", "+B") as scp,
        _cutting_relay(scp.port, 10_000_000, stall=stall) as port,
    ):
        outcomes, why = _try_all(_make_sender(tmp_path, port, Patience(5, 3, 1)), owed)
    assert [one.delivery for one in outcomes] == owed[:1]
    assert why
