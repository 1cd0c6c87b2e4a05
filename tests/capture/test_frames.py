from pydicom import Dataset

from fusionnode.capture.frames import find_mapping, list_group_items, read_group_text
from tests.support.datasets import Layout, make_pt_series
from tests.support.enhanced import make_enhanced_pet

CLASSIC = make_pt_series(Layout(slices=3, rows=4, columns=4))


def test_the_frames_own_item_comes_before_the_shared_one() -> None:
    ds = make_enhanced_pet(CLASSIC)
    [shared] = ds.SharedFunctionalGroupsSequence
    shared.PlanePositionSequence = ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    found = list_group_items(ds, 2, "PlanePositionSequence")
    assert [item.ImagePositionPatient for item in found] == [
        CLASSIC[1].ImagePositionPatient,
        CLASSIC[2].ImagePositionPatient,
    ]
    assert read_group_text(ds, 1, "PixelMeasuresSequence", "SliceThickness") == str(CLASSIC[0].SliceThickness)


def test_classic_images_have_no_groups_and_frames_that_are_not_there_none_of_their_own() -> None:
    assert list_group_items(CLASSIC[0], None, "PlanePositionSequence") == []
    assert list_group_items(make_enhanced_pet(CLASSIC), 9, "PlanePositionSequence") == []
    assert read_group_text(CLASSIC[0], None, "PixelMeasuresSequence", "SliceThickness") == ""


def test_a_mapping_counts_where_the_rescale_type_of_a_pet_frame_names_no_unit() -> None:
    ds = make_enhanced_pet(CLASSIC)
    frame = ds.PerFrameFunctionalGroupsSequence[1]
    [mapping] = frame.RealWorldValueMappingSequence
    table = Dataset()
    table.RealWorldValueLUTData = [1.0, 2.0]
    frame.RealWorldValueMappingSequence = [table, mapping]
    assert find_mapping(ds, 2) == mapping
    assert find_mapping(CLASSIC[0], None) is None
    frame.PixelValueTransformationSequence[0].RescaleType = "BQML"
    assert find_mapping(ds, 2) is None
    frame.PixelValueTransformationSequence[0].RescaleType = "US"
    frame.RealWorldValueMappingSequence = [table]
    assert find_mapping(ds, 2) is None
