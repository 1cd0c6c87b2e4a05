"""Who is the same patient: never on a guess, never by name."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.series import PatientIdentity
from fusionnode.pairing.patient import (
    Contradiction,
    explain_unidentified,
    find_contradictions,
    is_placeholder,
    is_same_patient,
    merge_identities,
)
from tests.support.series_headers import make_series

identities = st.builds(
    PatientIdentity,
    patient_id=st.sampled_from(["", " ", "P1", "P1 ", "P2"]),
    issuer=st.sampled_from(["", "A", "B"]),
    birth_date=st.sampled_from(["", "19700101", "19800101"]),
    sex=st.sampled_from(["", "M", "m", "F"]),
)


@given(one=identities, other=identities)
def test_being_the_same_is_symmetric(one: PatientIdentity, other: PatientIdentity) -> None:
    assert is_same_patient(one, other) == is_same_patient(other, one)
    assert set(find_contradictions(one, other)) == set(find_contradictions(other, one))


@given(one=identities)
def test_only_a_named_patient_is_the_same_as_itself(one: PatientIdentity) -> None:
    assert is_same_patient(one, one) == bool(one.patient_id.strip())


@given(known=st.lists(identities, min_size=1, max_size=4), other=identities)
def test_a_merged_identity_contradicts_whatever_any_part_contradicts(
    known: list[PatientIdentity], other: PatientIdentity
) -> None:
    if any(find_contradictions(a, b) for a in known for b in known):
        return
    parts = {what for one in known for what in find_contradictions(one, other)}
    assert set(find_contradictions(merge_identities(known), other)) == parts


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (PatientIdentity("P1", "A"), PatientIdentity("P1", "B"), (Contradiction.ISSUER,)),
        (PatientIdentity("P1", "A"), PatientIdentity("P1", ""), ()),
        (PatientIdentity("P1", "", "19700101"), PatientIdentity("P1", "", "19700102"), (Contradiction.BIRTH_DATE,)),
        (PatientIdentity("P1", "", "", "M"), PatientIdentity("P1", "", "", "F"), (Contradiction.SEX,)),
        (PatientIdentity("P1", "", "", "M"), PatientIdentity("P1", "", "", "m "), ()),
    ],
)
def test_what_contradicts(one: PatientIdentity, other: PatientIdentity, expected: tuple[Contradiction, ...]) -> None:
    assert find_contradictions(one, other) == expected


@pytest.mark.parametrize("patient_id", ["UNKNOWN", "anonymous", " 0 ", "N/A", "99999", "xxx"])
def test_words_that_many_patients_share_are_placeholders(patient_id: str) -> None:
    assert is_placeholder(PatientIdentity(patient_id))
    assert not is_placeholder(PatientIdentity(f"{patient_id.strip()}-4711"))


def test_a_series_of_two_patients_under_one_uid_is_nobodys() -> None:
    series = make_series("collision")
    first, *rest = series.instances
    mixed = replace(series, instances=(replace(first, patient=PatientIdentity("P2")), *rest))
    assert "different patients" in explain_unidentified(mixed)
    assert explain_unidentified(series) == ""


def test_a_series_without_patient_id_is_nobodys() -> None:
    series = make_series("nobody")
    nameless = replace(series, instances=tuple(replace(one, patient=PatientIdentity(" ")) for one in series.instances))
    assert "no PatientID" in explain_unidentified(nameless)
