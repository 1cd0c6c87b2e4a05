"""Both kinds of archive, and the spool as inbox, are what the chapter says they are."""

from pathlib import Path

from fusionnode.batch.inbox import SpoolInbox
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.archive import Archive, Inbox
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dicomweb import WebArchive
from fusionnode.retrieval.dimse import DimseArchive


def test_both_kinds_of_archive_are_archives_under_the_site_s_name() -> None:
    archives: list[Archive] = [
        DimseArchive(Peer("pacs", "PACS", "127.0.0.1", 1, "NODE")),
        WebArchive("pacs", "http://127.0.0.1:1/dicom-web"),
    ]
    assert [archive.name for archive in archives] == ["pacs", "pacs"]


def test_a_spool_can_be_an_inbox(tmp_path: Path) -> None:
    spool = Spool(tmp_path, reserve_bytes=0)
    spool.prepare()
    inbox: Inbox = SpoolInbox(spool)
    assert inbox.list_missing(["1.2"]) == ["1.2"]
