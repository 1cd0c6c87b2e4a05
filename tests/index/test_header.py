"""Headers of real, synthetic and hostile instances."""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite

from fusionnode.domain.series import GATHERED_ATTRIBUTES, INDEXED_ATTRIBUTES, InstanceHeader
from fusionnode.errors import DatasetUnreadable, Refused, UidMalformed
from fusionnode.flow.ports import StoredFile
from fusionnode.index.header import read_header
from tests.support.datasets import Gamma, Identity, Layout, make_mr_series, make_nm_recon, make_pt_series
from tests.support.enhanced import make_enhanced_mr

LAYOUT = Layout(slices=3, rows=6, columns=4)
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Dataset], InstanceHeader]:
    """Write a data set as it is, however odd, and read its header."""

    def write_and_read(ds: Dataset) -> InstanceHeader:
        path = tmp_path / "instance.dcm"
        ds.preamble = bytes(128)
        dcmwrite(path, ds, implicit_vr=False, little_endian=True)
        return read_header(StoredFile(path, "instances/1", "ab" * 32))

    return write_and_read


def make_slice(description: str = "") -> Dataset:
    return make_mr_series(LAYOUT, Identity(description=description))[1]


def put_text(ds: Dataset, keyword: str, text: str) -> None:
    """Set a value that pydicom would not let anybody write."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.add_new(keyword, "LO", text)


def test_the_facts_of_a_slice(read: Callable[[Dataset], InstanceHeader]) -> None:
    ds = make_slice()
    header = read(ds)
    assert (header.sop_instance_uid, header.series_instance_uid) == (ds.SOPInstanceUID, ds.SeriesInstanceUID)
    assert (header.sop_class_uid, header.study_instance_uid) == (ds.SOPClassUID, ds.StudyInstanceUID)
    assert header.frame_of_reference_uid == ds.FrameOfReferenceUID
    assert (header.modality, header.rows, header.columns, header.frames) == ("MR", 6, 4, 1)
    assert header.patient.patient_id == "TEST-1"
    assert (header.patient.birth_date, header.patient.sex) == ("19700101", "O")
    assert (header.path, header.sha256) == ("instances/1", "ab" * 32)
    assert header.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
    assert header.instance_number == 2
    assert header.position_mm == tuple(map(float, ds.ImagePositionPatient))
    assert header.orientation == tuple(map(float, ds.ImageOrientationPatient))
    assert header.pixel_spacing_mm == tuple(map(float, ds.PixelSpacing))
    assert header.acquired_at is not None
    assert header.acquired_at.date() == datetime(2024, 3, 5, tzinfo=UTC).date()


def test_attributes_are_those_a_pipeline_may_ask_for_and_no_others(read: Callable[[Dataset], InstanceHeader]) -> None:
    ds = make_slice("T1 MPRAGE")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.EchoTime = "2.98"
    ds.DiffusionBValue = 1000.0
    attributes = read(ds).attributes
    assert set(attributes) <= INDEXED_ATTRIBUTES | GATHERED_ATTRIBUTES
    assert attributes["ImageType"] == "ORIGINAL\\PRIMARY\\M\\ND"
    assert attributes["SeriesDescription"] == "T1 MPRAGE"
    assert (attributes["EchoTime"], attributes["DiffusionBValue"]) == ("2.98", "1000")
    assert all(attributes.values())


@pytest.mark.parametrize("keyword", UIDS)
def test_without_an_identifier_it_is_refused_by_its_name(
    read: Callable[[Dataset], InstanceHeader], keyword: str
) -> None:
    ds = make_slice()
    delattr(ds, keyword)
    with pytest.raises(DatasetUnreadable, match=keyword) as raised:
        read(ds)
    assert raised.value.facts["missing"] == [keyword]


@pytest.mark.parametrize("keyword", [*UIDS, "FrameOfReferenceUID"])
def test_a_uid_that_is_none_is_refused(read: Callable[[Dataset], InstanceHeader], keyword: str) -> None:
    ds = make_slice()
    put_text(ds, keyword, "../../etc/passwd")
    with pytest.raises(UidMalformed):
        read(ds)


def test_all_that_is_missing_is_told_at_once(read: Callable[[Dataset], InstanceHeader]) -> None:
    ds = Dataset()
    ds.file_meta = make_slice().file_meta
    ds.PatientID = "7"
    with pytest.raises(DatasetUnreadable) as raised:
        read(ds)
    assert raised.value.facts["missing"] == list(UIDS)


def test_what_may_be_missing_is_absent(read: Callable[[Dataset], InstanceHeader]) -> None:
    whole = make_slice()
    ds = Dataset()
    ds.file_meta = whole.file_meta
    for keyword in UIDS:
        setattr(ds, keyword, getattr(whole, keyword))
    header = read(ds)
    assert (header.modality, header.frame_of_reference_uid, header.patient.patient_id) == ("", "", "")
    assert (header.rows, header.columns, header.frames, header.claimed_slices) == (0, 0, 1, 0)
    assert (header.position_mm, header.orientation, header.pixel_spacing_mm) == (None, None, None)
    assert (header.instance_number, header.acquired_at, header.attributes) == (None, None, {})


@pytest.mark.parametrize(
    ("keyword", "text", "field", "expected"),
    [
        ("ImagePositionPatient", "1\\2", "position_mm", None),
        ("ImageOrientationPatient", "1\\0\\0\\0\\1\\nan", "orientation", None),
        ("PixelSpacing", "0\\1", "pixel_spacing_mm", None),
        ("PixelSpacing", "-1\\1", "pixel_spacing_mm", None),
        ("InstanceNumber", "three", "instance_number", None),
        ("ImagesInAcquisition", "-5", "claimed_slices", 0),
        ("ImagesInAcquisition", "170", "claimed_slices", 170),
    ],
)
def test_odd_values_count_as_absent(
    read: Callable[[Dataset], InstanceHeader], keyword: str, text: str, field: str, expected: object
) -> None:
    ds = make_slice()
    put_text(ds, keyword, text)
    assert getattr(read(ds), field) == expected


@pytest.mark.parametrize("text", ["0", "-1", "many", "99999999999999999999"])
def test_a_number_of_frames_that_is_none_is_refused(read: Callable[[Dataset], InstanceHeader], text: str) -> None:
    ds = make_slice()
    put_text(ds, "NumberOfFrames", text)
    with pytest.raises(DatasetUnreadable, match="Number of Frames"):
        read(ds)


@pytest.mark.parametrize(("birth_date", "kept"), [("1970.01.01", "19700101"), ("1970", ""), ("XXXXXXXX", "")])
def test_a_birth_date_is_a_date_or_nothing(
    read: Callable[[Dataset], InstanceHeader], birth_date: str, kept: str
) -> None:
    ds = make_slice()
    put_text(ds, "PatientBirthDate", birth_date)
    put_text(ds, "PatientSex", "unknown")
    patient = read(ds).patient
    assert (patient.birth_date, patient.sex) == (kept, "")


def test_the_largest_claim_counts(read: Callable[[Dataset], InstanceHeader]) -> None:
    ds = make_pt_series(LAYOUT)[0]
    ds.NumberOfSlices = 47
    ds.ImagesInAcquisition = 35
    assert read(ds).claimed_slices == 47


def test_nuclear_medicine_keeps_its_geometry_with_the_detector(read: Callable[[Dataset], InstanceHeader]) -> None:
    ds = make_nm_recon(LAYOUT)
    detector = ds.DetectorInformationSequence[0]
    header = read(ds)
    assert header.frames == LAYOUT.slices
    assert header.position_mm == tuple(map(float, detector.ImagePositionPatient))
    assert header.orientation == tuple(map(float, detector.ImageOrientationPatient))
    unlocated = read(make_nm_recon(LAYOUT, gamma=Gamma(located=False)))
    assert (unlocated.position_mm, unlocated.orientation) == (None, None)


def test_an_enhanced_object_keeps_its_geometry_in_functional_groups(
    read: Callable[[Dataset], InstanceHeader],
) -> None:
    ds = make_slice()
    shared, frame, plane, place, measures = (Dataset() for _ in range(5))
    plane.ImageOrientationPatient, place.ImagePositionPatient = ds.ImageOrientationPatient, ds.ImagePositionPatient
    measures.PixelSpacing = ds.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    frame.PlanePositionSequence = [place]
    expected = read(ds)
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
        delattr(ds, keyword)
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [frame, Dataset()]
    header = read(ds)
    assert (header.position_mm, header.orientation) == (expected.position_mm, expected.orientation)
    assert header.pixel_spacing_mm == expected.pixel_spacing_mm


def read_all(folder: Path) -> tuple[dict[str, InstanceHeader], dict[str, Refused]]:
    """Read every file; anything but a header or a refusal escapes and fails the test."""
    headers, refusals = {}, {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            headers[str(path)] = read_header(StoredFile(path, path.name, "00" * 32))
        except Refused as refusal:
            refusals[path.name] = refusal
    return headers, refusals


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_odd_or_hostile_file_is_read_or_refused(real_data: Path) -> None:
    headers, refusals = read_all(real_data / "robustness")
    assert len(headers) > 150
    assert "2026-05-06-Deeply-Nested-Sequence.dcm" in refusals
    assert all(refusal.message and refusal.remedy for refusal in refusals.values())


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("folder", "modalities"),
    [
        ("sts_pet_mr", {"MR", "PT", "CT"}),
        ("aanlib", {"MR", "PT", "NM"}),
        ("philips_mr", {"MR"}),
        ("nm", {"NM"}),
        ("mr_odd", {"MR"}),
        ("compressed_wg04", {"NM"}),
    ],
)
def test_real_scanners_are_understood(real_data: Path, folder: str, modalities: set[str]) -> None:
    headers, refusals = read_all(real_data / folder)
    assert not [name for name in refusals if name.endswith(".dcm")]
    assert {header.modality for header in headers.values()} >= modalities
    for path, header in headers.items():
        if header.rows:
            assert header.acquired_at is not None, path
        if header.modality in ("MR", "PT", "CT") and header.rows:
            assert header.position_mm is not None, path
            assert header.orientation is not None, path
            assert header.pixel_spacing_mm is not None, path


def test_a_multi_frame_object_tells_at_how_many_places_its_frames_lie(
    read: Callable[[Dataset], InstanceHeader],
) -> None:
    classic = make_mr_series(Layout(slices=5, rows=6, columns=4))
    assert read(make_enhanced_mr(classic)).places == 5
    dynamic = read(make_enhanced_mr(classic * 4))
    assert (dynamic.frames, dynamic.places) == (20, 5)
    silent = make_enhanced_mr(classic)
    del silent.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    assert read(silent).places == 0
    slots = make_nm_recon(Layout(slices=6, rows=6, columns=4), gamma=Gamma(slice_vector=(1, 2, 3, 1, 2, 3)))
    assert (read(slots).frames, read(slots).places) == (6, 3)
    assert read(make_slice()).places == 0


def test_the_universal_name_of_the_issuer_is_kept_with_its_type(read: Callable[[Dataset], InstanceHeader]) -> None:
    ds = make_slice()
    ds.IssuerOfPatientID = "HOSPITAL"
    assert (read(ds).patient.issuer, read(ds).patient.authority) == ("HOSPITAL", "")
    item = Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = "1.2.3", "ISO"
    ds.IssuerOfPatientIDQualifiersSequence = [item]
    assert read(ds).patient.authority == "ISO:1.2.3"
    item.UniversalEntityID = "1" * 1100
    with pytest.raises(DatasetUnreadable, match="more than 1000 characters"):
        read(ds)


def test_what_was_given_and_which_component_it_is_are_gathered(read: Callable[[Dataset], InstanceHeader]) -> None:
    attributes = read(make_pt_series(LAYOUT)[0]).attributes
    assert attributes["Radionuclide"] == "18"
    phase = make_slice()
    phase.ImageType = ["ORIGINAL", "PRIMARY", "P", "ND"]
    assert read(phase).attributes["ComplexImageComponent"] == "PHASE"
    spect = make_nm_recon(LAYOUT)
    limits, window = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = "126", "154"
    window.EnergyWindowRangeSequence = [limits]
    spect.EnergyWindowInformationSequence = [window]
    assert read(spect).attributes["EnergyWindow"] == "126-154"
