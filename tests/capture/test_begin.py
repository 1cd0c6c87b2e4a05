from fusionnode.capture.begin import Beginning, begin_object
from tests.support.captures import make_request

BEGINNING = Beginning("1.2.840.10008.5.1.4.1.1.66.1", "1.2.3", "1.2.4", "REG", "words", after=7)


def test_it_belongs_to_the_patient_and_study_of_the_mri_and_is_dated_by_the_job() -> None:
    request = make_request()
    ds = begin_object(request, BEGINNING)
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "SpecificCharacterSet"):
        assert ds[keyword].value == request.head[keyword].value
    assert (ds.ContentDate, ds.ContentTime) == ("20240306", "233015.250000")
    assert (ds.Manufacturer, ds.SoftwareVersions) == ("fusionnode", "0.1.0")


def test_it_is_the_only_instance_of_a_series_that_is_numbered_after_the_fused_one() -> None:
    ds = begin_object(make_request(), BEGINNING)
    assert (ds.SOPInstanceUID, ds.file_meta.MediaStorageSOPInstanceUID) == ("1.2.3", "1.2.3")
    assert (ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber) == ("1.2.4", 9008, 1)
    assert len(ds.ContributingEquipmentSequence) == 3
