"""An association that cannot be had says why, whoever asked for it."""

import socket
from pathlib import Path

import pytest
from pydicom.uid import UID
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from fusionnode.delivery.destination import Destination
from fusionnode.dimse.association import open_association
from fusionnode.dimse.node import DicomNode, Patience
from fusionnode.errors import Unavailable
from fusionnode.retrieval.association import Peer
from fusionnode.settings import TlsSettings
from fusionnode.wiring import build_tls
from tests.support.archives import FIND, ArchivePeer, make_server_tls
from tests.support.certificates import make_authority
from tests.support.datasets import make_mr_series
from tests.support.pacs import StoragePeer, find_free_port

PATIENCE = Patience(2, 2, 2)


def _explain(node: DicomNode, service: str = Verification) -> str:
    with (
        pytest.raises(Unavailable, match=f"{node.ae_title} at 127.0.0.1:{node.port}") as raised,
        open_association(node, [build_context(UID(service))], PATIENCE),
    ):
        pytest.fail("there is nobody")
    return str(raised.value.facts["why"])


def test_nobody_there_is_no_connection() -> None:
    assert _explain(Destination("pacs", "PACS", "127.0.0.1", find_free_port(), "NODE")).startswith("no connection")


def test_one_that_accepts_and_says_nothing_is_not_waited_for_without_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert "no answer" in _explain(Destination("pacs", "PACS", "127.0.0.1", mute.getsockname()[1], "NODE"))


def test_a_rejection_is_told_in_the_words_of_the_standard() -> None:
    with StoragePeer(strict_title=True) as peer:
        why = _explain(Destination("pacs", "ANOTHER", "127.0.0.1", peer.port, "NODE"))
    assert why == "association rejected: Called AE title not recognised"


def test_a_certificate_that_nobody_vouches_for_is_told_to_archives_as_to_destinations(tmp_path: Path) -> None:
    authority, stranger = make_authority(tmp_path / "a"), make_authority(tmp_path / "b")
    tls = build_tls(TlsSettings(ca=stranger.own.certificate))
    with ArchivePeer(make_mr_series(), tls=make_server_tls(authority.issue("archive"))) as archive:
        for kind in (Destination, Peer):
            why = _explain(kind("pacs", "ARCHIVE", "127.0.0.1", archive.port, "NODE", tls), FIND)
            assert "certificate is not accepted" in why
        assert "TLS" not in _explain(Peer("pacs", "ARCHIVE", "127.0.0.1", archive.port, "NODE"), FIND)
    with StoragePeer() as plain:
        assert "no TLS connection" in _explain(Destination("pacs", "PACS", "127.0.0.1", plain.port, "NODE", tls))
