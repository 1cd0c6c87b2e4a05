from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from fusionnode.capture.references import (
    InstanceReference,
    add_common_references,
    find_normal,
    list_references,
    make_source_image,
    make_source_registration,
    measure_reach,
)
from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.grid import Grid
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.volume import SourceFrame
from tests.support.captures import Scene, carry, find_grid, make_motion, make_request, make_scene, sort_headers
from tests.support.datasets import CORONAL, OBLIQUE, Identity, Layout, make_pt_series

ORIENTATIONS = st.sampled_from([(1, 0, 0, 0, 1, 0), OBLIQUE, CORONAL])


@settings(max_examples=30, deadline=None)
@given(st.floats(-60, 60), st.tuples(*[st.floats(-20, 20)] * 3), ORIENTATIONS)
def test_every_slice_that_linear_interpolation_touches_is_named(
    angle_deg: float, shift_mm: tuple[float, float, float], orientation: tuple[float, ...]
) -> None:
    layout = Layout(6, 5, 5, (3.0, 4.0, 4.0), (-10.0, -10.0, -9.0), orientation)  # type: ignore[arg-type]
    moving = make_pt_series(layout, Identity(frame_of_reference_uid="1.2.9"))
    scene = Scene(make_scene().fixed, moving, make_motion(angle_deg, shift_mm))
    request = make_request(scene)
    grid = find_grid(sort_headers(moving))
    for index in range(request.prepared.grid.shape[0]):
        named = name_slices(request, index)
        touched = find_touched(request.prepared.grid, index, grid, scene.motion)
        assert {str(sort_headers(moving)[k].SOPInstanceUID) for k in touched} <= named


def name_slices(request: CaptureRequest, index: int) -> set[str]:
    height_mm = float(np.asarray(request.prepared.grid.slice_position_mm(index)) @ find_normal(request))
    motion = request.prepared.estimate.motion
    reach = measure_reach(request, request.prepared.moving_sources, motion.fixed_from_moving)
    return {near.reference.sop_instance_uid for near in reach if near.low_mm <= height_mm <= near.high_mm}


def find_touched(fixed: Grid, index: int, moving: Grid, motion: RigidMotion) -> set[int]:
    """Slices with a non-zero linear weight for some pixel of fixed slice ``index``, pixel by pixel."""
    _, rows, columns = fixed.shape
    pixels = np.asarray([[index, r, c] for r in range(rows) for c in range(columns)], dtype=np.float64)
    points = carry(fixed.points_mm(pixels), motion.moving_from_fixed)
    touched: set[int] = set()
    for place in carry(points, np.linalg.inv(moving.patient_from_index)):
        inside = all(0 <= v <= n - 1 for v, n in zip(place, moving.shape, strict=True))
        touched |= {int(np.floor(place[0])), int(np.ceil(place[0]))} if inside else set()
    return touched


def test_slices_out_of_reach_are_not_named() -> None:
    request = make_request(make_scene(shared=True))
    assert len(name_slices(request, 0)) < len(request.moving_headers)


def test_a_functional_series_without_positions_is_named_whole() -> None:
    scene = make_scene()
    request = make_request(scene)
    del scene.moving[3].ImagePositionPatient
    assert len(name_slices(request, 0)) == len(scene.moving)


def test_a_multi_frame_object_is_one_reference_without_frame_numbers_when_all_were_used() -> None:
    request = make_request(make_scene("NM"))
    [reference] = list_references(request, request.prepared.moving_sources)
    assert reference.frames == ()
    assert "ReferencedFrameNumber" not in reference.make_item()


def test_some_frames_of_a_multi_frame_object_are_named() -> None:
    request = make_request(make_scene("NM"))
    [reference] = list_references(request, request.prepared.moving_sources[2:4])
    assert reference.make_item().ReferencedFrameNumber == [3, 4]
    [single] = list_references(request, request.prepared.moving_sources[:1])
    assert single.make_item().ReferencedFrameNumber == 1


def test_a_source_says_what_it_was_for_and_whether_its_places_were_kept() -> None:
    reference = InstanceReference("1.2", "1.3", "1.4", "1.5")
    item = make_source_image(reference, locations_preserved=False)
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == ("1.2", "1.3")
    assert item.SpatialLocationsPreserved == "NO"
    assert make_source_image(reference, locations_preserved=True).SpatialLocationsPreserved == "YES"
    assert make_source_registration(reference).PurposeOfReferenceCodeSequence[0].CodeValue == "RIGID_REG"


@pytest.mark.parametrize("others", [0, 1, 2])
def test_instances_of_other_studies_are_named_under_their_study(others: int) -> None:
    ds = Dataset()
    ds.StudyInstanceUID = "1.1"
    own = [InstanceReference("1.2", f"1.3.{k}", "1.4", "1.1") for k in range(3)]
    foreign = [InstanceReference("1.2", f"1.6.{k}", f"1.7.{k}", f"1.8.{k}") for k in range(others)]
    add_common_references(ds, [*own, *foreign])
    [series] = ds.ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == ["1.3.0", "1.3.1", "1.3.2"]
    studies = ds.get("StudiesContainingOtherReferencedInstancesSequence", [])
    assert [study.StudyInstanceUID for study in studies] == [f"1.8.{k}" for k in range(others)]
    assert ("StudiesContainingOtherReferencedInstancesSequence" in ds) is bool(others)


def test_frames_of_one_instance_are_gathered_in_order() -> None:
    request = make_request(make_scene("NM"))
    source = request.prepared.moving_sources[0]
    [reference] = list_references(request, [replace(source, frame_number=n) for n in (5, 2, 2)])
    assert reference.frames == (2, 5)
    assert list_references(request, [SourceFrame(source.sop_class_uid, source.sop_instance_uid)])[0].frames == ()
