"""What a node would not pair is not fused by hand either."""

from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage, RawDataStorage, SecondaryCaptureImageStorage

from fusionnode.domain.series import Series
from fusionnode.errors import GeometryIrregular, PairingRefused, SeriesUnsupported
from fusionnode.intake.folder import read_folder
from fusionnode.pipeline.schema import Pipeline
from fusionnode.wiring import load_pipelines
from fusionnode.worker.files import FilesRequest, fuse_folders
from fusionnode.worker.rules import index_series, require_pair, require_whole
from tests.support.datasets import Identity, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.nodes import FRAME, MOMENT, make_pair, make_settings


def _load(folder: Path, name: str, datasets: list[Dataset]) -> Series:
    write_series(folder / name, datasets)
    return index_series(read_folder(folder / name))


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


def test_a_whole_series_is_let_through(tmp_path: Path) -> None:
    for name, datasets in zip(("mr", "pt"), make_pair(), strict=True):
        series = _load(tmp_path, name, datasets)
        require_whole(series, tmp_path / name)
        assert (len(series.instances), series.conflicts) == (10, ())


def test_a_last_slice_that_only_the_count_tag_misses_is_missed_by_hand_too(tmp_path: Path) -> None:
    _, moving = make_pair()
    for ds in moving:
        ds.NumberOfSlices = 10
    series = _load(tmp_path, "pt", moving[:-1])
    with pytest.raises(GeometryIrregular, match="9 arrived where a count tag says 10"):
        require_whole(series, tmp_path / "pt")


def test_a_gap_is_named(tmp_path: Path) -> None:
    fixed, _ = make_pair()
    with pytest.raises(GeometryIrregular, match=r"1 slice\(s\) missing at"):
        require_whole(_load(tmp_path, "mr", [*fixed[:4], *fixed[5:]]), tmp_path / "mr")


def test_other_content_under_one_uid_is_refused_by_its_uid(tmp_path: Path) -> None:
    fixed, _ = make_pair()
    write_series(tmp_path / "mr" / "again", fixed[4:5])
    fixed[4].PixelData = bytes(len(fixed[4].PixelData))
    series = _load(tmp_path, "mr", fixed)
    with pytest.raises(GeometryIrregular, match=f"duplicated .* other content: {fixed[4].SOPInstanceUID}"):
        require_whole(series, tmp_path / "mr")


@pytest.mark.parametrize(
    ("sop_class", "modality", "words"),
    [
        (CTImageStorage, "CT", "holds CT images: nothing that can be fused"),
        (SecondaryCaptureImageStorage, "OT", "holds secondary captures: nothing that can be fused"),
        ("1.2.840.10008.5.1.4.1.1.88.22", "SR", "holds structured reports: nothing that can be fused"),
        ("1.2.840.10008.5.1.4.1.1.4", "US", "has modality US, which is not one that is fused"),
    ],
)
def test_what_no_node_would_fuse_is_refused_as_what_it_is(
    tmp_path: Path, sop_class: str, modality: str, words: str
) -> None:
    fixed, _ = make_pair()
    for ds in fixed:
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
        ds.Modality = modality
    with pytest.raises(SeriesUnsupported, match=words):
        require_whole(_load(tmp_path, "mr", fixed), tmp_path / "mr")


def test_raw_data_among_the_images_is_left_alone(tmp_path: Path, pipeline: Pipeline) -> None:
    fixed, moving = make_pair()
    for name, datasets in (("plain", fixed), ("mr", fixed), ("pt", moving)):
        write_series(tmp_path / name, datasets)
    raw = fixed[0]
    raw.SOPClassUID = raw.file_meta.MediaStorageSOPClassUID = RawDataStorage
    raw.SOPInstanceUID = raw.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    for keyword in ("Rows", "Columns", "PixelData", "ImagePositionPatient", "FrameOfReferenceUID"):
        delattr(raw, keyword)
    write_series(tmp_path / "mr", [raw])
    reports = [
        fuse_folders(FilesRequest(tmp_path / name, tmp_path / "pt", tmp_path / f"out-{name}"), [pipeline], MOMENT)
        for name in ("plain", "mr")
    ]
    pictures = [read_folder(tmp_path / f"out-{name}" / "fused") for name in ("plain", "mr")]
    assert reports[0]["registration"] == reports[1]["registration"]
    assert [ds.PixelData for ds in pictures[0]] == [ds.PixelData for ds in pictures[1]]


def test_unpaired_does_not_make_a_series_whole(tmp_path: Path, pipeline: Pipeline) -> None:
    fixed, moving = make_pair()
    write_series(tmp_path / "mr", [*fixed[:4], *fixed[5:]])
    write_series(tmp_path / "pt", moving)
    request = FilesRequest(tmp_path / "mr", tmp_path / "pt", tmp_path / "out", unpaired=True)
    with pytest.raises(GeometryIrregular):
        fuse_folders(request, [pipeline], MOMENT)
    assert not (tmp_path / "out").exists()
