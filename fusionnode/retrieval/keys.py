"""The keys of a query (PS3.4 C.6.2 and PS3.18 10.6.1): what must match, and what is to be returned. Pure."""

from collections.abc import Iterator, Mapping

from pydicom import Dataset

from fusionnode.domain.uids import derive_uid
from fusionnode.retrieval.findings import FoundSeries
from fusionnode.retrieval.wishes import Wish

Keys = Mapping[str, str]
"""Value by DICOM keyword; an empty value matches everything and asks for the attribute to be returned."""

NOBODY: Keys = {"StudyInstanceUID": derive_uid("a study that nobody has")}
"""Keys at STUDY level that match nothing, for those who only want to know whether a query is answered."""


def list_study_keys(wish: Wish) -> Iterator[Keys]:
    """Yield the keys of each query at STUDY level that the wish takes: one for each modality, or a single one.

    Modalities in Study cannot be asked for as a list: many archives take a list for one odd modality.
    """
    keys = {
        "StudyInstanceUID": wish.study_instance_uid,
        "StudyDate": str(wish.dates),
        "AccessionNumber": wish.accession_number,
        "PatientID": wish.patient_id,
        "IssuerOfPatientID": "",
        "PatientBirthDate": "",
        "PatientSex": "",
    }
    for modality in wish.modalities or ("",):
        yield {**keys, "ModalitiesInStudy": modality}


def make_series_keys(study_instance_uid: str) -> Keys:
    """Return the keys at SERIES level for all series of a study."""
    return {
        "StudyInstanceUID": study_instance_uid,
        "SeriesInstanceUID": "",
        "Modality": "",
        "NumberOfSeriesRelatedInstances": "",
    }


def make_instance_keys(series: FoundSeries) -> Keys:
    """Return the keys at IMAGE level for all instances of a series."""
    return {
        "StudyInstanceUID": series.study_instance_uid,
        "SeriesInstanceUID": series.series_instance_uid,
        "SOPInstanceUID": "",
        "SOPClassUID": "",
    }


def make_identifier(level: str, keys: Keys) -> Dataset:
    """Return the identifier of a C-FIND, C-GET or C-MOVE request.

    Its character set is named where its values need one; the default repertoire is understood by every archive.
    """
    identifier = Dataset()
    if not all(value.isascii() for value in keys.values()):
        identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier
