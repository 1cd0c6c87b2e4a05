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


def universal(issuer: str, authority: str) -> PatientIdentity:
    return PatientIdentity("P1", issuer, authority=authority)


identities = st.builds(
    PatientIdentity,
    patient_id=st.sampled_from(["", " ", "P1", "P1 ", "P2"]),
    issuer=st.sampled_from(["", "A", "B"]),
    birth_date=st.sampled_from(["", "19700101", "19800101"]),
    sex=st.sampled_from(["", "M", "m", "F"]),
)


issued = st.builds(universal, st.sampled_from(["", "A", "B"]), st.sampled_from(["", "ISO:1", "ISO:2", "DNS:1"]))


@given(one=identities | issued, other=identities | issued)
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


@given(known=st.lists(issued, min_size=1, max_size=3), other=issued)
def test_a_merged_issuer_is_its_universal_name_where_the_other_has_one_too(
    known: list[PatientIdentity], other: PatientIdentity
) -> None:
    merged = merge_identities(known)
    if any(len({one.issuer, merged.issuer} - {""}) > 1 or one.authority not in ("", merged.authority) for one in known):
        return
    by_local_name = bool(merged.issuer and other.issuer) and merged.issuer != other.issuer
    comparable = merged.authority[:3] == other.authority[:3] != ""
    expected = merged.authority != other.authority if comparable else by_local_name
    assert (find_contradictions(merged, other) == (Contradiction.ISSUER,)) == expected


def test_an_issuer_under_several_names_within_one_series_is_nobody_s() -> None:
    series = make_series("renamed")
    first, *rest = (replace(one, patient=universal("A", "ISO:1.2")) for one in series.instances)
    for other in (universal("B", "ISO:1.2"), universal("A", "DNS:x.org")):
        mixed = replace(series, instances=(replace(first, patient=other), *rest))
        assert "issuer of the patient ID in several ways" in explain_unidentified(mixed)
    silent = replace(series, instances=(replace(first, patient=PatientIdentity("P1")), *rest))
    assert explain_unidentified(silent) == ""


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (PatientIdentity("P1", "A"), PatientIdentity("P1", "B"), (Contradiction.ISSUER,)),
        (PatientIdentity("P1", "A"), PatientIdentity("P1", ""), ()),
        (PatientIdentity("P1", "", "19700101"), PatientIdentity("P1", "", "19700102"), (Contradiction.BIRTH_DATE,)),
        (PatientIdentity("P1", "", "", "M"), PatientIdentity("P1", "", "", "F"), (Contradiction.SEX,)),
        (PatientIdentity("P1", "", "", "M"), PatientIdentity("P1", "", "", "m "), ()),
        (universal("A", "ISO:1.2"), universal("A", "ISO:1.3"), (Contradiction.ISSUER,)),
        (universal("A", "ISO:1.2"), universal("B", "ISO:1.2"), ()),
        (universal("", "ISO:1.2"), universal("B", "ISO:1.3"), (Contradiction.ISSUER,)),
        (universal("A", "ISO:1.2"), universal("A", "DNS:x.org"), ()),
        (universal("A", "ISO:1.2"), universal("B", "DNS:x.org"), (Contradiction.ISSUER,)),
        (universal("A", "ISO:1.2"), universal("B", ""), (Contradiction.ISSUER,)),
        (universal("", "ISO:1.2"), universal("B", ""), ()),
        (universal("", "DNS:X.org"), universal("", "DNS:x.ORG"), ()),
        (universal("", "URI:X"), universal("", "URI:x"), (Contradiction.ISSUER,)),
        (universal("", ":1.2"), universal("", ":1.3"), (Contradiction.ISSUER,)),
    ],
)
def test_what_contradicts(one: PatientIdentity, other: PatientIdentity, expected: tuple[Contradiction, ...]) -> None:
    assert find_contradictions(one, other) == expected


@pytest.mark.parametrize(
    "patient_id", ["UNKNOWN", "anonymous", " 0 ", "N/A", "99999", "xxx", "1234", "1234567890", "Unbekannt"]
)
def test_words_that_many_patients_share_are_placeholders(patient_id: str) -> None:
    assert is_placeholder(PatientIdentity(patient_id))
    assert not is_placeholder(PatientIdentity(f"{patient_id.strip()}-4711"))


@pytest.mark.parametrize("patient_id", ["123", "12346", "01234", "TESTA", "4711", "11"])
def test_ids_that_are_merely_short_or_alike_are_ids(patient_id: str) -> None:
    assert not is_placeholder(PatientIdentity(patient_id))


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
