"""Conversations between the sender and real storage SCPs, most of which misbehave."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import evt

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.delivery.statuses import FILE_MISSING, NO_PRESENTATION_CONTEXT, NOT_ENCODABLE
from fusionnode.dimse.node import Patience
from fusionnode.errors import DestinationUnreachable
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from tests.support.datasets import Layout, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.pacs import StoragePeer, find_free_port

LAYOUT = Layout(slices=10, rows=16, columns=16)
LARGE = Layout(slices=2, rows=64, columns=64)
"""JPEG 2000 does not take smaller frames with its usual number of resolutions."""
PATIENCE = Patience(10, 10, 10)


@pytest.fixture
def objects() -> list[Dataset]:
    return make_mr_series(LAYOUT)


@pytest.fixture
def deliveries(tmp_path: Path, objects: list[Dataset]) -> list[Delivery]:
    return _owe(tmp_path, objects)


def _owe(folder: Path, objects: list[Dataset]) -> list[Delivery]:
    paths = write_series(folder, objects)
    return [
        Delivery("job", "pacs", str(ds.SOPClassUID), str(ds.SOPInstanceUID), path.name)
        for ds, path in zip(objects, paths, strict=True)
    ]


def _make_sender(root: Path, port: int, ae_title: str = "TESTPACS", patience: Patience = PATIENCE) -> AssociationSender:
    return AssociationSender(root, {"pacs": Destination("pacs", ae_title, "127.0.0.1", port, "FUSIONNODE")}, patience)


def _collect(outcomes: Iterator[DeliveryOutcome]) -> tuple[list[DeliveryOutcome], DestinationUnreachable | None]:
    """Everything that was yielded, and the error that ended it."""
    collected: list[DeliveryOutcome] = []
    try:
        for outcome in outcomes:
            collected.append(outcome)
    except DestinationUnreachable as error:
        return collected, error
    return collected, None


def test_every_instance_arrives_byte_for_byte_over_one_association(tmp_path: Path, deliveries: list[Delivery]) -> None:
    with StoragePeer() as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", deliveries))
    assert [outcome.delivery for outcome in outcomes] == deliveries
    assert {(outcome.stored, outcome.status) for outcome in outcomes} == {(True, "0000")}
    assert peer.uids == [delivery.sop_instance_uid for delivery in deliveries]
    assert peer.associations == 1
    for delivery, message in zip(deliveries, peer.messages, strict=True):
        assert (tmp_path / delivery.path).read_bytes().endswith(message)
        assert len(message) > 16 * 16 * 2


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0124, 0x0117])
def test_a_peer_that_refuses_one_of_ten_costs_one_instance(
    tmp_path: Path, deliveries: list[Delivery], status: int
) -> None:
    refused = deliveries[4].sop_instance_uid
    with StoragePeer(answers={refused: status}) as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", deliveries))
    assert [outcome.stored for outcome in outcomes] == [delivery is not deliveries[4] for delivery in deliveries]
    assert outcomes[4].status == f"{status:04X}"
    assert len(peer.uids) == 9
    assert refused not in peer.uids


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_means_stored_and_is_told(tmp_path: Path, deliveries: list[Delivery], status: int) -> None:
    with StoragePeer(answers={deliveries[0].sop_instance_uid: status}) as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", deliveries[:2]))
    assert [(outcome.stored, outcome.status) for outcome in outcomes] == [(True, f"{status:04X}"), (True, "0000")]


def test_a_connection_refused_is_unreachable(tmp_path: Path, deliveries: list[Delivery]) -> None:
    with pytest.raises(DestinationUnreachable, match="no connection"):
        list(_make_sender(tmp_path, find_free_port()).send("pacs", deliveries))


def test_a_peer_that_does_not_know_its_name_is_unreachable_and_says_why(
    tmp_path: Path, deliveries: list[Delivery]
) -> None:
    with StoragePeer(strict_title=True) as peer, pytest.raises(DestinationUnreachable, match=r"(?i)called AE title"):
        list(_make_sender(tmp_path, peer.port, ae_title="WRONG").send("pacs", deliveries))
    assert peer.datasets == []


def test_a_peer_that_accepts_the_connection_and_says_nothing_is_unreachable(
    tmp_path: Path, deliveries: list[Delivery]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        sender = _make_sender(tmp_path, mute.getsockname()[1], patience=Patience(0.5, 0.5, 0.5))
        with pytest.raises(DestinationUnreachable):
            list(sender.send("pacs", deliveries))


def test_an_abort_midway_keeps_what_was_acknowledged_and_ends_in_an_error(
    tmp_path: Path, deliveries: list[Delivery]
) -> None:
    with StoragePeer(abort_after=4) as peer:
        outcomes, error = _collect(_make_sender(tmp_path, peer.port).send("pacs", deliveries))
    assert [outcome.delivery for outcome in outcomes] == deliveries[:4]
    assert all(outcome.stored for outcome in outcomes)
    assert error is not None
    assert peer.uids == [delivery.sop_instance_uid for delivery in deliveries[:4]]


def test_a_cable_pulled_midway_keeps_what_was_acknowledged(tmp_path: Path, deliveries: list[Delivery]) -> None:
    def pull(event: evt.Event) -> None:
        if event.request.AffectedSOPInstanceUID == deliveries[3].sop_instance_uid:
            event.assoc.dul.socket.socket.shutdown(socket.SHUT_RDWR)

    with StoragePeer(on_store=pull) as peer:
        outcomes, error = _collect(_make_sender(tmp_path, peer.port).send("pacs", deliveries))
    assert [outcome.delivery for outcome in outcomes] == deliveries[:3]
    assert error is not None


def test_a_peer_that_falls_silent_is_given_up(tmp_path: Path, deliveries: list[Delivery]) -> None:
    with StoragePeer(silent_after=2) as peer:
        sender = _make_sender(tmp_path, peer.port, patience=Patience(5, 0.5, 5))
        outcomes, error = _collect(sender.send("pacs", deliveries))
    assert [outcome.delivery for outcome in outcomes] == deliveries[:2]
    assert error is not None


def test_a_peer_that_takes_implicit_vr_only_gets_the_same_values(
    tmp_path: Path, deliveries: list[Delivery], objects: list[Dataset]
) -> None:
    with StoragePeer(syntaxes=[ImplicitVRLittleEndian]) as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", deliveries))
    assert all(outcome.stored for outcome in outcomes)
    for sent, received in zip(objects, peer.datasets, strict=True):
        assert sent.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert received.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert {str(elem.tag): elem.value for elem in received} == {str(elem.tag): elem.value for elem in sent}


def test_an_object_the_peer_does_not_take_costs_that_object_only(tmp_path: Path, deliveries: list[Delivery]) -> None:
    foreign = _owe(tmp_path, make_pt_series(Layout(slices=2, rows=8, columns=8)))
    mixed = [foreign[0], *deliveries[:2], foreign[1]]
    with StoragePeer(sop_classes=[MRImageStorage]) as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", mixed))
    assert [outcome.status for outcome in outcomes] == [
        NO_PRESENTATION_CONTEXT, "0000", "0000", NO_PRESENTATION_CONTEXT
    ]  # fmt: skip
    assert [outcome.stored for outcome in outcomes] == [False, True, True, False]


def test_a_peer_that_takes_nothing_of_it_is_reachable_all_the_same(tmp_path: Path, deliveries: list[Delivery]) -> None:
    foreign = _owe(tmp_path, make_pt_series(Layout(slices=2, rows=8, columns=8)))
    with StoragePeer(sop_classes=[MRImageStorage]) as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", foreign))
    assert [outcome.status for outcome in outcomes] == [NO_PRESENTATION_CONTEXT] * 2


def _pack(ds: Dataset, syntax: str) -> Dataset:
    ds.compress(syntax, generate_instance_uid=False)
    return ds


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_object_goes_as_it_is_where_that_is_taken(tmp_path: Path, syntax: str) -> None:
    owed = _owe(tmp_path, [_pack(make_mr_series(LARGE)[0], syntax)])
    with StoragePeer() as peer:
        assert [one.status for one in _make_sender(tmp_path, peer.port).send("pacs", owed)] == ["0000"]
    assert (tmp_path / owed[0].path).read_bytes().endswith(peer.messages[0])
    assert peer.datasets[0].file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize("taken", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_a_compressed_object_is_decoded_for_a_peer_that_does_not_take_it_and_stays_the_same_image(
    tmp_path: Path, syntax: str, taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    objects = make_mr_series(LARGE)
    pixels = objects[0].pixel_array
    owed = _owe(tmp_path, [_pack(objects[0], syntax), objects[1]])
    with StoragePeer(syntaxes=[taken]) as peer, caplog.at_level(logging.INFO):
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", owed))
    assert [(one.stored, one.status) for one in outcomes] == [(True, "0000")] * 2
    received = peer.datasets[0]
    assert received.SOPInstanceUID == owed[0].sop_instance_uid
    assert received.file_meta.TransferSyntaxUID == taken
    assert np.array_equal(received.pixel_array, pixels)
    assert f"does not take {UID(syntax).name}; sent as {UID(taken).name}" in caplog.text


def test_colours_survive_decoding_on_the_way(tmp_path: Path) -> None:
    ds = make_mr_series(LARGE)[0]
    rgb = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.add_new("PixelData", "OB", rgb.tobytes())
    owed = _owe(tmp_path, [_pack(ds, JPEG2000Lossless)])
    with StoragePeer(syntaxes=[ExplicitVRLittleEndian]) as peer:
        assert [one.status for one in _make_sender(tmp_path, peer.port).send("pacs", owed)] == ["0000"]
    assert peer.datasets[0].PhotometricInterpretation == "RGB"
    assert np.array_equal(peer.datasets[0].pixel_array, rgb)


def test_frames_that_cannot_be_decoded_cost_that_instance_only(tmp_path: Path, objects: list[Dataset]) -> None:
    spoilt = _pack(objects[0], RLELossless)
    spoilt.PixelData = encapsulate([b"\x00" * 64])
    owed = _owe(tmp_path, [spoilt, objects[1]])
    with StoragePeer(syntaxes=[ExplicitVRLittleEndian]) as peer:
        outcomes = list(_make_sender(tmp_path, peer.port).send("pacs", owed))
    assert [one.status for one in outcomes] == [NOT_ENCODABLE, "0000"]


def test_a_missing_file_costs_that_instance_only(tmp_path: Path, deliveries: list[Delivery]) -> None:
    (tmp_path / deliveries[1].path).unlink()
    with StoragePeer() as peer:
        outcomes = {one.delivery: one.status for one in _make_sender(tmp_path, peer.port).send("pacs", deliveries)}
    assert outcomes.pop(deliveries[1]) == FILE_MISSING
    assert set(outcomes.values()) == {"0000"}
    assert len(outcomes) == len(peer.uids) == 9


def test_a_file_that_vanishes_while_it_is_sent_keeps_what_was_acknowledged(
    tmp_path: Path, deliveries: list[Delivery]
) -> None:
    def remove(event: evt.Event) -> None:
        (tmp_path / deliveries[2].path).unlink(missing_ok=True)

    with StoragePeer(on_store=remove) as peer:
        outcomes, error = _collect(_make_sender(tmp_path, peer.port).send("pacs", deliveries))
    assert [outcome.delivery for outcome in outcomes] == deliveries[:2]
    assert error is not None


def test_a_caller_that_stops_listening_releases_the_association(tmp_path: Path, deliveries: list[Delivery]) -> None:
    released: list[evt.Event] = []
    with StoragePeer() as peer:
        assert peer._server is not None
        peer._server.bind(evt.EVT_RELEASED, released.append)
        outcomes = _make_sender(tmp_path, peer.port).send("pacs", deliveries)
        next(outcomes)
        outcomes.close()  # type: ignore[attr-defined]
        deadline = time.monotonic() + 60
        while not released and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(released) == 1
    assert len(peer.uids) == 1


def test_the_connection_does_not_wait_for_full_packets(
    tmp_path: Path, deliveries: list[Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[tuple[int, ...]] = []
    real = socket.socket.setsockopt

    def note(one: socket.socket, *option: int) -> None:
        options.append(option)
        real(one, *option)

    monkeypatch.setattr("socket.socket.setsockopt", note)
    with StoragePeer() as peer:
        list(_make_sender(tmp_path, peer.port).send("pacs", deliveries[:1]))
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in options


def test_echo_tells_who_answers(tmp_path: Path) -> None:
    with StoragePeer() as peer:
        assert _make_sender(tmp_path, peer.port).echo("pacs") == "0000"
    with StoragePeer(sop_classes=[MRImageStorage]) as peer, pytest.raises(DestinationUnreachable, match="C-ECHO"):
        _make_sender(tmp_path, peer.port).echo("pacs")
    with pytest.raises(DestinationUnreachable):
        _make_sender(tmp_path, find_free_port()).echo("pacs")
