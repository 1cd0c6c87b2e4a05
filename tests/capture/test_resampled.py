import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import NuclearMedicineImageStorage, PositronEmissionTomographyImageStorage

from fusionnode.capture.pet_facts import PetUndescribed
from fusionnode.capture.resampled import NOT_WRITTEN, build_resampled, explain_absence
from fusionnode.capture.verify_resampled import verify_resampled
from fusionnode.errors import CaptureInvalid
from tests.support.captures import make_request, make_scene, make_scene_with, with_uptake


def test_pet_becomes_an_image_per_slice_and_spect_one_of_many_frames() -> None:
    pet = build_resampled(with_uptake(make_request(make_scene("PT"))))
    spect = build_resampled(with_uptake(make_request(make_scene("NM"))))
    assert [ds.SOPClassUID for ds in pet] == [PositronEmissionTomographyImageStorage] * 5
    assert [(ds.SOPClassUID, ds.NumberOfFrames) for ds in spect] == [(NuclearMedicineImageStorage, 5)]


def test_a_reason_is_given_exactly_where_none_can_be_made() -> None:
    for modality in ("PT", "NM"):
        request = make_request(make_scene(modality))
        assert explain_absence(request.header_of, request.prepared.moving_sources) == ""
    request = make_request(make_scene_with("moving", DecayCorrection=""))
    sentence = explain_absence(request.header_of, request.prepared.moving_sources)
    assert sentence.startswith(f"{NOT_WRITTEN}: Decay Correction is missing")
    with pytest.raises(PetUndescribed, match="Decay Correction"):
        build_resampled(with_uptake(request))


def store_number(place: Dataset, keyword: str, text: str) -> None:
    """As it stands in a file: nothing is asked whether the Standard allows it."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    place[tag] = RawDataElement(tag, "DS", len(text), text.encode(), 0, False, True)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("text", ["72.574779999999997", "70,5"])
@pytest.mark.parametrize("keyword", ["PatientWeight", "RadionuclideTotalDose", "RadionuclideHalfLife"])
def test_pet_whose_suv_could_not_be_computed_from_the_copy_is_not_written(keyword: str, text: str) -> None:
    scene = make_scene()
    for ds in scene.moving:
        store_number(ds if keyword in ds else ds.RadiopharmaceuticalInformationSequence[0], keyword, text)
    request = make_request(scene)
    sentence = explain_absence(request.header_of, request.prepared.moving_sources)
    assert sentence.startswith(f"{NOT_WRITTEN}: its {keyword} is written")
    assert text not in sentence


@pytest.mark.parametrize("offsets", [("+0100", "+0200"), ("+0100", ""), ("-0000", "-0000"), ("+01:00", "+01:00")])
def test_pet_of_more_than_one_clock_or_of_none_that_can_be_named_is_not_written(offsets: tuple[str, str]) -> None:
    scene = make_scene()
    for index, ds in enumerate(scene.moving):
        ds.TimezoneOffsetFromUTC = offsets[index > 0]
    request = make_request(scene)
    assert "offsets from UTC" in explain_absence(request.header_of, request.prepared.moving_sources)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_a_body_that_is_described_invalidly_is_left_out_and_no_reason_to_refuse(modality: str) -> None:
    scene = make_scene(modality)
    for ds in scene.moving:
        store_number(ds, "PatientSize", "1.7200000000000000001")
    request = with_uptake(make_request(scene))
    images = build_resampled(request)
    assert all("PatientSize" not in ds for ds in images)
    verify_resampled(images, request)


@pytest.mark.parametrize(("said", "found"), [("1.72", "1.73"), ("1.72", None), (None, "1.73")])
def test_a_body_other_than_the_source_s_is_refused_without_a_word_about_it(said: str | None, found: str | None) -> None:
    scene = make_scene()
    for ds in scene.moving:
        ds.PatientSize = said
    request = with_uptake(make_request(scene))
    images = build_resampled(request)
    images[0].PatientSize = found
    with pytest.raises(CaptureInvalid, match="PatientSize") as refusal:
        verify_resampled(images, request)
    assert "1.7" not in str(refusal.value) + str(refusal.value.facts)
