from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import EnhancedMRImageStorage

from fusionnode.errors import DatasetUnreadable, GeometryIrregular, SeriesMixed
from fusionnode.volumes.assemble import assemble_volume
from fusionnode.volumes.enhanced import read_enhanced_planes
from tests.support.datasets import OBLIQUE, Layout, make_mr_series

LAYOUT = Layout(slices=5, orientation=OBLIQUE)


def _wrap(**attributes: object) -> list[Dataset]:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def _make_enhanced(layout: Layout = LAYOUT) -> Dataset:
    """The classic series as one object: orientation shared, position and slope per frame."""
    classic = make_mr_series(layout)
    ds = classic[0]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    ds.NumberOfFrames = layout.slices
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence = _wrap(ImageOrientationPatient=ds.ImageOrientationPatient)
    shared.PixelMeasuresSequence = _wrap(PixelSpacing=ds.PixelSpacing)
    for number, single in enumerate(classic, start=1):
        frame = Dataset()
        frame.PlanePositionSequence = _wrap(ImagePositionPatient=single.ImagePositionPatient)
        frame.PixelValueTransformationSequence = _wrap(RescaleSlope=number, RescaleIntercept=-1)
        frame.FrameContentSequence = _wrap(StackID="1", TemporalPositionIndex=1)
        frames.append(frame)
    ds.PixelData = b"".join(single.PixelData for single in classic)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], frames
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(ds, keyword)
    return ds


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


@pytest.mark.real_data
def test_classic_and_enhanced_perfusion_are_the_same_volume(real_data: Path) -> None:
    folder = real_data / "philips_mr"
    classic = assemble_volume([dcmread(path) for path in (folder / "classic_1901_3DpCASL").glob("*.dcm")])
    enhanced = assemble_volume([dcmread(path) for path in (folder / "enhanced_1901_3DpCASL").glob("*.dcm")])
    np.testing.assert_array_equal(enhanced.voxels, classic.voxels)
    np.testing.assert_allclose(enhanced.grid.patient_from_index, classic.grid.patient_from_index, atol=1e-5)
    assert enhanced.series_instance_uid == classic.series_instance_uid


@pytest.mark.real_data
def test_field_map_with_magnitude_and_phase_is_refused(real_data: Path) -> None:
    with pytest.raises(SeriesMixed, match="ComplexImageComponent"):
        assemble_volume([dcmread(real_data / "mr_odd" / "enhanced" / "Philips_IM_0027_fMAP.dcm")])
