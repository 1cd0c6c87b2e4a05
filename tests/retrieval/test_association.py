"""Associations that are of no use, or are left in the middle; `tests/dimse` has those that cannot be had."""

import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.presentation import build_context

from fusionnode.dimse.node import Patience
from fusionnode.errors import ArchiveUnreachable
from fusionnode.retrieval.association import Peer, associate, require_status
from fusionnode.settings import TlsSettings
from fusionnode.wiring import build_tls
from tests.support.archives import FIND, MOVE, ArchivePeer, make_server_tls
from tests.support.certificates import make_authority
from tests.support.datasets import make_mr_series

HASTY = Patience(1, 1, 1)
CONTEXTS = [build_context(UID(FIND))]


def test_a_peer_without_the_service_is_told() -> None:
    with ArchivePeer(make_mr_series()) as archive:
        peer = Peer("pacs", "ARCHIVE", "127.0.0.1", archive.port, "NODE")
        with (
            pytest.raises(ArchiveUnreachable, match="none of the services"),
            associate(peer, [build_context(UID(MOVE))], HASTY),
        ):
            pass


def test_an_association_is_released_or_aborted_but_never_left_open() -> None:
    with ArchivePeer(make_mr_series()) as archive:
        peer = Peer("pacs", "ARCHIVE", "127.0.0.1", archive.port, "NODE")
        before = threading.active_count()
        with associate(peer, CONTEXTS, HASTY) as assoc:
            assert assoc.is_established
        assert assoc.is_released
        with pytest.raises(KeyError), associate(peer, CONTEXTS, HASTY) as broken:
            raise KeyError
        assert broken.is_aborted
        broken.join(5)
        assert threading.active_count() <= before + 2


def test_an_answer_without_a_status_is_a_broken_association() -> None:
    peer = Peer("pacs", "PACS", "127.0.0.1", 1, "NODE")
    with pytest.raises(ArchiveUnreachable, match="broke"):
        require_status(peer, Dataset(), "C-FIND")


def test_a_secured_archive_is_asked_only_where_its_authority_is_trusted(tmp_path: Path) -> None:
    authority, stranger = make_authority(tmp_path / "a"), make_authority(tmp_path / "b")
    with ArchivePeer(make_mr_series(), tls=make_server_tls(authority.issue("archive"))) as archive:
        for ca, trusted in ((authority, True), (stranger, False)):
            tls = build_tls(TlsSettings(ca=ca.own.certificate))
            peer = Peer("pacs", "ARCHIVE", "127.0.0.1", archive.port, "NODE", tls)
            told = nullcontext() if trusted else pytest.raises(ArchiveUnreachable)
            with told, associate(peer, CONTEXTS, HASTY) as assoc:
                assert assoc.is_established
        with pytest.raises(ArchiveUnreachable), associate(replace(peer, tls=None), CONTEXTS, HASTY):
            pass
