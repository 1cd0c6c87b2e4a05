from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from fusionnode.domain.terms import Unit
from fusionnode.errors import DatasetUnreadable, GeometryIrregular, SeriesMixed, UnitUnusable
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.enhanced import read_enhanced_pet_planes, read_enhanced_planes
from tests.support.datasets import OBLIQUE, Layout, make_mr_series, make_pt_series
from tests.support.enhanced import make_enhanced_mr, make_enhanced_pet

LAYOUT = Layout(slices=5, orientation=OBLIQUE)


def _make_enhanced(layout: Layout = LAYOUT) -> Dataset:
    """The classic series as one object, with another slope on each frame."""
    classic = make_mr_series(layout)
    for number, ds in enumerate(classic, start=1):
        ds.RescaleSlope, ds.RescaleIntercept = str(number), "-1"
    return make_enhanced_mr(classic)


def test_enhanced_object_equals_the_classic_series_rescaled_per_frame() -> None:
    volume, classic = assemble_volume([_make_enhanced()]), assemble_volume(make_mr_series(LAYOUT))
    numbers = np.arange(1, 6, dtype=np.float32)[:, None, None]
    np.testing.assert_array_equal(volume.voxels, classic.voxels * numbers - 1)
    np.testing.assert_array_equal(volume.grid.patient_from_index, classic.grid.patient_from_index)
    assert [source.frame_number for source in volume.sources] == [1, 2, 3, 4, 5]


def test_frames_in_another_order_are_sorted_by_position() -> None:
    ds = _make_enhanced()
    straight = assemble_volume([ds])
    ds.PerFrameFunctionalGroupsSequence = list(reversed(ds.PerFrameFunctionalGroupsSequence))
    ds.PixelData = ds.pixel_array[::-1].tobytes()
    turned = assemble_volume([ds])
    np.testing.assert_array_equal(turned.voxels, straight.voxels)
    assert [source.frame_number for source in turned.sources] == [5, 4, 3, 2, 1]


def test_second_time_slot_makes_several_volumes() -> None:
    ds = _make_enhanced()
    frames = ds.PerFrameFunctionalGroupsSequence
    frames[3].PlanePositionSequence = frames[1].PlanePositionSequence
    frames[3].FrameContentSequence[0].TemporalPositionIndex = 2
    with pytest.raises(SeriesMixed, match="TemporalPositionIndex"):
        assemble_volume([ds])


def test_frame_without_position_is_refused() -> None:
    ds = _make_enhanced()
    del ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    with pytest.raises(GeometryIrregular, match="ImagePositionPatient"):
        read_enhanced_planes(ds)


def test_fewer_groups_than_frames_are_refused() -> None:
    ds = _make_enhanced()
    ds.NumberOfFrames = 6
    with pytest.raises(DatasetUnreadable, match="6 frames but 5"):
        read_enhanced_planes(ds)


def test_stacks_of_one_orientation_are_not_joined_though_they_lie_end_to_end() -> None:
    ds = _make_enhanced(Layout(slices=10))
    for frame in ds.PerFrameFunctionalGroupsSequence[5:]:
        frame.FrameContentSequence[0].StackID = "2"
    with pytest.raises(SeriesMixed, match="StackID"):
        assemble_volume([ds])


def test_echoes_within_one_object_are_parted_and_the_first_is_shown() -> None:
    first, second = make_mr_series(LAYOUT), make_mr_series(LAYOUT, seed=1)
    for ds in second:
        ds.EchoTime = "90"
    volume = assemble_volume([make_enhanced_mr([*first, *second])])
    np.testing.assert_array_equal(volume.voxels, assemble_volume(first).voxels)
    assert [source.frame_number for source in volume.sources] == [1, 2, 3, 4, 5]
    assert "EffectiveEchoTime 90.0: 5 slices" in volume.notes[0]


def test_frames_told_apart_by_a_dimension_of_the_object_alone_are_refused() -> None:
    ds = make_enhanced_mr([*make_mr_series(LAYOUT), *make_mr_series(LAYOUT, seed=1)])
    ds.DimensionIndexSequence[0].DimensionIndexPointer = 0x20051011
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].DimensionIndexValues = [1 + number // 5, 1 + number % 5]
    with pytest.raises(SeriesMixed, match="dimension 1 of the object 2: 5 slices"):
        assemble_volume([ds])


@pytest.mark.parametrize(
    ("code", "unit", "notes"),
    [
        ("Bq/ml", Unit.SUVBW, 0),
        ("g/ml{SUVbw}", Unit.SUVBW, 0),
        ("{counts}", Unit.CNTS, 1),
        ("{propcounts}/s", Unit.PROPCPS, 1),
        ("g/ml{SUVlbm}", Unit.ARBITRARY, 1),
    ],
)
def test_enhanced_pet_is_in_the_unit_of_its_real_world_mapping(code: str, unit: Unit, notes: int) -> None:
    ds = make_enhanced_pet(make_pt_series(LAYOUT))
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = code
    volume = assemble_volume([ds])
    assert volume.unit is unit
    assert len(volume.notes) == notes


@pytest.mark.parametrize("slope", [3 / 65535, *(size * 10.0**power for size in (1, -1 / 3) for power in range(-7, 8))])
def test_slope_of_a_real_world_mapping_keeps_its_size(slope: float) -> None:
    ds = make_enhanced_pet(make_pt_series(LAYOUT))
    for frame in ds.PerFrameFunctionalGroupsSequence:
        mapping = frame.RealWorldValueMappingSequence[0]
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, slope / 7
    for plane in read_enhanced_pet_planes(ds):
        assert (plane.slope, plane.intercept) == pytest.approx((slope, slope / 7), rel=1e-8, abs=0)


def test_enhanced_pet_whose_rescale_type_names_a_unit_needs_no_mapping() -> None:
    ds = make_enhanced_pet(make_pt_series(LAYOUT))
    expected = assemble_volume([ds])
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.RealWorldValueMappingSequence
        frame.PixelValueTransformationSequence[0].RescaleType = "BQML"
    np.testing.assert_array_equal(assemble_volume([ds]).voxels, expected.voxels)


def test_enhanced_pet_without_a_unit_is_refused() -> None:
    ds = make_enhanced_pet(make_pt_series(LAYOUT))
    for frame in ds.PerFrameFunctionalGroupsSequence:
        del frame.RealWorldValueMappingSequence
    with pytest.raises(UnitUnusable, match="Units"):
        assemble_volume([ds])


def test_time_frames_of_an_enhanced_pet_are_refused() -> None:
    ds = make_enhanced_pet([*make_pt_series(LAYOUT), *make_pt_series(LAYOUT, seed=1)])
    for number, frame in enumerate(ds.PerFrameFunctionalGroupsSequence):
        frame.FrameContentSequence[0].TemporalPositionIndex = 1 + number // 5
    with pytest.raises(SeriesMixed, match="TemporalPositionIndex 2: 5 slices"):
        assemble_volume([ds])


@pytest.mark.real_data
def test_classic_and_enhanced_perfusion_are_the_same_volume(real_data: Path) -> None:
    folder = real_data / "philips_mr"
    classic = assemble_volume([dcmread(path) for path in (folder / "classic_1901_3DpCASL").glob("*.dcm")])
    enhanced = assemble_volume([dcmread(path) for path in (folder / "enhanced_1901_3DpCASL").glob("*.dcm")])
    np.testing.assert_array_equal(enhanced.voxels, classic.voxels)
    np.testing.assert_allclose(enhanced.grid.patient_from_index, classic.grid.patient_from_index, atol=1e-5)
    assert enhanced.series_instance_uid == classic.series_instance_uid
