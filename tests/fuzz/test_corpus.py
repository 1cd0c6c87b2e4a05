"""The corpus, and every input that ever broke something, once more; ``make fuzz`` looks for new ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode.intake.folder import read_folder
from fusionnode.intake.reports import ReportFolder
from fusionnode.volumes.assemble import assemble_volume
from tests.fuzz.seeds import CORPUS, list_seeds, make_neighbours
from tests.fuzz.targets import Target, listening, read_strange_header, read_strange_volume, wrap_dataset


def _list(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with listening(tmp_path_factory.mktemp("fuzzed")) as one:
        yield one


def test_the_seeds_are_what_good_peers_send_now() -> None:
    for place, content in list_seeds():
        assert (CORPUS / place).read_bytes() == content, f"{place}: run python -m tests.fuzz.seeds"


@pytest.mark.parametrize("path", _list("header"), ids=lambda path: path.name)
def test_a_strange_header_is_read_or_refused(path: Path, tmp_path: Path) -> None:
    read_strange_header(path.read_bytes(), tmp_path)


@pytest.mark.parametrize("path", _list("header"), ids=lambda path: path.name)
def test_a_strange_file_becomes_a_volume_or_is_refused(path: Path, tmp_path: Path) -> None:
    read_strange_volume(path.read_bytes(), tmp_path, make_neighbours())


@pytest.mark.parametrize("path", _list("pdu"), ids=lambda path: path.name)
def test_a_strange_conversation_is_ended_and_the_next_peer_is_served(path: Path, target: Target) -> None:
    target.send(path.read_bytes())
    target.require_life()


@pytest.mark.parametrize("name", ["store", "store-in-parts", "store-deflated"])
def test_a_good_conversation_of_the_corpus_really_stores_something(target: Target, name: str) -> None:
    target.send((CORPUS / "pdu" / name).read_bytes())
    assert len(list(target.spool.list_arrivals())) == 1
    target.require_life()


def test_a_report_of_the_corpus_is_really_kept(target: Target) -> None:
    target.send((CORPUS / "pdu" / "report").read_bytes())
    target.await_quiet()
    assert len(list(ReportFolder(target.spool.root).list_reports())) == 1
    target.require_life()


def test_a_good_object_of_the_corpus_really_becomes_a_volume(tmp_path: Path) -> None:
    (tmp_path / "mr.dcm").write_bytes(wrap_dataset((CORPUS / "header" / "mr-explicit").read_bytes()))
    mr = read_folder(tmp_path)
    neighbours = [ds for ds in make_neighbours() if ds.SeriesInstanceUID == mr[0].SeriesInstanceUID]
    assert assemble_volume([*mr, *neighbours]).voxels.shape == (3, 2, 2)
