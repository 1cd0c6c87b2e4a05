"""What a node would not pair is not fused by hand either."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID, CTImageStorage, RawDataStorage, SecondaryCaptureImageStorage

from fusionnode.domain.series import Series
from fusionnode.errors import GeometryIrregular, PairingRefused, SeriesUnsupported
from fusionnode.intake.folder import read_folder
from fusionnode.pairing.match import match_pairs
from fusionnode.pipeline.schema import Pipeline
from fusionnode.wiring import load_pipelines
from fusionnode.worker.files import FilesRequest, fuse_folders
from fusionnode.worker.rules import index_series, require_one_patient, require_pair, require_whole, trusts_frame
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.files import write_series
from tests.support.nodes import FRAME, MOMENT, make_pair, make_settings

SAMPLE = Path(__file__).parents[2] / "dicom_samples" / "head"


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
    fixed, moving = make_pair()
    for ds in fixed:
        ds.SeriesDescription = "ADC map dwi"
    write_series(tmp_path / "mr", fixed)
    write_series(tmp_path / "pt", moving)
    request = FilesRequest(tmp_path / "mr", tmp_path / "pt", tmp_path / "out", unpaired=True)
    report = fuse_folders(request, [pipeline], MOMENT)
    assert report["registration"]["method"] == "shared frame of reference"
    told = [warning for warning in report["registration"]["warnings"] if "pairing rules" in warning]
    assert told[0].endswith("Their shared frame of reference was trusted, as a node would: nothing was registered.")
    [fused, *_] = read_folder(tmp_path / "out" / "fused")
    assert "pairing rules" in fused.ImageComments


_ONE_STUDY = {"study_uid": "1.2.3", "frame_of_reference_uid": FRAME}
_FRAMES = {
    "one study": (_ONE_STUDY, _ONE_STUDY, True),
    "one study, a week apart": (_ONE_STUDY, {**_ONE_STUDY, "study_date": "20240312"}, True),
    "other studies of one day": (_ONE_STUDY, {**_ONE_STUDY, "study_uid": "1.2.4"}, True),
    "other studies, a week apart": (
        _ONE_STUDY,
        {**_ONE_STUDY, "study_uid": "1.2.4", "study_date": "20240312"},
        False,
    ),
    "other studies, one undated": (_ONE_STUDY, {**_ONE_STUDY, "study_uid": "1.2.4", "study_date": ""}, False),
    "another patient": (_ONE_STUDY, {**_ONE_STUDY, "patient_id": "SOMEBODY-ELSE"}, False),
    "another birth date": (_ONE_STUDY, {**_ONE_STUDY, "birth_date": "19991231"}, False),
    "nobody's": ({**_ONE_STUDY, "patient_id": ""}, {**_ONE_STUDY, "patient_id": ""}, False),
    "another frame": (_ONE_STUDY, {**_ONE_STUDY, "frame_of_reference_uid": f"{FRAME}.1"}, False),
}


@pytest.mark.parametrize(("fixed", "moving", "trusted"), _FRAMES.values(), ids=_FRAMES)
def test_a_frame_of_reference_is_trusted_by_hand_where_a_node_trusts_it(
    tmp_path: Path, pipeline: Pipeline, fixed: dict[str, str], moving: dict[str, str], trusted: bool
) -> None:
    layout = Layout(slices=10, rows=24, columns=20)
    one = _load(tmp_path, "mr", make_mr_series(layout, Identity(**fixed)))  # type: ignore[arg-type]
    moving_identity = Identity(**moving, series_number=2)  # type: ignore[arg-type]
    other = _load(tmp_path, "pt", make_pt_series(layout, moving_identity))
    assert trusts_frame(pipeline, one, other) is trusted
    pairs = match_pairs(pipeline, [one, other], MOMENT).pairs
    # What the rules do pair, they pair with the same judgement of the frame.
    assert all(pair.shared_frame is trusted for pair in pairs)


def test_unpaired_registers_what_shares_a_frame_that_a_node_would_not_trust(tmp_path: Path, pipeline: Pipeline) -> None:
    for folder in ("mr", "pt"):
        datasets = read_folder(SAMPLE / folder)
        for ds in datasets:
            ds.FrameOfReferenceUID = FRAME
            if folder == "pt":
                ds.StudyInstanceUID = "1.2.3"
                ds.AcquisitionDate = ds.SeriesDate = ds.StudyDate = "20200101"
        write_series(tmp_path / folder, datasets)
    request = FilesRequest(tmp_path / "mr", tmp_path / "pt", tmp_path / "out", network="average")
    with pytest.raises(PairingRefused, match="shared across studies"):
        fuse_folders(request, [pipeline], MOMENT)
    report = fuse_folders(replace(request, unpaired=True), [pipeline], MOMENT)
    assert report["registration"]["method"] == "rigid registration"
    assert any("do not trust it" in note for note in report["notes"])
    assert "registration.dcm" in report["files"]
    moving_item = dcmread(tmp_path / "out" / "registration.dcm").RegistrationSequence[1]
    assert "FrameOfReferenceUID" not in moving_item


@pytest.mark.parametrize("keyword", ["PatientID", "PatientBirthDate", "IssuerOfPatientID"])
@pytest.mark.parametrize("folder", ["mr", "pt"])
def test_a_series_of_two_patients_is_never_fused(tmp_path: Path, pipeline: Pipeline, keyword: str, folder: str) -> None:
    series = dict(zip(("mr", "pt"), make_pair(), strict=True))
    for number, ds in enumerate(series[folder]):
        setattr(ds, keyword, "19801224" if number > 6 else "19700101")
    for name, datasets in series.items():
        write_series(tmp_path / name, datasets)
    request = FilesRequest(tmp_path / "mr", tmp_path / "pt", tmp_path / "out", unpaired=True)
    with pytest.raises(PairingRefused, match="its instances name different patients") as refusal:
        fuse_folders(request, [pipeline], MOMENT)
    assert "1980" not in f"{refusal.value}{refusal.value.facts}"
    assert not (tmp_path / "out").exists()


def test_slices_that_do_not_say_whose_they_are_contradict_nobody(tmp_path: Path) -> None:
    fixed, _ = make_pair()
    for ds in fixed[5:]:
        ds.PatientID = ds.PatientBirthDate = ""
    require_one_patient(_load(tmp_path, "mr", fixed), tmp_path / "mr")


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
