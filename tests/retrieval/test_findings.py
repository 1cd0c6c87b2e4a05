"""Answers of archives that heed every key, some, or none."""

from typing import Any

import pytest
from pydicom import Dataset

from fusionnode.domain.series import PatientIdentity
from fusionnode.retrieval.findings import (
    FoundStudy,
    fits,
    read_instance,
    read_series,
    read_study,
    unite_studies,
)
from fusionnode.retrieval.wishes import Wish, read_range


def _answer(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _study(uid: str = "1.2", patient_id: str = "A", **changes: Any) -> FoundStudy:
    return FoundStudy(uid, PatientIdentity(patient_id, changes.pop("issuer", "")), **changes)


def test_a_study_is_read_with_what_the_archive_returned() -> None:
    answer = _answer(StudyInstanceUID="1.2", PatientID=" A ", StudyDate="20240301", ModalitiesInStudy=["MR", "PT"])
    assert read_study(answer) == _study(date="20240301", modalities=("MR", "PT"))
    assert read_study(_answer(StudyInstanceUID="1.2", PatientID="A", ModalitiesInStudy="MR")) == _study(
        modalities=("MR",)
    )


@pytest.mark.parametrize("uid", ["", "x", "1..2"])
def test_an_answer_without_a_uid_is_none(uid: str) -> None:
    answer = Dataset.from_json({"0020000D": {"vr": "UI", "Value": [uid]}})
    assert read_study(answer) is None


def test_counts_are_numbers_or_unknown() -> None:
    facts = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "Modality": "MR"}
    found = read_series(_answer(**facts, NumberOfSeriesRelatedInstances=12), "1.2")
    assert found is not None
    assert found.instances == 12
    unknown = read_series(_answer(**facts), "1.2")
    assert unknown is not None
    assert unknown.instances is None


def test_what_belongs_elsewhere_is_left_out() -> None:
    assert read_series(_answer(StudyInstanceUID="1.9", SeriesInstanceUID="1.3"), "1.2") is None
    assert read_instance(_answer(SeriesInstanceUID="1.9", SOPInstanceUID="1.4"), "1.3") is None
    assert read_instance(_answer(SOPInstanceUID="1.4"), "1.3") is not None


@pytest.mark.parametrize(
    ("wish", "study", "expected"),
    [
        (Wish("A"), _study(), True),
        (Wish("A"), _study(patient_id="AB"), False),
        (Wish("a"), _study(), False),
        (Wish("A*"), _study(patient_id="AB"), False),
        (Wish("A*"), _study(patient_id="A*"), True),
        (Wish("A"), _study(patient_id=""), False),
        (Wish("A", issuer="X"), _study(), True),
        (Wish("A", issuer="X"), _study(issuer="Y"), False),
        (Wish(study_instance_uid="1.2"), _study(), True),
        (Wish(study_instance_uid="1.3"), _study(), False),
        (Wish(accession_number="7"), _study(), True),
        (Wish(accession_number="7"), _study(accession_number="8"), False),
        (Wish(dates=read_range("20240301")), _study(date="20240301"), True),
        (Wish(dates=read_range("20240301")), _study(date="20240302"), False),
        (Wish(dates=read_range("20240301")), _study(), True),
        (Wish(modalities=("PT",)), _study(modalities=("MR", "PT")), True),
        (Wish(modalities=("PT",)), _study(modalities=("MR",)), False),
        (Wish(modalities=("PT",)), _study(), True),
    ],
)
def test_only_what_was_asked_for_fits(wish: Wish, study: FoundStudy, expected: bool) -> None:
    assert fits(wish, study) is expected


def test_each_study_is_kept_once_in_the_order_of_arrival() -> None:
    assert [one.study_instance_uid for one in unite_studies([_study("1.2"), _study("1.1"), _study("1.2")])] == [
        "1.2",
        "1.1",
    ]
