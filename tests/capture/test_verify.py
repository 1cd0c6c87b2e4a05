import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from highdicom import Image
from pydicom import Dataset, config, dcmread

from fusionnode.capture.blending import build_blending
from fusionnode.capture.build import CaptureRequest, build_captures
from fusionnode.capture.multiframe import build_stack
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.resampled import build_resampled
from fusionnode.capture.sheet_object import build_sheet
from fusionnode.capture.verify import verify_captures
from fusionnode.domain.images import FusedStack
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Sheet
from tests.support.captures import (
    Scene,
    encode,
    make_motion,
    make_request,
    make_scene,
    read_headers,
    with_output,
    with_uptake,
)
from tests.support.datasets import CORONAL, OBLIQUE, Layout
from tests.support.tools import validate_object

REQUEST = make_request()


def build_all(request: CaptureRequest = REQUEST) -> list[Dataset]:
    registration = build_registration(request)
    return [*build_captures(request), *([registration] if registration else [])]


def refuse(objects: list[Dataset], request: CaptureRequest = REQUEST) -> CaptureInvalid:
    with pytest.raises(CaptureInvalid) as refusal:
        verify_captures(objects, request)
    return refusal.value


@pytest.mark.parametrize("modality", ["PT", "NM"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), CORONAL, OBLIQUE])
def test_what_was_built_may_leave(modality: str, shared: bool, orientation: tuple[float, ...]) -> None:
    layout = Layout(4, 9, 7, orientation=orientation)  # type: ignore[arg-type]
    request = make_request(make_scene(modality, shared=shared, fixed=layout))
    verify_captures(build_all(request), request)


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("fixed", "moving", "shared"),
    [("aanlib/spect_a/mr", "aanlib/spect_a/nm", False), ("sts_pet_mr/STS_001/MR_T1", "sts_pet_mr/STS_001/PET", True)],
)
def test_what_was_built_from_real_sources_may_leave(fixed: str, moving: str, shared: bool, real_data: Path) -> None:
    headers = [read_headers(real_data / folder) for folder in (fixed, moving)]
    request = make_request(Scene(*headers) if shared else Scene(*headers, make_motion()))
    verify_captures(build_all(request), request)


def test_a_missing_slice_is_noticed() -> None:
    refusal = refuse(build_all()[1:])
    assert (refusal.facts["attribute"], refusal.facts["expected"], refusal.facts["found"]) == ("number of slices", 5, 4)


def test_a_missing_or_unneeded_registration_is_noticed() -> None:
    assert refuse(build_captures(REQUEST)).facts["attribute"] == "number of registration objects"
    shared = make_request(make_scene(shared=True))
    spare = build_all()[-1]
    assert refuse([*build_all(shared), spare], shared).facts["attribute"] == "number of registration objects"


def test_an_object_of_another_kind_is_noticed() -> None:
    objects = build_all()
    stranger = build_all(make_request(make_scene(shared=True), job=replace(REQUEST.job, id="other")))[0]
    stranger.SOPClassUID = stranger.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    assert refuse([*objects, stranger]).facts["attribute"] == "number of objects"


def test_slices_in_another_order_are_noticed() -> None:
    objects = build_all()
    objects[1], objects[2] = objects[2], objects[1]
    assert refuse(objects).facts["attribute"] == "ImagePositionPatient"


def test_other_pictures_are_noticed() -> None:
    rgb = REQUEST.fused.rgb.copy()
    rgb[3, 8, 6, 2] ^= 1
    refusal = refuse(build_all(), replace(REQUEST, fused=FusedStack(rgb, REQUEST.fused.model)))
    assert refusal.facts["attribute"] == "PixelData"


def set_value(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda ds: setattr(ds, keyword, value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", ["-14", "-15.002", "-12"]),
        ("ImageOrientationPatient", ["0.999", "0.0447", "0", "-0.0447", "0.999", "0"]),
        ("PixelSpacing", ["1.25", "1"]),
        ("SpacingBetweenSlices", "3.1"),
        ("FrameOfReferenceUID", "1.2.3"),
        ("StudyInstanceUID", "1.2.3"),
        ("SeriesInstanceUID", "1.2.3"),
        ("PatientID", "TEST-2"),
        ("PatientName", "Somebody^Else"),
        ("IssuerOfPatientID", "ELSEWHERE"),
        ("Modality", "PT"),
        ("InstanceNumber", 9),
        ("SeriesDescription", "PET"),
        ("ImageComments", "PET"),
        ("ImageType", ["ORIGINAL", "PRIMARY"]),
    ],
)
def test_a_wrong_value_is_noticed(keyword: str, value: object) -> None:
    objects = build_all()
    setattr(objects[2], keyword, value)
    noticed = str(refuse(objects).facts["attribute"])
    assert noticed in {keyword, "ImagePositionPatient"}


@pytest.mark.parametrize(
    "keyword",
    ["SourceImageSequence", "ConversionType", "BurnedInAnnotation", "StudyID", "ContentDate", "FrameOfReferenceUID"],
)
def test_a_missing_attribute_is_noticed(keyword: str) -> None:
    objects = build_all()
    del objects[4][keyword]
    assert refuse(objects).facts == {
        "attribute": keyword,
        "expected": "an attribute, empty or not" if keyword == "StudyID" else "a value",
        "found": "nothing",
        "sop_instance_uid": objects[4].SOPInstanceUID,
    }


def test_two_objects_with_one_uid_are_noticed() -> None:
    objects = build_all()
    uid = objects[0].SOPInstanceUID
    objects[1].SOPInstanceUID = objects[1].file_meta.MediaStorageSOPInstanceUID = uid
    assert refuse(objects).facts["attribute"] == "SOPInstanceUID"


def test_a_source_slice_of_another_place_is_noticed() -> None:
    objects = build_all()
    objects[1].SourceImageSequence = objects[2].SourceImageSequence
    assert refuse(objects).facts["attribute"] == "SourceImageSequence"


@pytest.mark.parametrize("index", [0, 1])
def test_a_turned_registration_matrix_is_noticed(index: int) -> None:
    objects = build_all()
    [step] = objects[-1].RegistrationSequence[index].MatrixRegistrationSequence[0].MatrixSequence
    step.FrameOfReferenceTransformationMatrix = [f"{v:.8f}" for v in make_motion().moving_from_fixed.ravel()]
    assert refuse(objects).facts["attribute"] == "FrameOfReferenceTransformationMatrix"


def test_a_registration_without_a_matrix_is_noticed() -> None:
    objects = build_all()
    del objects[-1].RegistrationSequence[1].MatrixRegistrationSequence
    assert refuse(objects).facts["attribute"] == "MatrixRegistrationSequence"


def test_truncated_pixels_are_noticed() -> None:
    objects = build_all()
    objects[2].PixelData = objects[2].PixelData[:100]
    assert refuse(objects).facts["attribute"] == "PixelData"


def test_what_cannot_be_written_is_refused_without_repeating_it() -> None:
    objects = build_all()
    objects[2].PatientName = "山田"
    for ds in objects:
        ds.SpecificCharacterSet = "ISO_IR 100"
    refusal = refuse(objects)
    assert "山田" not in f"{refusal} {refusal.facts}"
    assert refusal.__cause__ is None


@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_every_kind_of_object_is_read_by_strict_readers(modality: str) -> None:
    request = with_uptake(make_request(make_scene(modality), page=np.zeros((40, 40, 3), np.uint8)), scale=1.0)
    sheets = [build_sheet(with_output(request, sheet=sheet)) for sheet in (Sheet.PDF, Sheet.IMAGE)]
    objects = [*build_all(request), *build_resampled(request), *sheets, build_blending(request), build_stack(request)]
    before = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.RAISE
    try:
        for ds in objects:
            again = dcmread(BytesIO(encode(ds)))
            again.decode()
            assert [element.keyword for element in again.iterall()]
            if "PixelData" in again:
                assert Image.from_dataset(again).pixel_array.size
    finally:
        config.settings.reading_validation_mode = before


@pytest.mark.system
@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_the_documents_give_a_reason_for_everything_a_validator_warns_of(modality: str, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "fused-series.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", page.split("## What a validator warns of")[1]))
    request = with_uptake(make_request(make_scene(modality), page=np.zeros((40, 40, 3), np.uint8)), scale=1.0)
    sheets = [build_sheet(with_output(request, sheet=sheet)) for sheet in (Sheet.PDF, Sheet.IMAGE)]
    objects = [build_resampled(request)[0], *sheets, build_blending(request), build_stack(request)]
    for ds in [*build_all(request)[-2:], *objects]:
        spoken = validate_object(ds, tmp_path)
        assert not [line for line in spoken if line.startswith("Error")]
        for line in spoken:
            path = re.findall(r"(\w+)\([0-9a-f]{4},[0-9a-f]{4}\)", line) if line.startswith("Warning") else []
            assert not path or explained & set(path), line
