"""Patients in the trail: not at all without a key, and by a hash that says nothing without it."""

import pytest

from fusionnode.flow.observing import NOBODY, Subject
from fusionnode.traces.people import AuditKey, Naming, choose_naming, make_pseudonym, name_patient

KEY = AuditKey("secret")
DOE = Subject("1.2", "1.3", "DOE-4711", "HOSPITAL")


def test_without_a_key_a_hash_becomes_nothing() -> None:
    assert choose_naming(Naming.HASH, AuditKey("")) is Naming.NONE
    assert choose_naming(Naming.HASH, KEY) is Naming.HASH
    assert choose_naming(Naming.CLEAR, AuditKey("")) is Naming.CLEAR


@pytest.mark.parametrize("naming", list(Naming))
def test_nobody_has_no_name(naming: Naming) -> None:
    assert name_patient(NOBODY, naming, KEY) is None


def test_a_hash_shows_neither_number_nor_issuer() -> None:
    named = name_patient(DOE, Naming.HASH, KEY)
    assert named is not None
    assert "4711" not in repr(named)
    assert "HOSPITAL" not in repr(named)


def test_in_clear_the_number_and_its_issuer_are_told() -> None:
    named = name_patient(DOE, Naming.CLEAR, KEY)
    assert named is not None
    assert (named.identifier, named.details) == ("DOE-4711", {"Issuer of Patient ID": "HOSPITAL"})


def test_the_hash_depends_on_patient_issuer_and_key_and_on_nothing_else() -> None:
    other_study = Subject("9.9", "9.8", DOE.patient_id, DOE.issuer)
    assert make_pseudonym(other_study, KEY.of_patients) == make_pseudonym(DOE, KEY.of_patients)
    others = [
        make_pseudonym(Subject(patient_id="DOE-4712", issuer="HOSPITAL"), KEY.of_patients),
        make_pseudonym(Subject(patient_id="4711", issuer="HOSPITALDOE-"), KEY.of_patients),
        make_pseudonym(DOE, AuditKey("other").of_patients),
        make_pseudonym(DOE, KEY.of_seals),
    ]
    assert make_pseudonym(DOE, KEY.of_patients) not in others
    assert len(set(others)) == len(others)
