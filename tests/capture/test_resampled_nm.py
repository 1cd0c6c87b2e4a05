import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmwrite

from fusionnode.capture.resampled_nm import build_resampled_nm
from fusionnode.domain.terms import Unit
from fusionnode.volumes.assemble import assemble_volume
from tests.support.captures import (
    FIXED_LAYOUT,
    FRAME,
    Scene,
    encode,
    make_motion,
    make_request,
    make_scene,
    read_headers,
    with_uptake,
)
from tests.support.datasets import CORONAL, OBLIQUE, Layout
from tests.support.tools import require_tool, validate_object

ORIENTED = [FIXED_LAYOUT, *(replace(FIXED_LAYOUT, orientation=o) for o in (OBLIQUE, CORONAL))]


@pytest.mark.parametrize("low", [0.0, -1.0])
@pytest.mark.parametrize("layout", ORIENTED)
def test_read_as_any_spect_it_lies_where_the_mri_lies_with_its_counts(layout: Layout, low: float) -> None:
    request = with_uptake(make_request(make_scene("NM", fixed=layout)), scale=1.0, low=low)
    volume = assemble_volume([build_resampled_nm(request)])
    assert (volume.unit, volume.frame_of_reference_uid) == (Unit.CNTS, FRAME)
    np.testing.assert_allclose(volume.grid.patient_from_index, request.prepared.grid.patient_from_index, atol=1e-5)
    assert request.prepared.uptake is not None
    np.testing.assert_allclose(volume.voxels, request.prepared.uptake, atol=8 / (32767 if low else 65535) / 2 * 1.001)


def test_a_grid_that_runs_against_its_normal_has_a_negative_spacing() -> None:
    request = with_uptake(make_request(make_scene("NM")), scale=1.0)
    grid = request.prepared.grid
    matrix = grid.patient_from_index.copy()
    matrix[:3, 3] += 4 * matrix[:3, 0]
    matrix[:3, 0] *= -1
    prepared = replace(request.prepared, grid=type(grid)(grid.shape, matrix))
    ds = build_resampled_nm(replace(request, prepared=prepared))
    assert float(ds.SpacingBetweenSlices) == -3.0
    volume = assemble_volume([ds])
    assert prepared.uptake is not None
    np.testing.assert_allclose(volume.voxels, prepared.uptake[::-1], atol=1e-4)
    np.testing.assert_allclose(volume.grid.patient_from_index, grid.patient_from_index, atol=1e-5)


@pytest.mark.parametrize("layout", ORIENTED)
def test_simpleitk_reads_it_where_the_mri_lies_with_its_values(layout: Layout, tmp_path: Path) -> None:
    request = with_uptake(make_request(make_scene("NM", fixed=layout)), scale=1.0)
    dcmwrite(tmp_path / "nm.dcm", build_resampled_nm(request), enforce_file_format=True)
    image = sitk.ReadImage(str(tmp_path / "nm.dcm"))
    directions = np.column_stack([layout.orientation[:3], layout.orientation[3:], layout.normal])
    np.testing.assert_allclose(image.GetOrigin(), layout.origin_mm, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), layout.spacing_mm[::-1], atol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), directions, atol=1e-6)
    assert request.prepared.uptake is not None
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), request.prepared.uptake, atol=1e-4)


def test_it_is_a_derived_reconstruction_in_the_study_of_the_mri() -> None:
    request = with_uptake(make_request(make_scene("NM")))
    ds = build_resampled_nm(request)
    assert list(ds.ImageType) == ["DERIVED", "PRIMARY", "RECON TOMO", "EMISSION", "ON_MRI_GRID"]
    assert (ds.Modality, ds.StudyInstanceUID) == ("NM", request.head.StudyInstanceUID)
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == request.moving_headers[0].SOPInstanceUID
    assert len(ds.ReferencedImageSequence) == 5
    assert len(ds.ContributingEquipmentSequence) == 3


def test_a_map_of_transmission_is_not_called_emission() -> None:
    scene = make_scene("NM")
    scene.moving[0].ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "TRANSMISSION"]
    assert build_resampled_nm(with_uptake(make_request(scene))).ImageType[3] == "TRANSMISSION"


def test_of_several_energy_windows_the_one_that_was_fused_is_told() -> None:
    scene = make_scene("NM")
    [ds] = scene.moving
    windows = [Dataset(), Dataset()]
    windows[0].EnergyWindowName, windows[1].EnergyWindowName = "scatter", "peak"
    ds.EnergyWindowInformationSequence, ds.NumberOfEnergyWindows = windows, 2
    frames = int(ds.NumberOfFrames)
    ds.EnergyWindowVector = [1] * (frames // 2) + [2] * (frames - frames // 2)
    request = with_uptake(make_request(scene))
    peak = request.prepared.moving_sources[frames // 2 :]
    told = build_resampled_nm(replace(request, prepared=replace(request.prepared, moving_sources=peak)))
    assert [item.EnergyWindowName for item in told.EnergyWindowInformationSequence] == ["peak"]
    assert told.NumberOfEnergyWindows == 1
    del ds.EnergyWindowVector  # then all frames hold what was counted in both
    assert build_resampled_nm(request).NumberOfEnergyWindows == 2


def test_the_same_request_gives_the_same_bytes() -> None:
    one, other = (build_resampled_nm(with_uptake(make_request(make_scene("NM")))) for _ in range(2))
    assert encode(one) == encode(other)


@pytest.mark.system
def test_a_validator_finds_no_error_and_dcmtk_reads_it(tmp_path: Path) -> None:
    ds = build_resampled_nm(with_uptake(make_request(make_scene("NM"))))
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
    path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
    command = [require_tool("dcm2pnm"), "+F", "4", str(path), str(tmp_path / "slice.pgm")]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.system
@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_validator_finds_no_error_on_real_sources(real_data: Path, tmp_path: Path) -> None:
    headers = [read_headers(real_data / "aanlib" / "spect_a" / folder) for folder in ("mr", "nm")]
    ds = build_resampled_nm(with_uptake(make_request(Scene(*headers, make_motion()))))
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
