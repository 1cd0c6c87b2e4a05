"""The batch folder survives crashes, belongs to one batch, and knows no names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.batch.folder import open_batch
from fusionnode.errors import OutputOccupied

ASKED = {"archive": "a"}


def test_notes_are_there_after_it_was_closed(tmp_path: Path) -> None:
    with open_batch(tmp_path / "b", ASKED) as folder:
        folder.note("found", study="1.2")
        folder.note("searched")
    with open_batch(tmp_path / "b", ASKED) as folder:
        assert folder.list_notes("found") == [{"what": "found", "study": "1.2"}]
        assert [note["what"] for note in folder.list_notes("found", "searched")] == ["found", "searched"]


@given(cut=st.integers(0, 200))
def test_a_line_that_a_crash_cut_off_is_forgotten_and_no_other(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("batch") / "b"
    with open_batch(root, ASKED) as folder:
        for number in range(5):
            folder.note("found", study=str(number))
    journal = root / "journal.jsonl"
    content = journal.read_bytes()
    left = content[: max(0, len(content) - cut)]
    journal.write_bytes(left)
    with open_batch(root, ASKED) as folder:
        assert len(folder.list_notes("found")) == left.count(b"\n")
        folder.note("found", study="new")
        assert folder.list_notes("found")[-1]["study"] == "new"


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    with (
        open_batch(tmp_path, ASKED),
        pytest.raises(OutputOccupied, match="Another process"),
        open_batch(tmp_path, ASKED),
    ):
        pass


def test_another_batch_does_not_go_on_with_this_one(tmp_path: Path) -> None:
    with open_batch(tmp_path, ASKED):
        pass
    with pytest.raises(OutputOccupied, match="archive"), open_batch(tmp_path, {"archive": "b"}):
        pass


def test_what_no_batch_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputOccupied), open_batch(tmp_path, ASKED):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_pseudonym_is_the_same_in_one_batch_and_another_in_the_next(tmp_path: Path) -> None:
    with open_batch(tmp_path / "1", ASKED) as folder:
        name = folder.make_pseudonym("MEIER")
        assert folder.make_pseudonym(" MEIER ") == name
        assert folder.make_pseudonym("MEIER2") != name
    with open_batch(tmp_path / "1", ASKED) as folder:
        assert folder.make_pseudonym("MEIER") == name
    with open_batch(tmp_path / "2", ASKED) as folder:
        assert folder.make_pseudonym("MEIER") != name
    assert (tmp_path / "1" / "key").stat().st_mode & 0o077 == 0
