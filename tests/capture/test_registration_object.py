from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import SpatialRegistrationStorage

from fusionnode.capture.build import build_captures
from fusionnode.capture.registration_object import build_registration
from tests.support.captures import (
    FRAME,
    OTHER_FRAME,
    Scene,
    carry,
    encode,
    make_motion,
    make_request,
    make_scene,
    read_headers,
    write_and_read,
)
from tests.support.tools import validate_object


def register(**changes: object) -> Dataset:
    ds = build_registration(make_request(**changes))
    assert ds is not None
    return ds


def read_matrices(ds: Dataset) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """As PS3.3 C.20.2 tells another program to read it: from each frame of reference to that of the object."""
    [again] = write_and_read([ds])
    matrices = {}
    for item in again.RegistrationSequence:
        [step] = item.MatrixRegistrationSequence[0].MatrixSequence
        numbers = [float(text) for text in step.FrameOfReferenceTransformationMatrix]
        matrices[str(item.FrameOfReferenceUID)] = np.asarray(numbers).reshape(4, 4)
    return matrices


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180), st.tuples(*[st.floats(-300, 300)] * 3), st.tuples(*[st.floats(-250, 250)] * 3))
def test_another_program_carries_a_point_of_the_functional_series_onto_its_place_in_the_mri(
    angle_deg: float, shift_mm: tuple[float, float, float], point_mm: tuple[float, float, float]
) -> None:
    motion = make_motion(angle_deg, shift_mm)
    matrices = read_matrices(register(scene=replace(make_scene(), motion=motion)))
    in_fixed = np.asarray([point_mm])
    in_moving = carry(in_fixed, motion.moving_from_fixed)
    np.testing.assert_allclose(carry(in_moving, matrices[OTHER_FRAME]), in_fixed, atol=1e-6)
    np.testing.assert_array_equal(matrices[FRAME], np.eye(4))


def test_the_direction_shows_in_a_pure_translation() -> None:
    # The same anatomy lies 10 mm further left in the functional series, so it must be carried 10 mm to the right.
    scene = replace(make_scene(), motion=make_motion(0.0, (10.0, 0.0, 0.0)))
    np.testing.assert_allclose(read_matrices(register(scene=scene))[OTHER_FRAME][:3, 3], [-10, 0, 0])


def test_the_same_request_gives_the_same_bytes() -> None:
    assert encode(register()) == encode(register())


def test_a_shared_frame_of_reference_needs_none() -> None:
    assert build_registration(make_request(make_scene(shared=True))) is None


def test_a_functional_series_without_a_frame_of_reference_is_named_by_its_images() -> None:
    _, moving = register(moving_frame_of_reference_uid="").RegistrationSequence
    assert "FrameOfReferenceUID" not in moving
    assert len(moving.ReferencedImageSequence) == 8


def test_it_is_the_object_the_captures_name_in_the_frame_of_the_mri() -> None:
    request = make_request()
    ds = register()
    [named] = build_captures(request)[0].SourceInstanceSequence
    assert (named.ReferencedSOPInstanceUID, named.ReferencedSOPClassUID) == (ds.SOPInstanceUID, ds.SOPClassUID)
    assert (ds.SOPClassUID, ds.Modality, ds.FrameOfReferenceUID) == (SpatialRegistrationStorage, "REG", FRAME)
    assert ds.StudyInstanceUID == request.head.StudyInstanceUID
    assert ds.SeriesNumber == 9002


def test_every_image_it_registers_is_also_found_by_series() -> None:
    ds = register()
    listed = {i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}
    used = {i.ReferencedSOPInstanceUID for r in ds.RegistrationSequence for i in r.ReferencedImageSequence}
    assert listed == used
    assert len(used) == 5 + 8


def test_a_functional_series_of_another_study_is_found_under_its_study() -> None:
    scene = make_scene("NM")
    scene.moving[0].StudyInstanceUID = "1.2.77"
    [study] = register(scene=scene).StudiesContainingOtherReferencedInstancesSequence
    assert study.StudyInstanceUID == "1.2.77"


def test_it_tells_how_each_matrix_was_come_by() -> None:
    fixed, moving = (item.MatrixRegistrationSequence[0] for item in register().RegistrationSequence)
    assert fixed.RegistrationTypeCodeSequence[0].CodeValue == "125021"
    assert moving.RegistrationTypeCodeSequence[0].CodeValue == "125024"
    assert "overlap 0.87" in moving.FrameOfReferenceTransformationComment
    assert moving.MatrixSequence[0].FrameOfReferenceTransformationMatrixType == "RIGID"


@pytest.mark.system
@pytest.mark.parametrize("modality", ["PT", "NM"])
@pytest.mark.parametrize("part", ["", "BRAIN"])
def test_a_validator_finds_no_error(modality: str, part: str, tmp_path: Path) -> None:
    scene = make_scene(modality)
    for ds in scene.fixed:
        ds.BodyPartExamined = part
    spoken = validate_object(register(scene=scene), tmp_path)
    assert [line for line in spoken if line.startswith("Error")] == []


@pytest.mark.system
@pytest.mark.real_data
@pytest.mark.parametrize(("case", "functional"), [("pet_axial", "pt"), ("spect_a", "nm")])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_validator_finds_no_error_on_real_sources(
    case: str, functional: str, real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "aanlib" / case
    scene = Scene(read_headers(folder / "mr"), read_headers(folder / functional), make_motion())
    spoken = validate_object(register(scene=scene), tmp_path)
    assert [line for line in spoken if line.startswith("Error")] == []


@pytest.mark.system
def test_the_validator_would_find_an_error(tmp_path: Path) -> None:
    ds = register()
    del ds.RegistrationSequence[1].MatrixRegistrationSequence
    assert any(line.startswith("Error") for line in validate_object(ds, tmp_path))
