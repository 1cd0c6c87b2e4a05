"""A series from a folder: one series or a refusal that says why."""

from pathlib import Path

import pytest

from fusionnode.errors import DatasetUnreadable, SeriesMixed
from fusionnode.intake.folder import read_folder
from tests.support.datasets import Identity, make_mr_series, make_pt_series
from tests.support.files import write_series


def test_read_folder_of_two_series_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, [*make_mr_series(), *make_pt_series(identity=Identity(series_number=2))])
    with pytest.raises(SeriesMixed, match="2 series"):
        read_folder(tmp_path)


def test_read_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DatasetUnreadable, match="no DICOM"):
        read_folder(tmp_path)


def test_read_folder_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnreadable, match="not a folder"):
        read_folder(tmp_path / "missing")


def test_read_folder_with_a_broken_file_names_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path, make_mr_series())
    content = paths[3].read_bytes()
    paths[3].write_bytes(content[:200])
    with pytest.raises(DatasetUnreadable, match=paths[3].name):
        read_folder(tmp_path)


def test_read_folder_finds_the_series_below_and_leaves_other_files_alone(tmp_path: Path) -> None:
    series = make_mr_series()
    write_series(tmp_path / "deep" / "down", series)
    (tmp_path / "README").write_text("about this series")
    found = read_folder(tmp_path)
    assert sorted(ds.SOPInstanceUID for ds in found) == sorted(ds.SOPInstanceUID for ds in series)
