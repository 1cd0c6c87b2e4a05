import numpy as np
import pytest
from pydicom import Dataset

from fusionnode.errors import DatasetUnreadable, GeometryIrregular, SeriesUnsupported
from fusionnode.volumes.planes import count_frames, demand_spacing_mm, read_plane
from fusionnode.volumes.values import read_numbers
from tests.support.datasets import OBLIQUE, Layout, make_mr_series, make_pt_series


def test_plane_says_where_it_lies() -> None:
    layout = Layout(orientation=OBLIQUE)
    plane = read_plane(make_mr_series(layout)[3])
    np.testing.assert_allclose(plane.position_mm, layout.grid.slice_position_mm(3), atol=1e-9)
    assert plane.orientation == OBLIQUE
    assert plane.spacing_mm == (1.0, 1.25)
    assert plane.shape == (32, 24)
    assert plane.source.frame_number is None
    assert plane.slope is None


def test_plane_carries_its_own_slope() -> None:
    datasets = make_pt_series()
    assert [read_plane(ds).slope for ds in datasets] == [float(ds.RescaleSlope) for ds in datasets]


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("emptied", [False, True])
def test_missing_geometry_is_refused_by_name(keyword: str, emptied: bool) -> None:
    ds = make_mr_series()[0]
    if emptied:
        setattr(ds, keyword, None)
    else:
        delattr(ds, keyword)
    with pytest.raises(GeometryIrregular, match=keyword):
        read_plane(ds)


def test_wrong_number_of_values_is_refused() -> None:
    ds = make_mr_series()[0]
    ds.ImagePositionPatient = [1, 2]
    with pytest.raises(DatasetUnreadable) as refusal:
        read_plane(ds)
    assert refusal.value.facts["keyword"] == "ImagePositionPatient"


@pytest.mark.parametrize("spacing", [[0, 1], [1, -1]])
def test_spacing_that_is_not_positive_is_refused(spacing: list[float]) -> None:
    place = Dataset()
    place.PixelSpacing = spacing
    with pytest.raises(GeometryIrregular, match="not positive"):
        demand_spacing_mm(place)


@pytest.mark.parametrize("word", ["LOCALIZER", "MOSAIC", "PROJECTION IMAGE"])
def test_odd_kinds_are_refused(word: str) -> None:
    ds = make_mr_series()[0]
    ds.ImageType = ["ORIGINAL", "PRIMARY", word]
    with pytest.raises(SeriesUnsupported) as refusal:
        read_plane(ds)
    assert refusal.value.facts["image_type"] == word


def test_pet_reprojection_is_refused() -> None:
    ds = make_pt_series()[0]
    ds.SeriesType = ["STATIC", "REPROJECTION"]
    with pytest.raises(SeriesUnsupported, match="projection"):
        read_plane(ds)


def test_classic_object_with_frames_is_refused() -> None:
    ds = make_mr_series()[0]
    ds.NumberOfFrames = 2
    with pytest.raises(SeriesUnsupported, match="several frames"):
        read_plane(ds)


def test_frames_default_to_one() -> None:
    assert count_frames(Dataset()) == 1


def test_absent_numbers_are_none_and_no_numbers_are_refused() -> None:
    ds = Dataset()
    assert read_numbers(ds, "PatientWeight", 1) is None
    ds.PatientID = "heavy"
    with pytest.raises(DatasetUnreadable):
        read_numbers(ds, "PatientID", 1)
