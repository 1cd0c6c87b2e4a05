"""A series is fetched until it is whole, and what never comes is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.dimse.node import Patience
from fusionnode.errors import ArchiveUnreachable, RetrievalIncomplete
from fusionnode.intake.spool import Spool
from fusionnode.retrieval.association import Peer
from fusionnode.retrieval.dimse import DimseArchive
from fusionnode.retrieval.findings import FoundSeries
from fusionnode.retrieval.retrieve import Perseverance, retrieve_series
from tests.support.archives import ArchivePeer, make_inbox
from tests.support.datasets import Layout, make_mr_series
from tests.support.pacs import find_free_port

SMALL = Layout(slices=5, rows=8, columns=8)


@pytest.fixture
def datasets() -> list[Dataset]:
    return make_mr_series(SMALL)


@pytest.fixture
def peer(datasets: list[Dataset]) -> Iterator[ArchivePeer]:
    with ArchivePeer(datasets) as running:
        yield running


def _open(port: int) -> DimseArchive:
    address = Peer("pacs", "ARCHIVE", "127.0.0.1", port, "NODE")
    return DimseArchive(address, patience=Patience(5, 5, 5))


def _series(datasets: list[Dataset], instances: int | None = 5) -> FoundSeries:
    return FoundSeries(datasets[0].StudyInstanceUID, datasets[0].SeriesInstanceUID, "MR", instances)


def _patience(pauses: list[float]) -> Perseverance:
    return Perseverance(attempts=3, pause_seconds=0.5, sleep=pauses.append)


def test_what_is_missing_is_asked_for_again_by_name(peer: ArchivePeer, datasets: list[Dataset], tmp_path: Path) -> None:
    late = datasets[2].SOPInstanceUID
    peer.withheld[late] = 1
    pauses: list[float] = []
    inbox = make_inbox(Spool(tmp_path, reserve_bytes=0))
    assert retrieve_series(_open(peer.port), _series(datasets), inbox, _patience(pauses)) == 5
    assert peer.gets == 2
    assert peer.identifiers[-1].SOPInstanceUID == late
    assert pauses == [0.5]


def test_what_is_here_is_not_fetched_again(peer: ArchivePeer, datasets: list[Dataset], tmp_path: Path) -> None:
    inbox = make_inbox(Spool(tmp_path, reserve_bytes=0))
    for _ in range(2):
        assert retrieve_series(_open(peer.port), _series(datasets), inbox, _patience([])) == 5
    assert peer.gets == 1


def test_what_never_comes_is_reported_and_the_rest_kept(
    peer: ArchivePeer, datasets: list[Dataset], tmp_path: Path
) -> None:
    lost = datasets[4].SOPInstanceUID
    peer.withheld[lost] = 100
    pauses: list[float] = []
    spool = Spool(tmp_path, reserve_bytes=0)
    with pytest.raises(RetrievalIncomplete, match="1 of 5") as caught:
        retrieve_series(_open(peer.port), _series(datasets), make_inbox(spool), _patience(pauses))
    assert caught.value.facts["missing"] == [lost]
    assert len(list(spool.list_arrivals())) == 4
    assert (peer.gets, pauses) == (3, [0.5, 1.0])


def test_an_archive_that_lists_fewer_than_it_counts_must_send_them_all(
    peer: ArchivePeer, datasets: list[Dataset], tmp_path: Path
) -> None:
    peer.limit = 3
    inbox = make_inbox(Spool(tmp_path, reserve_bytes=0))
    assert retrieve_series(_open(peer.port), _series(datasets), inbox, _patience([])) == 5
    with pytest.raises(RetrievalIncomplete, match="counts 6 instances of it and lists 3"):
        retrieve_series(_open(peer.port), _series(datasets, instances=6), inbox, _patience([]))


def test_without_a_count_the_list_decides(peer: ArchivePeer, datasets: list[Dataset], tmp_path: Path) -> None:
    inbox = make_inbox(Spool(tmp_path, reserve_bytes=0))
    assert retrieve_series(_open(peer.port), _series(datasets, instances=None), inbox, _patience([])) == 5


def test_a_series_of_nothing_is_not_whole(peer: ArchivePeer, datasets: list[Dataset], tmp_path: Path) -> None:
    nothing = FoundSeries(datasets[0].StudyInstanceUID, "1.2.3", "MR", None)
    with pytest.raises(RetrievalIncomplete):
        retrieve_series(_open(peer.port), nothing, make_inbox(Spool(tmp_path, reserve_bytes=0)), _patience([]))


def test_an_archive_that_is_away_is_asked_again_and_then_named(datasets: list[Dataset], tmp_path: Path) -> None:
    pauses: list[float] = []
    inbox = make_inbox(Spool(tmp_path, reserve_bytes=0))
    with pytest.raises(ArchiveUnreachable, match="pacs"):
        retrieve_series(_open(find_free_port()), _series(datasets), inbox, _patience(pauses))
    assert pauses == [0.5, 1.0]
