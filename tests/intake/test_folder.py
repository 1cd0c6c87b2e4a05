"""A series from a folder: one series or a refusal that says why."""

from pathlib import Path

import pydicom
import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from fusionnode.errors import DatasetUnreadable, SeriesMixed
from fusionnode.intake.folder import read_again, read_folder
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


@pytest.mark.parametrize("tag", ["20000e00", "08001800"])
def test_read_folder_with_an_identifier_of_an_impossible_representation_names_the_file(
    tmp_path: Path, tag: str
) -> None:
    paths = write_series(tmp_path, make_mr_series())
    content = paths[3].read_bytes()
    paths[3].write_bytes(content.replace(bytes.fromhex(tag) + b"UI", bytes.fromhex(tag) + b"U4"))
    with pytest.raises(DatasetUnreadable, match=paths[3].name):
        read_folder(tmp_path)


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "SOPInstanceUID"])
def test_read_folder_with_a_sequence_for_an_identifier_names_the_file(tmp_path: Path, keyword: str) -> None:
    paths = write_series(tmp_path, make_mr_series())
    ds = pydicom.dcmread(paths[3])
    del ds[keyword]
    ds.add(DataElement(tag_for_keyword(keyword) or 0, "SQ", [Dataset()]))
    ds.save_as(paths[3])
    with pytest.raises(DatasetUnreadable, match=paths[3].name):
        read_folder(tmp_path)


def test_read_folder_finds_the_series_below_and_leaves_other_files_alone(tmp_path: Path) -> None:
    series = make_mr_series()
    write_series(tmp_path / "deep" / "down", series)
    (tmp_path / "README").write_text("about this series")
    found = read_folder(tmp_path)
    assert sorted(ds.SOPInstanceUID for ds in found) == sorted(ds.SOPInstanceUID for ds in series)


def test_a_file_that_lies_there_twice_is_one_instance(tmp_path: Path) -> None:
    paths = write_series(tmp_path, make_mr_series())
    (tmp_path / "again").mkdir()
    for path in paths[3:5]:
        (tmp_path / "again" / path.name).write_bytes(path.read_bytes())
    found = read_folder(tmp_path)
    assert sorted(ds.SOPInstanceUID for ds in found) == sorted(path.stem for path in paths)


def test_the_same_data_set_written_by_another_program_is_one_instance(tmp_path: Path) -> None:
    series = make_mr_series()
    write_series(tmp_path / "one", series)
    series[3].file_meta.ImplementationClassUID = generate_uid(entropy_srcs=["another program"])
    write_series(tmp_path / "other", series[3:4])
    assert len(read_folder(tmp_path)) == len(series)


def test_other_content_under_the_same_uid_is_kept_so_that_it_is_noticed(tmp_path: Path) -> None:
    series = make_mr_series()
    write_series(tmp_path / "one", series)
    series[3].PixelData = bytes(len(series[3].PixelData))
    write_series(tmp_path / "other", series[3:4])
    assert len(read_folder(tmp_path)) == len(series) + 1


def test_a_deflated_file_that_inflates_beyond_all_need_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionnode.volumes.bounds.MAX_INSTANCE_BYTES", 1 << 16)
    series = make_mr_series()
    write_series(tmp_path, series)
    assert len(read_folder(tmp_path)) == len(series)
    series[3].add_new(0x00091010, "OB", bytes(1 << 20))
    series[3].file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    (bomb,) = write_series(tmp_path, series[3:4])
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(DatasetUnreadable, match=rf"{bomb.name} takes more than"):
        read_folder(tmp_path)


def test_headers_first_and_the_whole_again(tmp_path: Path) -> None:
    write_series(tmp_path, make_mr_series())
    headers, whole = read_folder(tmp_path, pixels=False), read_folder(tmp_path)
    assert not any("PixelData" in ds for ds in headers)
    assert list(read_again(headers)) == whole


@pytest.mark.parametrize("other", [b"", b"no DICOM at all", "another instance"])
def test_a_file_that_changed_between_the_readings_is_refused(tmp_path: Path, other: bytes | str) -> None:
    headers = read_folder(write_series(tmp_path, make_mr_series())[0].parent, pixels=False)
    victim, neighbour = Path(headers[3].filename), Path(headers[4].filename)
    victim.write_bytes(neighbour.read_bytes() if isinstance(other, str) else other)
    with pytest.raises(DatasetUnreadable, match=victim.name):
        list(read_again(headers))
