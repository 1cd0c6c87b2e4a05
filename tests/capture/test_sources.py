from pydicom import Dataset
from pydicom.uid import SpatialRegistrationStorage

from fusionnode.capture.build import build_captures
from fusionnode.capture.place import list_slices
from fusionnode.capture.references import list_references
from fusionnode.capture.sources import SliceSources, list_registrations, measure_sources, refer_to_functional
from tests.support.captures import make_request, make_scene, reformat


def capture_one(index: int = 2, **changes: object) -> Dataset:
    return build_captures(make_request(**changes))[index]


def test_the_derivation_names_sources_operation_and_registration() -> None:
    request = make_request()
    ds = build_captures(request)[1]
    first, *others = ds.SourceImageSequence
    assert first.ReferencedSOPInstanceUID == request.prepared.fixed_sources[1].sop_instance_uid
    functional = {str(header.SOPInstanceUID) for header in request.moving_headers}
    assert others
    assert {item.ReferencedSOPInstanceUID for item in others} <= functional
    assert ds.DerivationCodeSequence[0].CodeValue == "113085"
    [registration] = ds.SourceInstanceSequence
    assert registration.ReferencedSOPInstanceUID == request.identity.registration_uid
    assert len(ds.ContributingEquipmentSequence) == 3


def test_what_is_referenced_is_also_found_by_study_and_series() -> None:
    ds = capture_one()
    listed = {i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}
    used = {i.ReferencedSOPInstanceUID for i in (*ds.SourceImageSequence, *ds.SourceInstanceSequence)}
    assert listed == used


def test_a_shared_frame_needs_no_registration_object() -> None:
    assert "SourceInstanceSequence" not in capture_one(scene=make_scene(shared=True))


def test_values_that_come_from_the_functional_series_alone_name_the_mri_as_no_source() -> None:
    request, ds = make_request(), Dataset()
    ds.StudyInstanceUID = request.head.StudyInstanceUID
    fixed = list_references(request, request.prepared.fixed_sources[:1])
    moving = list_references(request, request.prepared.moving_sources[2:4])
    refer_to_functional(ds, request, SliceSources(fixed, moving))
    assert [item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence] == [m.sop_instance_uid for m in moving]
    assert [item.ReferencedSOPInstanceUID for item in ds.ReferencedImageSequence] == [fixed[0].sop_instance_uid]
    listed = {i.ReferencedSOPInstanceUID for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence}
    assert listed == {one.sop_instance_uid for one in (*fixed, *moving, *list_registrations(request))}


def test_a_slice_out_of_reach_has_no_functional_source() -> None:
    request, ds = make_request(), Dataset()
    ds.StudyInstanceUID = request.head.StudyInstanceUID
    fixed = list_references(request, request.prepared.fixed_sources[:1])
    refer_to_functional(ds, request, SliceSources(fixed, []))
    assert "SourceImageSequence" not in ds


def test_the_registration_is_named_by_its_class_and_series() -> None:
    request = make_request()
    [named] = list_registrations(request)
    assert named.sop_class_uid == SpatialRegistrationStorage
    assert named.series_instance_uid == request.identity.registration_series_uid
    assert list_registrations(make_request(make_scene(shared=True))) == []


def test_a_slice_of_a_reformat_names_both_mri_slices_it_lies_between_the_nearer_first() -> None:
    request = reformat(make_request())  # MRI slices 3 mm apart, cubes of 1 mm
    mri = [source.sop_instance_uid for source in make_request().prepared.fixed_sources]
    reach = measure_sources(request)
    named = [[one.sop_instance_uid for one in reach.find(request, place).fixed] for place in list_slices(request)]
    assert named[1] == [mri[0], mri[1]]
    assert named[2] == [mri[1], mri[0]]
    assert named[4] == [mri[1], mri[2]]
    first, *_ = build_captures(request)[1].SourceImageSequence
    assert first.SpatialLocationsPreserved == "NO"
