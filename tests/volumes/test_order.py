import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from fusionnode.errors import FusionNodeError, GeometryIrregular, SeriesMixed, SeriesUnsupported
from fusionnode.volumes.order import derive_grid, order_planes, tolerance_mm
from fusionnode.volumes.planes import Plane, read_plane
from tests.support.datasets import AXIAL, CORONAL, OBLIQUE, SAGITTAL, Layout, make_mr_series, make_pt_series


def _read(datasets: list[Dataset]) -> list[Plane]:
    return [read_plane(ds) for ds in datasets]


def _shift(ds: Dataset, *, along: int, by_mm: float) -> None:
    position = [float(value) for value in ds.ImagePositionPatient]
    position[along] += by_mm
    ds.ImagePositionPatient = [f"{value:.6f}" for value in position]


@given(
    orientation=st.sampled_from([AXIAL, CORONAL, SAGITTAL, OBLIQUE, (-1, 0, 0, 0, 1, 0)]),
    slices=st.integers(2, 9),
    spacing_mm=st.floats(0.3, 12),
    seed=st.integers(0, 1000),
)
def test_shuffled_planes_give_the_grid_they_were_made_on(
    orientation: tuple[float, ...], slices: int, spacing_mm: float, seed: int
) -> None:
    layout = Layout(slices, 3, 2, (spacing_mm, 1.0, 1.25), orientation=orientation)  # type: ignore[arg-type]
    planes = _read(make_mr_series(layout))
    expected = [plane.source for plane in planes]
    random.Random(seed).shuffle(planes)
    ordered = order_planes(planes)
    assert [plane.source for plane in ordered] == expected
    grid = derive_grid(ordered)
    np.testing.assert_allclose(grid.patient_from_index, layout.grid.patient_from_index, atol=1e-6)
    assert np.linalg.det(grid.directions) == pytest.approx(-1)


def test_tolerance_is_one_percent_or_a_twentieth_of_a_millimetre() -> None:
    assert tolerance_mm(1.0) == 0.05
    assert tolerance_mm(20.0) == pytest.approx(0.2)


def test_rounding_noise_is_borne() -> None:
    datasets = make_mr_series()
    for index, ds in enumerate(datasets):
        _shift(ds, along=2, by_mm=0.02 * (-1) ** index)
    assert derive_grid(order_planes(_read(datasets))).spacing_mm[0] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("count", [0, 1])
def test_single_slice_is_no_volume(count: int) -> None:
    with pytest.raises(SeriesUnsupported):
        order_planes(_read(make_mr_series()[:count]))


@pytest.mark.parametrize("missing", [(5,), (3, 4), (2, 7)])
def test_gap_names_position_and_neighbours(missing: tuple[int, ...]) -> None:
    datasets = make_mr_series()
    kept = [ds for index, ds in enumerate(datasets) if index not in missing]
    with pytest.raises(GeometryIrregular, match="missing") as refusal:
        order_planes(_read(kept))
    before = datasets[missing[0] - 1]
    assert refusal.value.facts["missing"] == len(missing)
    assert f"{before.ImagePositionPatient[2]:.2f} mm" in str(refusal.value)
    assert before.SOPInstanceUID in str(refusal.value)


def test_duplicate_names_both_instances() -> None:
    datasets = make_mr_series()
    again = make_mr_series()[4]
    again.SOPInstanceUID += ".1"
    with pytest.raises(GeometryIrregular, match="duplicated") as refusal:
        order_planes(_read([*datasets, again]))
    assert again.SOPInstanceUID in str(refusal.value)
    assert datasets[4].SOPInstanceUID in str(refusal.value)


def test_two_slices_at_every_position_that_nothing_tells_apart_are_refused() -> None:
    first, second = make_mr_series(), make_mr_series()
    for ds in second:
        ds.SOPInstanceUID += ".1"
    with pytest.raises(SeriesMixed, match="nothing known tells them apart") as refusal:
        order_planes(_read([*first, *second]))
    assert refusal.value.facts["slices_per_position"] == 2


def test_uneven_spacing_is_refused() -> None:
    datasets = make_mr_series()
    _shift(datasets[6], along=2, by_mm=0.8)
    with pytest.raises(GeometryIrregular, match="unevenly"):
        order_planes(_read(datasets))


def test_spacing_that_drifts_is_refused() -> None:
    datasets = make_mr_series(Layout(slices=40))
    for index, ds in enumerate(datasets):
        _shift(ds, along=2, by_mm=0.04 * min(index, 20))
    with pytest.raises(GeometryIrregular, match="drifts"):
        order_planes(_read(datasets))


def test_gantry_tilt_is_refused() -> None:
    datasets = make_mr_series()
    for index, ds in enumerate(datasets):
        _shift(ds, along=1, by_mm=index * 3 * np.tan(np.radians(10)))
    with pytest.raises(GeometryIrregular, match="tilt") as refusal:
        order_planes(_read(datasets))
    assert refusal.value.facts["angle_deg"] == pytest.approx(10, abs=0.1)


def test_one_slice_pushed_aside_is_refused() -> None:
    datasets = make_mr_series()
    _shift(datasets[5], along=0, by_mm=2)
    with pytest.raises(GeometryIrregular, match="aside") as refusal:
        order_planes(_read(datasets))
    assert refusal.value.facts["sop_instance_uid"] == datasets[5].SOPInstanceUID


def test_three_plane_localizer_is_mixed() -> None:
    layouts = [Layout(slices=3, orientation=orientation) for orientation in (AXIAL, CORONAL, SAGITTAL)]
    with pytest.raises(SeriesMixed, match="orientations"):
        order_planes([plane for layout in layouts for plane in _read(make_mr_series(layout))])


def test_skewed_orientation_is_refused() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.ImageOrientationPatient = [1, 0, 0, 0.1, 1, 0]
    with pytest.raises(GeometryIrregular, match="perpendicular"):
        order_planes(_read(datasets))


@pytest.mark.parametrize("side", ["1e-9", "1e5", "1e200"])
def test_voxels_of_an_impossible_size_are_refused(side: str) -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.PixelSpacing = [side, side]
    with pytest.raises(GeometryIrregular, match="nobody can be scanned so"):
        order_planes(_read(datasets))


def test_slices_beyond_any_scanner_are_refused() -> None:
    datasets = make_mr_series()
    for ds in datasets:
        ds.ImagePositionPatient = ["1e15", "1e15", ds.ImagePositionPatient[2]]
    with pytest.raises(GeometryIrregular, match="nobody can be scanned so"):
        order_planes(_read(datasets))


@pytest.mark.parametrize(
    ("keyword", "value", "named"),
    [
        ("Rows", 31, "Rows and Columns"),
        ("Columns", 23, "Rows and Columns"),
        ("PixelSpacing", ["1", "1.3"], "PixelSpacing"),
        ("FrameOfReferenceUID", "1.2.3", "FrameOfReferenceUID"),
        ("FrameOfReferenceUID", "", "FrameOfReferenceUID"),
        ("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", "SOPClassUID"),
        ("SeriesInstanceUID", "1.2.3", "SeriesInstanceUID"),
        ("Units", "GML", "Units"),
        ("DecayCorrection", "ADMIN", "DecayCorrection"),
    ],
)
def test_odd_one_out_is_mixed(keyword: str, value: object, named: str) -> None:
    datasets = make_pt_series()
    setattr(datasets[7], keyword, value)
    with pytest.raises(SeriesMixed, match=named) as refusal:
        order_planes(_read(datasets))
    assert refusal.value.facts["differing"] == (named,)


def test_refusal_does_not_depend_on_the_order_of_arrival() -> None:
    datasets = [ds for index, ds in enumerate(make_mr_series()) if index not in {2, 3, 8}]
    messages = set()
    for seed in range(5):
        random.Random(seed).shuffle(datasets)
        with pytest.raises(FusionNodeError) as refusal:
            order_planes(_read(datasets))
        messages.add(str(refusal.value))
    assert len(messages) == 1
