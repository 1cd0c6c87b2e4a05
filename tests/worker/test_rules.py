"""What a node would not pair is not fused by hand either."""

from pathlib import Path

import pytest
from pydicom import Dataset

from fusionnode.errors import PairingRefused
from fusionnode.intake.folder import read_folder
from fusionnode.pipeline.schema import Pipeline
from fusionnode.wiring import load_pipelines
from fusionnode.worker.files import FilesRequest, fuse_folders
from fusionnode.worker.rules import require_pair
from tests.support.datasets import Identity, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.nodes import FRAME, MOMENT, make_pair, make_settings


def _load(folder: Path, name: str, datasets: list[Dataset]) -> list[Dataset]:
    write_series(folder / name, datasets)
    return read_folder(folder / name)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return load_pipelines(make_settings(tmp_path), None)["mr-pt"]


def test_a_pair_of_one_patient_is_let_through(tmp_path: Path, pipeline: Pipeline) -> None:
    fixed, moving = make_pair()
    require_pair(pipeline, _load(tmp_path, "mr", fixed), _load(tmp_path, "pt", moving))


def test_two_patients_are_never_put_together_and_not_named(tmp_path: Path, pipeline: Pipeline) -> None:
    fixed, _ = make_pair()
    stranger = make_pt_series(identity=Identity("SOMEBODY-ELSE", frame_of_reference_uid=FRAME, series_number=2))
    with pytest.raises(PairingRefused) as refusal:
        require_pair(pipeline, _load(tmp_path, "mr", fixed), _load(tmp_path, "pt", stranger))
    assert "SOMEBODY" not in str(refusal.value)


@pytest.mark.parametrize("description", ["ADC map dwi", "localizer"])
def test_an_mri_the_pipeline_does_not_want_is_refused(tmp_path: Path, pipeline: Pipeline, description: str) -> None:
    _, moving = make_pair()
    fixed = make_mr_series(identity=Identity(frame_of_reference_uid=FRAME, description=description))
    with pytest.raises(PairingRefused, match="description"):
        require_pair(pipeline, _load(tmp_path, "mr", fixed), _load(tmp_path, "pt", moving))


def test_a_pet_in_the_part_of_the_mri_is_refused(tmp_path: Path, pipeline: Pipeline) -> None:
    _, moving = make_pair()
    both = _load(tmp_path, "pt", moving)
    with pytest.raises(PairingRefused):
        require_pair(pipeline, both, both)


def test_unpaired_fuses_all_the_same_and_says_so(tmp_path: Path, pipeline: Pipeline) -> None:
    fixed, _ = make_pair()
    stranger = make_pt_series(identity=Identity("SOMEBODY-ELSE", frame_of_reference_uid=FRAME, series_number=2))
    write_series(tmp_path / "mr", fixed)
    write_series(tmp_path / "pt", stranger)
    request = FilesRequest(tmp_path / "mr", tmp_path / "pt", tmp_path / "out", unpaired=True)
    report = fuse_folders(request, [pipeline], MOMENT)
    assert any("pairing rules" in warning for warning in report["registration"]["warnings"])
    [fused, *_] = read_folder(tmp_path / "out" / "fused")
    assert "pairing rules" in fused.ImageComments
