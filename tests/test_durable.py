"""A folder is synced, and only a folder."""

import os
from pathlib import Path

import pytest

from fusionnode.durable import sync_folder


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
