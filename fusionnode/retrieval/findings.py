"""What an archive answers, as values, and whether it fits what was asked: not every archive heeds every key. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import Dataset

from fusionnode.domain.series import PatientIdentity
from fusionnode.domain.uids import parse_uid
from fusionnode.errors import UidMalformed
from fusionnode.retrieval.wishes import Wish


@dataclass(frozen=True)
class FoundStudy:
    """One study; what the archive did not return is empty.

    Attributes:
        date: DA text.
    """

    study_instance_uid: str
    patient: PatientIdentity
    date: str = ""
    accession_number: str = ""
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundSeries:
    """One series; ``instances`` is (0020,1209), how many the archive says it has, or None."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    instances: int | None = None


@dataclass(frozen=True)
class FoundInstance:
    """One instance; the class is empty where the archive did not return it."""

    sop_instance_uid: str
    sop_class_uid: str = ""


def read_study(answer: Dataset) -> FoundStudy | None:
    """Return the study of an answer at STUDY level; None where it names none."""
    uid = _read_uid(answer, "StudyInstanceUID")
    if not uid:
        return None
    patient = PatientIdentity(
        _read(answer, "PatientID"),
        _read(answer, "IssuerOfPatientID"),
        _read(answer, "PatientBirthDate"),
        _read(answer, "PatientSex"),
    )
    modalities = tuple(one for one in _read(answer, "ModalitiesInStudy").split("\\") if one)
    return FoundStudy(uid, patient, _read(answer, "StudyDate"), _read(answer, "AccessionNumber"), modalities)


def read_series(answer: Dataset, study_instance_uid: str) -> FoundSeries | None:
    """Return the series of an answer at SERIES level; None where it names none, or one of another study."""
    uid, study = _read_uid(answer, "SeriesInstanceUID"), _read_uid(answer, "StudyInstanceUID")
    if not uid or study not in {"", study_instance_uid}:
        return None
    count = _read(answer, "NumberOfSeriesRelatedInstances")
    return FoundSeries(
        study_instance_uid, uid, _read(answer, "Modality"), int(count) if count.isascii() and count.isdigit() else None
    )


def read_instance(answer: Dataset, series_instance_uid: str) -> FoundInstance | None:
    """Return the instance of an answer at IMAGE level; None where it names none, or one of another series."""
    uid, series = _read_uid(answer, "SOPInstanceUID"), _read_uid(answer, "SeriesInstanceUID")
    if not uid or series not in {"", series_instance_uid}:
        return None
    return FoundInstance(uid, _read_uid(answer, "SOPClassUID"))


def fits(wish: Wish, study: FoundStudy) -> bool:
    """Whether a study is one that was asked for.

    An archive may ignore optional keys (PS3.4 C.2.2.1.2), compare without regard to case, or take a star in a Patient
    ID for a wildcard, for which DICOM knows no escape. What it did not return cannot speak against a study.
    """
    wanted = (
        (wish.patient_id, study.patient.patient_id, True),
        (wish.issuer, study.patient.issuer, False),
        (wish.study_instance_uid, study.study_instance_uid, True),
        (wish.accession_number, study.accession_number, False),
    )
    if any(asked and asked != found and (found or required) for asked, found, required in wanted):
        return False
    if study.date and not wish.dates.includes(study.date):
        return False
    return not (wish.modalities and study.modalities) or bool(set(wish.modalities) & set(study.modalities))


def unite_studies(studies: Iterable[FoundStudy]) -> list[FoundStudy]:
    """Return each study once, in the order in which they were found."""
    found: dict[str, FoundStudy] = {}
    for study in studies:
        found.setdefault(study.study_instance_uid, study)
    return list(found.values())


def _read(answer: Dataset, keyword: str) -> str:
    value = answer.get(keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value).strip()
    return "\\".join(str(one).strip() for one in value)


def _read_uid(answer: Dataset, keyword: str) -> str:
    try:
        return parse_uid(_read(answer, keyword))
    except UidMalformed:
        return ""
