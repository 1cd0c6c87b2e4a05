import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread, dcmwrite
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from fusionnode.capture.build import build_captures
from fusionnode.capture.multiframe import build_stack
from tests.support.captures import FIXED_LAYOUT, FRAME, encode, make_request, make_scene
from tests.support.datasets import CORONAL, OBLIQUE, Layout
from tests.support.tools import require_tool, validate_object

ORIENTED = [FIXED_LAYOUT, *(replace(FIXED_LAYOUT, orientation=o) for o in (OBLIQUE, CORONAL))]


@pytest.mark.parametrize("layout", ORIENTED)
def test_simpleitk_and_highdicom_read_it_where_the_mri_lies(layout: Layout, tmp_path: Path) -> None:
    request = make_request(make_scene(fixed=layout))
    dcmwrite(tmp_path / "stack.dcm", build_stack(request), enforce_file_format=True)
    image = sitk.ReadImage(str(tmp_path / "stack.dcm"))
    directions = np.column_stack([layout.orientation[:3], layout.orientation[3:], layout.normal])
    np.testing.assert_allclose(image.GetOrigin(), layout.origin_mm, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), layout.spacing_mm[::-1], atol=1e-6)
    np.testing.assert_allclose(np.reshape(image.GetDirection(), (3, 3)), directions, atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), request.fused.rgb)
    volume = highdicom.Image.from_dataset(dcmread(tmp_path / "stack.dcm")).get_volume()
    np.testing.assert_allclose(volume.affine[:3, :3], -layout.grid.patient_from_index[:3, :3] * [1, -1, -1], atol=1e-6)
    np.testing.assert_array_equal(volume.array, request.fused.rgb[::-1])


def test_it_says_of_every_frame_what_the_single_images_say() -> None:
    request = make_request()
    ds = build_stack(request)
    assert ds.SOPClassUID == MultiFrameTrueColorSecondaryCaptureImageStorage
    for frame, single in zip(ds.PerFrameFunctionalGroupsSequence, build_captures(request), strict=True):
        assert frame.PlanePositionSequence[0].ImagePositionPatient == single.ImagePositionPatient
        assert frame.FrameContentSequence[0].InStackPositionNumber == single.InstanceNumber
        [derivation] = frame.DerivationImageSequence
        assert derivation.SourceImageSequence == single.SourceImageSequence
        assert derivation.DerivationCodeSequence == single.DerivationCodeSequence
        assert (ds.SeriesInstanceUID, ds.Modality, ds.ConversionType) == (single.SeriesInstanceUID, "OT", "WSD")
        assert ds.DerivationDescription == single.DerivationDescription
    assert (ds.FrameOfReferenceUID, ds.BurnedInAnnotation) == (FRAME, "NO")
    assert "not for primary diagnosis" in ds.ImageComments


def test_what_frames_reference_is_also_found_by_study_and_series() -> None:
    ds = build_stack(make_request())
    listed = [i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence]
    groups = ds.PerFrameFunctionalGroupsSequence
    used = {i.ReferencedSOPInstanceUID for g in groups for i in g.DerivationImageSequence[0].SourceImageSequence}
    used |= {item.ReferencedSOPInstanceUID for item in ds.SourceInstanceSequence}
    assert set(listed) == used
    assert len(listed) == len(used)


def test_the_same_request_gives_the_same_bytes() -> None:
    assert encode(build_stack(make_request())) == encode(build_stack(make_request()))


@pytest.mark.system
@pytest.mark.parametrize("modality", ["PT", "NM"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_validator_finds_no_error_and_dcmtk_reads_it(modality: str, shared: bool, tmp_path: Path) -> None:
    ds = build_stack(make_request(make_scene(modality, shared=shared)))
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
    path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
    command = [require_tool("dcm2pnm"), "+F", "3", str(path), str(tmp_path / "frame.ppm")]
    subprocess.run(command, check=True, capture_output=True)
