"""What goes into a query."""

from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from fusionnode.retrieval.findings import FoundSeries
from fusionnode.retrieval.keys import list_study_keys, make_identifier, make_instance_keys, make_series_keys
from fusionnode.retrieval.wishes import Wish, read_range


def test_several_modalities_are_asked_for_one_by_one() -> None:
    asked = [keys["ModalitiesInStudy"] for keys in list_study_keys(Wish("A", modalities=("MR", "PT")))]
    assert asked == ["MR", "PT"]


def test_what_is_not_asked_for_matches_everything_and_is_returned() -> None:
    [keys] = list_study_keys(Wish("A", issuer="X", dates=read_range("20240301-")))
    assert keys["StudyDate"] == "20240301-"
    # Many archives do not know the issuer, and some then find nothing.
    assert keys["IssuerOfPatientID"] == ""
    assert keys["PatientBirthDate"] == keys["ModalitiesInStudy"] == ""


@pytest.mark.parametrize("patient_id", ["A", "Müller", "山田^太郎"])
def test_an_identifier_reads_back_whatever_its_letters(patient_id: str) -> None:
    [keys] = list_study_keys(Wish(patient_id))
    identifier = make_identifier("STUDY", keys)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, True
    write_dataset(file, identifier)
    again: Dataset = read_dataset(BytesIO(file.getvalue()), True, True)
    assert again.PatientID == patient_id
    assert ("SpecificCharacterSet" in again) == (not patient_id.isascii())


def test_each_level_names_all_above_it() -> None:
    assert make_series_keys("1.2")["StudyInstanceUID"] == "1.2"
    keys = make_instance_keys(FoundSeries("1.2", "1.3", "MR"))
    assert (keys["StudyInstanceUID"], keys["SeriesInstanceUID"], keys["SOPInstanceUID"]) == ("1.2", "1.3", "")
