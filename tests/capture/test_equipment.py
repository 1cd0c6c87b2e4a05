from datetime import UTC, datetime

from pydicom import Dataset

from fusionnode.capture.equipment import list_contributors
from fusionnode.capture.identity import derive_device_uid
from tests.support.captures import make_request, make_scene, reformat

MOMENT = datetime(2024, 3, 6, 23, 30, 15, tzinfo=UTC)


def list_for(character_set: str = "ISO_IR 100", **changes: object) -> list[Dataset]:
    target = Dataset()
    target.SpecificCharacterSet = character_set
    return list_contributors(make_request(**changes), target, MOMENT)


def test_both_scanners_and_the_algorithm_are_named_by_what_they_did() -> None:
    purposes = [item.PurposeOfReferenceCodeSequence[0].CodeValue for item in list_for()]
    assert purposes == ["109101", "109101", "109102"]


def test_the_algorithm_names_software_model_and_pipeline_and_is_a_device() -> None:
    algorithm = list_for()[-1]
    assert list(algorithm.SoftwareVersions) == ["0.1.0", "laplacian@1.0", "brain-pet@1.2"]
    assert algorithm.DeviceUID == derive_device_uid("laplacian@1.0")
    assert algorithm.ContributionDateTime == "20240306233015.000000+0000"


def test_what_the_algorithm_did_is_told_and_nothing_more() -> None:
    registered, shared = (list_for(scene=make_scene(shared=one))[-1].ContributionDescription for one in (False, True))
    assert registered == "Registered the functional series to the MRI, resampled it onto the MRI grid and fused both"
    assert "egistered" not in shared
    assert "shared frame of reference" in shared
    cubes = list_contributors(reformat(make_request()), Dataset(), MOMENT)[-1].ContributionDescription
    assert cubes.endswith("resampled both series and fused both")


def test_a_scanner_without_a_manufacturer_is_unknown_rather_than_invalid() -> None:
    scene = make_scene()
    for ds in scene.fixed:
        del ds.Manufacturer
    assert list_for(scene=scene)[0].Manufacturer == "unknown"


def test_what_the_character_set_cannot_hold_is_left_out_and_the_item_declares_none_of_its_own() -> None:
    scene = make_scene()
    for ds in scene.moving:
        ds.SpecificCharacterSet, ds.InstitutionName, ds.StationName = "ISO_IR 192", "東京病院", "PET-1"
    latin, unicode = list_for(scene=scene)[1], list_for("ISO_IR 192", scene=scene)[1]
    assert ("InstitutionName" in latin, latin.StationName) == (False, "PET-1")
    assert unicode.InstitutionName == "東京病院"
    assert "SpecificCharacterSet" not in latin
    assert "SpecificCharacterSet" not in unicode


def test_the_acquisition_is_told_with_the_scanners_own_offset() -> None:
    scene = make_scene()
    for ds in scene.moving:
        ds.TimezoneOffsetFromUTC = "-0500"
    mri, functional, _ = list_for(scene=scene)
    assert mri.ContributionDateTime == "20240305091200.00"
    assert functional.ContributionDateTime == "20240305100200.00-0500"


def test_an_acquisition_without_a_time_is_not_dated() -> None:
    scene = make_scene()
    del scene.fixed[0].AcquisitionTime
    assert "ContributionDateTime" not in list_for(scene=scene)[0]


def test_no_patient_is_named_among_the_machines() -> None:
    assert "Synthetic" not in "".join(str(item) for item in list_for())
