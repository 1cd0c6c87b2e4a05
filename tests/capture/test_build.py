import random
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from fusionnode.capture.build import CaptureRequest, build_captures
from fusionnode.domain.images import FusedStack
from tests.support.captures import (
    FIXED_LAYOUT,
    Scene,
    encode,
    make_job,
    make_motion,
    make_pipeline,
    make_request,
    make_scene,
    read_headers,
)
from tests.support.datasets import CORONAL, OBLIQUE, SAGITTAL, Layout
from tests.support.tools import validate_object

ORIENTED = [FIXED_LAYOUT, *(replace(FIXED_LAYOUT, orientation=o) for o in (OBLIQUE, CORONAL, SAGITTAL))]


def capture_one(index: int = 2, **changes: object) -> Dataset:
    return build_captures(make_request(**changes))[index]


def make_scene_with(which: str = "fixed", **values: object) -> Scene:
    scene = make_scene()
    for ds in getattr(scene, which):
        for keyword, value in values.items():
            setattr(ds, keyword, value)
    return scene


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(ORIENTED))
def test_the_same_request_gives_the_same_bytes(seed: int, layout: Layout) -> None:
    request = make_request(replace(make_scene(fixed=layout), seed=seed))
    assert [encode(ds) for ds in build_captures(request)] == [encode(ds) for ds in build_captures(request)]


def test_the_order_of_the_headers_changes_nothing() -> None:
    request = make_request()
    headers = list(request.fixed_headers)
    random.Random(7).shuffle(headers)
    shuffled = replace(request, fixed_headers=headers, moving_headers=list(reversed(request.moving_headers)))
    assert [encode(ds) for ds in build_captures(shuffled)] == [encode(ds) for ds in build_captures(request)]


@pytest.mark.parametrize("layout", ORIENTED)
def test_simpleitk_reads_the_series_where_the_mri_lies(layout: Layout, tmp_path: Path) -> None:
    request = make_request(make_scene(fixed=layout))
    for ds in build_captures(request):
        dcmwrite(tmp_path / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    directions = np.column_stack([layout.orientation[:3], layout.orientation[3:], layout.normal])
    np.testing.assert_allclose(image.GetOrigin(), layout.origin_mm, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), layout.spacing_mm[::-1], atol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), directions, atol=1e-6)
    assert np.array_equal(sitk.GetArrayFromImage(image), request.fused.rgb)


def test_instance_numbers_count_along_the_normal_even_where_the_grid_runs_against_it() -> None:
    request = make_request()
    grid = request.prepared.grid
    matrix = grid.patient_from_index.copy()
    matrix[:3, 3] += 4 * matrix[:3, 0]
    matrix[:3, 0] *= -1
    prepared = replace(
        request.prepared,
        grid=type(grid)(grid.shape, matrix),
        fixed_sources=tuple(reversed(request.prepared.fixed_sources)),
    )
    backwards = build_captures(replace(request, prepared=prepared))
    assert [ds.InstanceNumber for ds in build_captures(request)] == [1, 2, 3, 4, 5]
    assert [ds.InstanceNumber for ds in backwards] == [5, 4, 3, 2, 1]


def test_it_is_a_secondary_capture_that_cannot_be_taken_for_a_pet() -> None:
    ds = capture_one()
    assert (ds.SOPClassUID, ds.Modality) == (SecondaryCaptureImageStorage, "OT")
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "FUSED"]
    assert ds.ConversionType == "WSD"
    assert "not for primary diagnosis" in ds.SeriesDescription
    assert "not for primary diagnosis" in ds.ImageComments
    assert ds.BurnedInAnnotation == "NO"


def test_it_belongs_to_the_study_of_the_mri_in_a_series_of_its_own() -> None:
    scene = make_scene()
    ds = capture_one(scene=scene)
    assert ds.StudyInstanceUID == scene.fixed[0].StudyInstanceUID
    assert ds.SeriesInstanceUID not in {scene.fixed[0].SeriesInstanceUID, scene.moving[0].SeriesInstanceUID}
    assert ds.FrameOfReferenceUID == scene.fixed[0].FrameOfReferenceUID
    assert ds.SeriesNumber == 9001


def test_every_date_is_the_jobs_on_the_clock_of_the_hospital_not_the_machines() -> None:
    ds = capture_one(scene=make_scene_with(TimezoneOffsetFromUTC="+0100"))
    assert ds.TimezoneOffsetFromUTC == "+0100"
    dates = {ds.ContentDate, ds.SeriesDate, ds.InstanceCreationDate, ds.DateOfSecondaryCapture}
    times = {ds.ContentTime, ds.SeriesTime, ds.InstanceCreationTime, ds.TimeOfSecondaryCapture}
    assert (dates, times) == ({"20240307"}, {"003015.250000"})
    assert ds.StudyDate == "20240305"


def test_a_moment_from_long_ago_is_no_trouble() -> None:
    job = make_job(moment=datetime(1975, 6, 1, tzinfo=UTC))
    assert capture_one(job=job).ContentDate == "19750601"


def test_the_derivation_names_sources_operation_and_registration() -> None:
    request = make_request()
    ds = build_captures(request)[1]
    first, *others = ds.SourceImageSequence
    assert first.ReferencedSOPInstanceUID == request.prepared.fixed_sources[1].sop_instance_uid
    functional = {str(header.SOPInstanceUID) for header in request.moving_headers}
    assert others
    assert {item.ReferencedSOPInstanceUID for item in others} <= functional
    assert ds.DerivationCodeSequence[0].CodeValue == "113085"
    [registration] = ds.SourceInstanceSequence
    assert registration.ReferencedSOPInstanceUID == request.identity.registration_uid
    assert len(ds.ContributingEquipmentSequence) == 3


def test_what_is_referenced_is_also_found_by_study_and_series() -> None:
    ds = capture_one()
    listed = {i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}
    used = {i.ReferencedSOPInstanceUID for i in (*ds.SourceImageSequence, *ds.SourceInstanceSequence)}
    assert listed == used


def test_a_shared_frame_needs_no_registration_object() -> None:
    assert "SourceInstanceSequence" not in capture_one(scene=make_scene(shared=True))


@pytest.mark.parametrize(
    ("layout", "letters"),
    [(ORIENTED[0], ["L", "P"]), (ORIENTED[1], ["LP", "PFR"]), (ORIENTED[2], ["L", "F"]), (ORIENTED[3], ["P", "F"])],
)
def test_the_letters_of_the_edges_follow_the_orientation(layout: Layout, letters: list[str]) -> None:
    assert list(capture_one(scene=make_scene(fixed=layout)).PatientOrientation) == letters


@pytest.mark.parametrize(
    ("part", "fixed", "moving", "expected"),
    [
        ("BRAIN", "", "", "YES"),
        ("", "", "", "YES"),
        ("KNEE", "", "", None),
        ("KNEE", "", "YES", "YES"),
        ("BRAIN", "NO", "", "YES"),
        ("BRAIN", "NO", "NO", "NO"),
    ],
)
def test_a_head_has_a_face_unless_both_sources_say_it_was_removed(
    part: str, fixed: str, moving: str, expected: str | None
) -> None:
    scene = make_scene_with("fixed", BodyPartExamined=part, RecognizableVisualFeatures=fixed)
    for ds in scene.moving:
        ds.RecognizableVisualFeatures = moving
    assert capture_one(scene=scene).get("RecognizableVisualFeatures") == expected


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_text_burned_into_a_source_is_burned_into_the_picture(which: str) -> None:
    assert capture_one(scene=make_scene_with(which, BurnedInAnnotation="YES")).BurnedInAnnotation == "YES"


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_once_lossy_always_lossy(which: str) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
    ds = capture_one(scene=make_scene_with(which, **lossy, LossyImageCompressionMethod="ISO_10918_1"))
    assert (ds.LossyImageCompression, str(ds.LossyImageCompressionRatio)) == ("01", "12.5")
    assert ds.LossyImageCompressionMethod == "ISO_10918_1"
    assert capture_one().LossyImageCompression == "00"


def test_a_loss_that_only_the_transfer_syntax_tells_is_told() -> None:
    scene = make_scene()
    scene.moving[1].file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds = capture_one(scene=scene)
    assert (ds.LossyImageCompression, ds.LossyImageCompressionMethod) == ("01", "ISO_10918_1")


@pytest.mark.parametrize(("stated", "expected"), [("4.5", "4.5"), ("0", "3.0"), ("", "3.0")])
def test_the_slice_thickness_is_the_mris_or_else_the_distance_between_slices(stated: str, expected: str) -> None:
    ds = capture_one(scene=make_scene_with(SliceThickness=stated))
    assert (str(ds.SliceThickness), str(ds.SpacingBetweenSlices)) == (expected, "3.0")


def test_the_slice_thickness_of_an_enhanced_object_is_found_in_its_shared_groups() -> None:
    measures, shared = Dataset(), Dataset()
    measures.SliceThickness = "5.5"
    shared.PixelMeasuresSequence = [measures]
    scene = make_scene_with(SharedFunctionalGroupsSequence=[shared])
    for ds in scene.fixed:
        del ds.SliceThickness
    assert str(capture_one(scene=scene).SliceThickness) == "5.5"


def test_a_position_reference_indicator_is_carried_over() -> None:
    assert capture_one(scene=make_scene_with(PositionReferenceIndicator="AC")).PositionReferenceIndicator == "AC"


def test_items_are_not_shared_between_slices() -> None:
    scene = make_scene_with(PatientIdentityRemoved="YES", DeidentificationMethodCodeSequence=[make_code()])
    first, second, *_ = build_captures(make_request(scene))
    first.DeidentificationMethodCodeSequence[0].CodeMeaning = "changed"
    assert second.DeidentificationMethodCodeSequence[0].CodeMeaning == "Basic Application Confidentiality Profile"


def make_code() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code


def test_pictures_of_an_odd_number_of_bytes_come_back_whole() -> None:
    request = make_request(make_scene(fixed=Layout(slices=2, rows=3, columns=5)))
    rgb = np.full((2, 3, 5, 3), 255, np.uint8)
    captures = build_captures(replace(request, fused=FusedStack(rgb, "laplacian@1.0")))
    again = dcmread(BytesIO(encode(captures[1])))
    assert len(again.PixelData) == 46
    assert np.array_equal(again.pixel_array, rgb[1])


REAL = {
    "pet_axial": ("aanlib/pet_axial/mr", "aanlib/pet_axial/pt"),
    "pet_hybrid": ("aanlib/pet_hybrid/mr", "aanlib/pet_hybrid/pt"),
    "spect_a": ("aanlib/spect_a/mr", "aanlib/spect_a/nm"),
    "STS_001": ("sts_pet_mr/STS_001/MR_T1", "sts_pet_mr/STS_001/PET"),
    "STS_003": ("sts_pet_mr/STS_003/MR_T1", "sts_pet_mr/STS_003/PET"),
    "STS_004": ("sts_pet_mr/STS_004/MR_T1", "sts_pet_mr/STS_004/PET"),
}


def read_real(real_data: Path, name: str) -> CaptureRequest:
    fixed, moving = (read_headers(real_data / folder) for folder in REAL[name])
    shared = fixed[0].FrameOfReferenceUID == moving[0].FrameOfReferenceUID
    scene = Scene(fixed, moving) if shared else Scene(fixed, moving, make_motion())
    return make_request(scene)


def require_conforming(ds: Dataset, folder: Path) -> None:
    assert [line for line in validate_object(ds, folder) if line.startswith("Error")] == []


@pytest.mark.system
@pytest.mark.parametrize("modality", ["PT", "NM"])
@pytest.mark.parametrize("part", ["", "BRAIN", "KNEE"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_validator_finds_no_error(modality: str, part: str, shared: bool, tmp_path: Path) -> None:
    scene = make_scene(modality, shared=shared)
    for ds in scene.fixed:
        ds.BodyPartExamined = part
    for ds in build_captures(
        make_request(scene, pipeline=make_pipeline("A pipeline with rather a lot to say for itself"))
    )[::4]:
        require_conforming(ds, tmp_path)


@pytest.mark.system
@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_validator_finds_no_error_on_real_sources_odd_as_they_are(name: str, real_data: Path, tmp_path: Path) -> None:
    captures = build_captures(read_real(real_data, name))
    for ds in (captures[0], captures[len(captures) // 2], captures[-1]):
        require_conforming(ds, tmp_path)


@pytest.mark.system
def test_the_validator_would_find_an_error(tmp_path: Path) -> None:
    ds = capture_one()
    del ds.ConversionType
    assert any("ConversionType" in line and line.startswith("Error") for line in validate_object(ds, tmp_path))


def test_comments_carry_the_interval_and_what_is_shown() -> None:
    scene = make_scene()
    for ds in scene.moving:
        ds.AcquisitionDate = "20240307"
    for ds in scene.fixed:
        ds.AcquisitionDate = "20240305"
    (*_, last) = build_captures(make_request(scene))
    assert "Functional series acquired 2024-03-07, 2 days after the MRI." in last.ImageComments
    assert "Uptake shown 0 to 8.25 SUVbw." in last.ImageComments
