import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread, dcmwrite

from fusionnode.capture.resampled_pet import build_resampled_pet
from fusionnode.domain.terms import Unit
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.suv import measure_suv
from tests.support.captures import (
    FIXED_LAYOUT,
    FRAME,
    Scene,
    encode,
    make_motion,
    make_request,
    make_scene,
    make_scene_with,
    read_headers,
    with_uptake,
    write_and_read,
)
from tests.support.datasets import CORONAL, OBLIQUE, Layout
from tests.support.enhanced import make_enhanced_pet
from tests.support.tools import require_tool, validate_object

ORIENTED = [FIXED_LAYOUT, *(replace(FIXED_LAYOUT, orientation=o) for o in (OBLIQUE, CORONAL))]


def compute_suv_factor(ds: Dataset) -> float:
    """The textbook formula, as a viewer applies it to one image: nothing but its own header."""
    [drug] = ds.RadiopharmaceuticalInformationSequence
    scanned = datetime.strptime(f"{ds.SeriesDate}{ds.SeriesTime[:6]}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    injected = datetime.strptime(f"{ds.SeriesDate}{drug.RadiopharmaceuticalStartTime[:6]}", "%Y%m%d%H%M%S")  # noqa: DTZ007
    left = 2 ** (-(scanned - injected).total_seconds() / float(drug.RadionuclideHalfLife))
    return float(ds.PatientWeight) * 1000 / (float(drug.RadionuclideTotalDose) * left)


@pytest.mark.parametrize("moving", ["", "+0100", "-0330"])
@pytest.mark.parametrize("fixed", ["", "+0100", "+0545"])
@pytest.mark.parametrize("injected", ["", "20240305091700", "20240305081700+0000", "20240305121700+0400"])
def test_whatever_the_clocks_suv_is_that_of_the_source(fixed: str, moving: str, injected: str) -> None:
    scene = make_scene()
    for headers, offset in ((scene.fixed, fixed), (scene.moving, moving)):
        for ds in headers:
            ds.TimezoneOffsetFromUTC = offset
    for ds in scene.moving:
        [drug] = ds.RadiopharmaceuticalInformationSequence
        drug.RadiopharmaceuticalStartDateTime = injected
        if injected:
            del drug.RadiopharmaceuticalStartTime
        if "+" in injected and moving:  # 45 minutes before the scan by its own clock
            moment = datetime.strptime(f"20240305091700{moving}", "%Y%m%d%H%M%S%z")
            zone = datetime.strptime(injected[-5:], "%z").tzinfo
            drug.RadiopharmaceuticalStartDateTime = moment.astimezone(zone).strftime("%Y%m%d%H%M%S%z")
    source = measure_suv(list(scene.moving))
    images = build_resampled_pet(with_uptake(make_request(scene), scale=source.factor or 1.0))
    told = measure_suv(write_and_read(images))
    # Where the source leaves open by which clock it was injected, so do the images.
    assert (source.factor is None) == (told.factor is None) == ("+" in injected and not moving)
    if source.factor is not None:
        assert told.factor == pytest.approx(source.factor, rel=1e-12)
    assert {ds.StudyTime for ds in images} == {scene.fixed[0].StudyTime}
    assert {ds.get("TimezoneOffsetFromUTC", "") for ds in images} == {fixed if moving else ""}


def test_suv_read_from_the_resampled_series_is_that_of_the_source() -> None:
    scene = make_scene()
    factor = measure_suv(list(scene.moving)).factor
    assert factor is not None
    request = with_uptake(make_request(scene), scale=factor)
    images = build_resampled_pet(request)
    assert [compute_suv_factor(ds) for ds in images] == pytest.approx([factor] * 5, rel=1e-9)
    volume = assemble_volume(images)
    assert volume.unit is Unit.SUVBW
    np.testing.assert_allclose(volume.voxels, request.prepared.uptake, atol=8 / 32767 / 2 * 1.001)


def test_a_late_reconstruction_far_from_the_mri_changes_no_suv() -> None:
    scene = make_scene_with("moving", SeriesTime="235500")
    scene.moving[0].AcquisitionTime = "094500"  # an early bed position
    source = measure_suv(list(scene.moving)).factor
    assert source is not None
    images = build_resampled_pet(with_uptake(make_request(scene), scale=source))
    # Any subset of the images, too: a viewer may load but some.
    assert measure_suv(images[3:]).factor == pytest.approx(source, rel=1e-12)


@pytest.mark.parametrize("units", ["BQML", "GML", "CNTS", "PROPCPS"])
def test_the_unit_is_kept_and_the_values_are_in_it(units: str) -> None:
    request = with_uptake(make_request(make_scene_with("moving", Units=units)), scale=4e-4, low=-2.0)
    assert request.prepared.uptake is not None
    for index, ds in enumerate(build_resampled_pet(request)):
        assert ds.Units == units
        found = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        np.testing.assert_allclose(found, request.prepared.uptake[index] / 4e-4, atol=float(ds.RescaleSlope) * 0.501)
        assert float(ds.WindowCenter) + float(ds.WindowWidth) / 2 == pytest.approx(8.25 / 4e-4)


@pytest.mark.parametrize("layout", ORIENTED)
def test_simpleitk_reads_it_where_the_mri_lies_with_its_values(layout: Layout, tmp_path: Path) -> None:
    request = with_uptake(make_request(make_scene(fixed=layout)), scale=1e-4)
    for ds in build_resampled_pet(request):
        dcmwrite(tmp_path / f"{ds.SOPInstanceUID}.dcm", ds, enforce_file_format=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    directions = np.column_stack([layout.orientation[:3], layout.orientation[3:], layout.normal])
    np.testing.assert_allclose(image.GetOrigin(), layout.origin_mm, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), layout.spacing_mm[::-1], atol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), directions, atol=1e-6)
    assert request.prepared.uptake is not None
    np.testing.assert_allclose(sitk.GetArrayFromImage(image) * 1e-4, request.prepared.uptake, atol=2e-4)


def test_what_was_measured_slice_by_slice_is_that_of_the_nearest_slice() -> None:
    scene = make_scene(shared=True)
    ordered = sorted(scene.moving, key=lambda ds: float(ds.ImagePositionPatient[2]))
    for index, ds in enumerate(ordered):
        ds.DecayFactor = f"{1 + index / 100:.2f}"
    request = with_uptake(make_request(scene))
    heights = [float(ds.ImagePositionPatient[2]) for ds in ordered]
    for ds in build_resampled_pet(request):
        nearest = int(np.argmin([abs(height - float(ds.ImagePositionPatient[2])) for height in heights]))
        assert float(ds.DecayFactor) == 1 + nearest / 100


def test_it_is_a_derived_pet_in_the_study_and_space_of_the_mri() -> None:
    request = with_uptake(make_request())
    ds = build_resampled_pet(request)[2]
    assert (ds.Modality, list(ds.ImageType)) == ("PT", ["DERIVED", "PRIMARY", "ON_MRI_GRID"])
    assert (ds.StudyInstanceUID, ds.FrameOfReferenceUID) == (request.head.StudyInstanceUID, FRAME)
    assert (ds.SeriesNumber, ds.SeriesInstanceUID) == (9003, request.identity.resampled_series_uid)
    assert ds.DerivationCodeSequence[0].CodeValue == "113085"
    assert ds.SourceInstanceSequence[0].ReferencedSOPInstanceUID == request.identity.registration_uid
    functional = {str(header.SOPInstanceUID) for header in request.moving_headers}
    assert {item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence} <= functional
    assert len(ds.ContributingEquipmentSequence) == 3
    assert "not for primary diagnosis" in ds.SeriesDescription


def test_the_same_request_gives_the_same_bytes() -> None:
    one, other = (build_resampled_pet(with_uptake(make_request())) for _ in range(2))
    assert [encode(ds) for ds in one] == [encode(ds) for ds in other]


def test_a_whole_body_scan_stays_one() -> None:
    scene = make_scene_with("moving", SeriesType=["WHOLE BODY", "IMAGE"])
    assert build_resampled_pet(with_uptake(make_request(scene)))[0].SeriesType == ["WHOLE BODY", "IMAGE"]


def make_enhanced_scene() -> Scene:
    """Frames a minute apart, so that those of the neighbours differ."""
    scene = make_scene(shared=True)
    for index, ds in enumerate(scene.moving):
        ds.AcquisitionTime, ds.FrameReferenceTime = f"10{2 + index:02d}00.00", str(60_000 * index)
    return replace(scene, moving=[make_enhanced_pet(scene.moving)])


def test_of_an_enhanced_object_the_images_are_those_of_its_classic_copy() -> None:
    enhanced = make_enhanced_scene()
    classic = make_scene(shared=True)
    for index, ds in enumerate(classic.moving):
        ds.AcquisitionTime, ds.FrameReferenceTime = f"10{2 + index:02d}00.00", str(60_000 * index)
    pairs = [build_resampled_pet(with_uptake(make_request(scene))) for scene in (classic, enhanced)]
    for one, other in zip(*pairs, strict=True):
        differing = {element.keyword for element in one if other.get(element.tag) != element}
        # Which images it was made from, and in which order the corrections were made.
        assert differing <= {"SourceImageSequence", "ReferencedSeriesSequence", "CorrectedImage", "SeriesType"} | {
            *("RadiopharmaceuticalInformationSequence", "ContributingEquipmentSequence"),
            *("RandomsCorrectionMethod", "AttenuationCorrectionMethod", "ReconstructionMethod"),
        }, differing
        assert compute_suv_factor(one) == pytest.approx(compute_suv_factor(other), rel=1e-12)
    assert len({ds.AcquisitionTime for ds in pairs[1]}) > 1


def leave_out(*keywords: str) -> Scene:
    scene = make_scene()
    for ds in scene.moving:
        for keyword in keywords:
            ds.pop(keyword, None)
    return scene


POOR = ("CountsSource", "FrameReferenceTime", "DecayFactor", "CollimatorType", "PatientWeight", "ImageIndex")


@pytest.mark.system
@pytest.mark.parametrize(
    "make",
    [make_enhanced_scene, lambda: leave_out(*POOR), lambda: leave_out("RadiopharmaceuticalInformationSequence")],
    ids=["enhanced", "poor", "no drug"],
)
def test_a_validator_finds_no_error_whatever_the_source_is_like(make: Callable[[], Scene], tmp_path: Path) -> None:
    [ds, *_] = build_resampled_pet(with_uptake(make_request(make())))
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
    assert "RadiopharmaceuticalInformationSequence" in ds


@pytest.mark.system
@pytest.mark.parametrize("shared", [True, False])
def test_a_validator_finds_no_error_and_dcmtk_reads_it(shared: bool, tmp_path: Path) -> None:
    for ds in build_resampled_pet(with_uptake(make_request(make_scene(shared=shared))))[::4]:
        assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
        command = [require_tool("dcm2pnm"), str(tmp_path / f"{ds.SOPInstanceUID}.dcm"), str(tmp_path / "slice.pgm")]
        subprocess.run(command, check=True, capture_output=True)


@pytest.mark.system
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("fixed", "moving"),
    [("aanlib/pet_axial/mr", "aanlib/pet_axial/pt"), ("sts_pet_mr/STS_001/MR_T1", "sts_pet_mr/STS_001/PET")],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_validator_finds_no_error_on_real_sources(fixed: str, moving: str, real_data: Path, tmp_path: Path) -> None:
    headers = [read_headers(real_data / folder) for folder in (fixed, moving)]
    shared = headers[0][0].FrameOfReferenceUID == headers[1][0].FrameOfReferenceUID
    request = with_uptake(make_request(Scene(*headers) if shared else Scene(*headers, make_motion())))
    middle = build_resampled_pet(request)[request.prepared.grid.shape[0] // 2]
    assert [line for line in validate_object(middle, tmp_path) if line.startswith("Error")] == []
    assert dcmread(tmp_path / f"{middle.SOPInstanceUID}.dcm").Units == headers[1][0].Units
