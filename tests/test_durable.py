"""What is made or written is there after a power cut, in an order that shows nothing half done."""

import os
from pathlib import Path

import pytest

from fusionnode.durable import make_folder, sync_folder, write_whole


def test_the_folder_itself_is_synced_and_no_handle_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    before = len(list(Path("/proc/self/fd").iterdir()))
    sync_folder(tmp_path)
    assert synced == [tmp_path.stat().st_ino]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")


def test_every_new_folder_is_synced_where_its_name_stands_from_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    made = tmp_path / "a" / "b" / "c"
    make_folder(made)
    assert synced == [folder.stat().st_ino for folder in (tmp_path, made.parents[1], made.parent)]
    assert {folder.stat().st_mode & 0o777 for folder in (made, made.parent, made.parents[1])} == {0o700}
    make_folder(made)
    assert len(synced) == 3


def test_what_stands_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            make_folder(place)


def test_a_file_is_written_whole_content_first_then_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    path = tmp_path / "note"
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append((Path(f"/proc/self/fd/{handle}").readlink().name, path.exists()))
    )
    write_whole(path, "a\nb")
    assert path.read_bytes() == b"a\nb"
    assert synced == [(".note.partial", False), (tmp_path.name, True)]


def test_a_file_that_cannot_be_written_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "note", "before")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "note", "after")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
