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
from pydicom.uid import SecondaryCaptureImageStorage

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
    make_scene_with,
    read_headers,
)
from tests.support.datasets import CORONAL, OBLIQUE, SAGITTAL, Layout
from tests.support.tools import validate_object

ORIENTED = [FIXED_LAYOUT, *(replace(FIXED_LAYOUT, orientation=o) for o in (OBLIQUE, CORONAL, SAGITTAL))]


def capture_one(index: int = 2, **changes: object) -> Dataset:
    return build_captures(make_request(**changes))[index]


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
