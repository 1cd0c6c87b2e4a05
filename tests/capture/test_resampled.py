import pytest
from pydicom.uid import NuclearMedicineImageStorage, PositronEmissionTomographyImageStorage

from fusionnode.capture.pet_facts import PetUndescribed
from fusionnode.capture.resampled import NOT_WRITTEN, build_resampled, explain_absence
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
