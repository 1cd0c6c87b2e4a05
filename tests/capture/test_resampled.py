from pydicom.uid import NuclearMedicineImageStorage, PositronEmissionTomographyImageStorage

from fusionnode.capture.resampled import build_resampled
from tests.support.captures import make_request, make_scene, with_uptake


def test_pet_becomes_an_image_per_slice_and_spect_one_of_many_frames() -> None:
    pet = build_resampled(with_uptake(make_request(make_scene("PT"))))
    spect = build_resampled(with_uptake(make_request(make_scene("NM"))))
    assert [ds.SOPClassUID for ds in pet] == [PositronEmissionTomographyImageStorage] * 5
    assert [(ds.SOPClassUID, ds.NumberOfFrames) for ds in spect] == [(NuclearMedicineImageStorage, 5)]
