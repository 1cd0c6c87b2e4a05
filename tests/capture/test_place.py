from dataclasses import replace

import pytest
from pydicom import Dataset

from fusionnode.capture.build import build_captures
from fusionnode.capture.place import list_slices, write_numbers
from tests.support.captures import FIXED_LAYOUT, make_request, make_scene, make_scene_with
from tests.support.datasets import CORONAL, OBLIQUE, SAGITTAL, Layout

ORIENTED = [FIXED_LAYOUT, *(replace(FIXED_LAYOUT, orientation=o) for o in (OBLIQUE, CORONAL, SAGITTAL))]


def capture_one(index: int = 2, **changes: object) -> Dataset:
    return build_captures(make_request(**changes))[index]


@pytest.mark.parametrize(
    ("layout", "letters"),
    [(ORIENTED[0], ["L", "P"]), (ORIENTED[1], ["LP", "PFR"]), (ORIENTED[2], ["L", "F"]), (ORIENTED[3], ["P", "F"])],
)
def test_the_letters_of_the_edges_follow_the_orientation(layout: Layout, letters: list[str]) -> None:
    assert list(capture_one(scene=make_scene(fixed=layout)).PatientOrientation) == letters


@pytest.mark.parametrize(("stated", "expected"), [("4.5", "4.5"), ("0", "3.0"), ("", "3.0")])
def test_the_slice_thickness_is_the_mris_or_else_the_distance_between_slices(stated: str, expected: str) -> None:
    ds = capture_one(scene=make_scene_with(SliceThickness=stated))
    assert (str(ds.SliceThickness), str(ds.SpacingBetweenSlices)) == (expected, "3.0")


def test_the_slice_thickness_of_an_enhanced_object_is_found_in_its_shared_groups() -> None:
    measures, shared = Dataset(), Dataset()
    measures.SliceThickness = "5.5"
    shared.PixelMeasuresSequence = [measures]
    scene = make_scene_with(SharedFunctionalGroupsSequence=[shared])
    for ds in scene.fixed:
        del ds.SliceThickness
    assert str(capture_one(scene=scene).SliceThickness) == "5.5"


def test_a_position_reference_indicator_is_carried_over() -> None:
    assert capture_one(scene=make_scene_with(PositionReferenceIndicator="AC")).PositionReferenceIndicator == "AC"


def test_instance_numbers_count_along_the_normal_even_where_the_grid_runs_against_it() -> None:
    request = make_request()
    grid = request.prepared.grid
    matrix = grid.patient_from_index.copy()
    matrix[:3, 3] += 4 * matrix[:3, 0]
    matrix[:3, 0] *= -1
    prepared = replace(
        request.prepared,
        grid=type(grid)(grid.shape, matrix),
        fixed_sources=tuple(reversed(request.prepared.fixed_sources)),
    )
    backwards = build_captures(replace(request, prepared=prepared))
    assert [ds.InstanceNumber for ds in build_captures(request)] == [1, 2, 3, 4, 5]
    assert [ds.InstanceNumber for ds in backwards] == [5, 4, 3, 2, 1]


def test_heights_are_those_along_the_normal() -> None:
    assert [place.height_mm for place in list_slices(make_request())] == [-18.0, -15.0, -12.0, -9.0, -6.0]


def test_numbers_fit_their_field_and_zero_has_no_sign() -> None:
    assert write_numbers([-1e-12, 1 / 3, -123456.789012345], 10) == ["0.0", "0.3333333333", "-123456.78901235"]
