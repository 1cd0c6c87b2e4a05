"""Folder trees as people keep them: nested, mixed, half broken."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionnode.batch.folder import BatchFolder, open_batch
from fusionnode.batch.tree import gather_trees
from fusionnode.errors import DatasetUnreadable
from fusionnode.intake.spool import Spool
from tests.support.archives import make_inbox
from tests.support.datasets import Layout, make_mr_series, make_pt_series
from tests.support.files import write_series

SMALL = Layout(slices=3, rows=8, columns=8)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[BatchFolder]:
    with open_batch(tmp_path / "batch", {}) as opened:
        yield opened


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    write_series(root / "a" / "b", make_mr_series(SMALL))
    write_series(root / "c", make_pt_series(SMALL))
    return root


def test_the_wanted_modalities_are_brought_from_wherever_they_lie(
    tree: Path, folder: BatchFolder, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    told: list[tuple[int, int]] = []
    gather_trees([tree], make_inbox(spool), folder, {"MR"}, lambda done, total: told.append((done, total)))
    assert len(list(spool.list_arrivals())) == 3
    assert told[-1] == (6, 6)
    assert folder.list_notes("fetched")[0]["instances"] == 3


def test_what_is_no_dicom_is_passed_over_and_what_is_broken_costs_itself_only(
    tree: Path, folder: BatchFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tree / "notes.txt").write_text("hello")
    (tree / "empty").touch()
    broken = tree / "MEIER.dcm"
    broken.write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\xff\xff")
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    gather_trees([tree], make_inbox(spool), folder, {"MR", "PT"}, lambda *_: None)
    assert len(list(spool.list_arrivals())) == 6
    assert len(folder.list_notes("unusable")) == 1
    assert "MEIER" not in str(folder.list_notes("unusable")) + caplog.text
    assert str(broken) in (folder.root / "unusable.txt").read_text()


def test_it_is_not_gone_through_again(tree: Path, folder: BatchFolder, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    for _ in range(2):
        gather_trees([tree], make_inbox(spool), folder, {"MR", "PT"}, lambda *_: None)
    assert len(folder.list_notes("fetched")) == 1


def test_a_folder_that_is_none_is_told(folder: BatchFolder, tmp_path: Path) -> None:
    with pytest.raises(DatasetUnreadable):
        gather_trees([tmp_path / "no"], make_inbox(Spool(tmp_path / "spool", 0)), folder, {"MR"}, lambda *_: None)
