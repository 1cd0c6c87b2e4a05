"""Files in, files out: the choice of pipeline, the report, and nothing half-written."""

import json
import stat
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.errors import OutputOccupied, PipelineInvalid, Refused
from fusionnode.intake.folder import read_again
from fusionnode.wiring import load_pipelines
from fusionnode.worker.files import STEPS, FilesRequest, choose_pipeline, fuse_folders
from tests.support.files import write_series
from tests.support.nodes import MOMENT, make_pair, make_settings


@pytest.fixture
def request_for(tmp_path: Path) -> FilesRequest:
    fixed, moving = make_pair()
    write_series(tmp_path / "mr", fixed)
    write_series(tmp_path / "pt", moving)
    return FilesRequest(tmp_path / "mr", tmp_path / "pt", tmp_path / "out")


def _pipelines(tmp_path: Path):  # type: ignore[no-untyped-def]
    return load_pipelines(make_settings(tmp_path), None).values()


def test_choose_pipeline_goes_by_modality_unless_one_is_named(tmp_path: Path) -> None:
    request = FilesRequest(tmp_path, tmp_path, tmp_path)
    pipelines = _pipelines(tmp_path)
    assert choose_pipeline(pipelines, request, "PT").name == "mr-pt"
    assert choose_pipeline(pipelines, request, "NM").name == "mr-nm"
    with pytest.raises(PipelineInvalid, match="CT"):
        choose_pipeline(pipelines, request, "CT")
    with pytest.raises(PipelineInvalid, match="perhaps the folders are swapped"):
        choose_pipeline(pipelines, request, "MR")
    named = FilesRequest(tmp_path, tmp_path, tmp_path, pipeline="mr-nm", network="average")
    chosen = choose_pipeline(pipelines, named, "PT")
    assert (chosen.name, chosen.fusion.model) == ("mr-nm", "average")
    with pytest.raises(PipelineInvalid, match="nothing-like-it"):
        choose_pipeline(pipelines, FilesRequest(tmp_path, tmp_path, tmp_path, pipeline="nothing-like-it"), "PT")


def test_fuse_folders_writes_what_its_report_lists(request_for: FilesRequest, tmp_path: Path) -> None:
    report = fuse_folders(request_for, _pipelines(tmp_path), MOMENT)
    assert json.loads((request_for.out / "report.json").read_text()) == report
    found = {str(path.relative_to(request_for.out)) for path in request_for.out.rglob("*") if path.is_file()}
    assert found == set(report["files"])
    folders = [request_for.out, *(path for path in request_for.out.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}, "patients' data, for nobody else"
    assert report["registration"]["method"] == "shared frame of reference"
    assert report["registration"]["moving_from_fixed"][0] == [1, 0, 0, 0]
    assert report["registration"]["displacement_mm"] == 0
    assert report["registration"]["centre_distance_mm"] is None
    assert report["registration"]["quality"] is None
    assert "TEST-1" not in json.dumps(report)


def test_present_folder_cannot_be_replaced_and_is_refused_before_any_work(
    request_for: FilesRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_for.out.mkdir()
    monkeypatch.chdir(request_for.out)
    told: list[str] = []
    request = FilesRequest(request_for.fixed, request_for.moving, Path())
    with pytest.raises(OutputOccupied, match="cannot be replaced"):
        fuse_folders(request, _pipelines(tmp_path), MOMENT, told.append)
    assert not told


def test_fuse_folders_tells_as_many_steps_as_it_promised(request_for: FilesRequest, tmp_path: Path) -> None:
    told: list[str] = []
    report = fuse_folders(request_for, _pipelines(tmp_path), MOMENT, told.append)
    assert told == list(report["seconds"])
    assert len(told) == STEPS


def test_fuse_folders_holds_the_files_of_one_series_at_a_time(
    request_for: FilesRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again and counted while they are held: a data set with pixels that nobody needs any more is gone."""
    read: list[weakref.ref[Dataset]] = []
    held: list[set[str]] = []

    def watch(datasets: Iterable[Dataset]) -> Iterator[Dataset]:
        for ds in read_again(datasets):
            read.append(weakref.ref(ds))
            held.append({one.Modality for known in read if (one := known()) is not None})
            yield ds

    monkeypatch.setattr("fusionnode.worker.files.read_again", watch)
    fuse_folders(request_for, _pipelines(tmp_path), MOMENT)
    assert sorted(map(sorted, held)) == [["MR"]] * 10 + [["PT"]] * 10


def test_fuse_folders_never_overwrites(request_for: FilesRequest, tmp_path: Path) -> None:
    request_for.out.mkdir()
    (request_for.out / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputOccupied):
        fuse_folders(request_for, _pipelines(tmp_path), MOMENT)
    assert [path.name for path in request_for.out.iterdir()] == ["thesis.txt"]


def test_fuse_folders_that_refuses_leaves_nothing(request_for: FilesRequest, tmp_path: Path) -> None:
    next(request_for.fixed.iterdir()).unlink()
    victim = sorted(request_for.fixed.iterdir())[4]
    victim.unlink()
    with pytest.raises(Refused):
        fuse_folders(request_for, _pipelines(tmp_path), MOMENT)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "spool") == ["mr", "pt"]
