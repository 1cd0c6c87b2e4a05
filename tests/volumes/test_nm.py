from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from fusionnode.errors import GeometryIrregular, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.nm import read_nm_planes
from tests.support.datasets import AXIAL, CORONAL, OBLIQUE, SAGITTAL, Gamma, Layout, Orientation, make_nm_recon


def test_slice_vector_decides_the_place_of_each_frame() -> None:
    layout = Layout(slices=4)
    planes = read_nm_planes(make_nm_recon(layout, gamma=Gamma(slice_vector=(1, 3, 2, 4))))
    assert [plane.source.frame_number for plane in planes] == [1, 2, 3, 4]
    along_mm = [float(layout.normal @ plane.position_mm) - layout.origin_mm[2] for plane in planes]
    assert along_mm == [0, 6, 3, 9]


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL, OBLIQUE])
def test_negative_spacing_stacks_against_the_normal(orientation: Orientation) -> None:
    layout = Layout(slices=5, orientation=orientation)
    onwards = assemble_volume([make_nm_recon(layout)])
    backwards = assemble_volume([make_nm_recon(layout, gamma=Gamma(slice_step_mm=-3.0))])
    np.testing.assert_array_equal(onwards.voxels, backwards.voxels)
    np.testing.assert_allclose(onwards.grid.patient_from_index, backwards.grid.patient_from_index, atol=1e-9)
    assert [source.frame_number for source in backwards.sources] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("kind", ["STATIC", "DYNAMIC", "TOMO", "GATED TOMO", "RECON GATED TOMO", "WHOLE BODY"])
def test_planar_and_gated_objects_are_no_volume(kind: str) -> None:
    ds = make_nm_recon(gamma=Gamma(image_type=("ORIGINAL", "PRIMARY", kind, "EMISSION")))
    with pytest.raises(SeriesUnsupported) as refusal:
        read_nm_planes(ds)
    assert refusal.value.facts["image_type"] == kind


def test_object_without_image_type_is_refused() -> None:
    ds = make_nm_recon()
    del ds.ImageType
    with pytest.raises(SeriesUnsupported, match="unstated"):
        read_nm_planes(ds)


def test_detector_without_orientation_is_refused() -> None:
    with pytest.raises(GeometryIrregular, match="ImageOrientationPatient"):
        read_nm_planes(make_nm_recon(gamma=Gamma(located=False)))


def test_missing_detector_is_refused() -> None:
    ds = make_nm_recon()
    ds.DetectorInformationSequence = []
    with pytest.raises(GeometryIrregular, match="DetectorInformationSequence"):
        read_nm_planes(ds)


@pytest.mark.parametrize("spacing", [None, 0])
def test_unknown_spacing_is_refused_and_not_guessed_from_the_thickness(spacing: float | None) -> None:
    ds = make_nm_recon()
    ds.SpacingBetweenSlices = spacing
    with pytest.raises(GeometryIrregular, match="SpacingBetweenSlices"):
        read_nm_planes(ds)


@pytest.mark.parametrize("vector", [[], [1, 2], [4, 3, 2, 1]])
def test_slice_vector_that_does_not_fit_is_refused(vector: list[int]) -> None:
    ds = make_nm_recon(Layout(slices=4))
    ds.SliceVector = vector
    with pytest.raises(GeometryIrregular, match="SliceVector"):
        read_nm_planes(ds)


def test_slice_named_twice_is_refused() -> None:
    with pytest.raises(GeometryIrregular, match="duplicated"):
        assemble_volume([make_nm_recon(Layout(slices=4), gamma=Gamma(slice_vector=(1, 2, 2, 3)))])


@pytest.mark.parametrize(
    "keyword", ["EnergyWindowVector", "DetectorVector", "TimeSlotVector", "RRIntervalVector", "PhaseVector"]
)
def test_several_energy_windows_detectors_or_time_slots_are_several_volumes(keyword: str) -> None:
    ds = make_nm_recon(Layout(slices=4))
    ds.SliceVector = [1, 2, 1, 2]
    setattr(ds, keyword, [1, 1, 2, 2])
    assert [dict(plane.traits) for plane in read_nm_planes(ds)] == [{keyword: n} for n in "1122"]
    with pytest.raises(SeriesMixed, match=keyword):
        assemble_volume([ds])


def test_each_detector_places_its_own_frames() -> None:
    ds = make_nm_recon(Layout(slices=4))
    (first,) = ds.DetectorInformationSequence
    second = deepcopy(first)
    second.ImagePositionPatient[2] += 100
    ds.DetectorInformationSequence, ds.SliceVector, ds.DetectorVector = [first, second], [1, 2, 1, 2], [1, 1, 2, 2]
    heights_mm = [plane.position_mm[2] for plane in read_nm_planes(ds)]
    assert heights_mm == [-18, -15, 82, 85]


def test_detector_that_is_not_described_is_refused() -> None:
    ds = make_nm_recon(Layout(slices=4))
    ds.DetectorInformationSequence = [*ds.DetectorInformationSequence, *deepcopy(ds.DetectorInformationSequence)]
    ds.DetectorVector = [1, 2, 3, 3]
    with pytest.raises(GeometryIrregular, match="detector 3, but only 2"):
        read_nm_planes(ds)


def test_vector_that_does_not_cover_all_frames_is_refused() -> None:
    ds = make_nm_recon(Layout(slices=4))
    ds.TimeSlotVector = [1, 2]
    with pytest.raises(GeometryIrregular, match="TimeSlotVector has 2 values for 4 frames"):
        read_nm_planes(ds)


@pytest.mark.real_data
def test_phantom_with_negative_spacing_lies_where_its_header_says(real_data: Path) -> None:
    ds = dcmread(real_data / "nm" / "nmqc_jaszczak_recon_mediso.dcm")
    volume = assemble_volume([ds])
    pitch_mm = 4.12999964
    expected = np.diag([pitch_mm, pitch_mm, pitch_mm, 1])[[2, 1, 0, 3]]
    expected[:3, 3] = 0, -264.319977, -165.199986 - 44 * pitch_mm
    np.testing.assert_allclose(volume.grid.patient_from_index, expected, atol=1e-9)
    np.testing.assert_array_equal(volume.voxels, ds.pixel_array[::-1].astype(np.float32))


@pytest.mark.real_data
def test_brain_spect_lies_where_its_header_says(real_data: Path) -> None:
    ds = dcmread(next((real_data / "aanlib" / "spect_a" / "nm").glob("*.dcm")))
    volume = assemble_volume([ds])
    np.testing.assert_allclose(volume.grid.spacing_mm, (3.6, 2.4, 2.4), atol=1e-9)
    np.testing.assert_allclose(volume.grid.slice_position_mm(0), (-158.4, -144.4, -72.4), atol=1e-9)
    np.testing.assert_allclose(volume.grid.slice_position_mm(43), (-158.4, -144.4, -72.4 + 43 * 3.6), atol=1e-9)
    np.testing.assert_array_equal(volume.voxels, ds.pixel_array.astype(np.float32))


@pytest.mark.real_data
def test_heart_without_orientation_and_planar_phantom_are_refused(real_data: Path) -> None:
    with pytest.raises(GeometryIrregular, match="DetectorInformationSequence"):
        assemble_volume([dcmread(real_data / "nm" / "NM-MONO2-16-13x-heart.dcm")])
    with pytest.raises(SeriesUnsupported, match="STATIC"):
        assemble_volume([dcmread(real_data / "nm" / "nmqc_planar_uniformity.dcm")])
