"""Is it the same patient? PatientID and issuer, birth date and sex where both are present, never the name (middle)."""

import itertools
from collections.abc import Iterable
from enum import StrEnum

from fusionnode.domain.series import PatientIdentity, Series

_PLACEHOLDERS = frozenset(
    {"0", "123456", "ANON", "ANONYMOUS", "ANONYMIZED", "NA", "N/A", "NONE", "NOID", "NO ID", "NULL", "TEST", "UNKNOWN"}
)


class Contradiction(StrEnum):
    """What tells two identities with one PatientID apart."""

    ISSUER = "issuer of the patient ID"
    BIRTH_DATE = "birth date"
    SEX = "sex"


def find_contradictions(one: PatientIdentity, other: PatientIdentity) -> tuple[Contradiction, ...]:
    """Return what contradicts between two identities of the same PatientID; an absent value contradicts nothing."""
    values = (
        (Contradiction.ISSUER, one.issuer, other.issuer),
        (Contradiction.BIRTH_DATE, one.birth_date, other.birth_date),
        (Contradiction.SEX, one.sex.upper(), other.sex.upper()),
    )
    return tuple(what for what, a, b in values if a.strip() and b.strip() and a.strip() != b.strip())


def is_same_patient(one: PatientIdentity, other: PatientIdentity) -> bool:
    """Whether the PatientIDs are equal and present, and nothing contradicts.

    The relation is not transitive: an identity without an issuer agrees with two that contradict each other.
    """
    patient_id = one.patient_id.strip()
    return bool(patient_id) and patient_id == other.patient_id.strip() and not find_contradictions(one, other)


def is_placeholder(identity: PatientIdentity) -> bool:
    """Whether the PatientID is a word that several patients share where the real one was not known.

    One character repeated, such as 00000, is such a word too.
    """
    patient_id = identity.patient_id.strip().upper()
    return patient_id in _PLACEHOLDERS or (len(patient_id) > 2 and len(set(patient_id)) == 1)


def explain_unidentified(series: Series) -> str:
    """Return why it cannot be said whose ``series`` is, without naming anybody; empty where it can."""
    identities = {one.patient for one in series.instances}
    if any(not identity.patient_id.strip() for identity in identities):
        return "has no PatientID, so it cannot be told whose it is"
    if not all(is_same_patient(a, b) for a, b in itertools.combinations(identities, 2)):
        return "its instances name different patients"
    return ""


def merge_identities(identities: Iterable[PatientIdentity]) -> PatientIdentity:
    """Return one identity that holds whatever any of ``identities``, all of one patient, knows."""
    known = list(identities)
    return PatientIdentity(
        patient_id=max(one.patient_id.strip() for one in known),
        issuer=max(one.issuer.strip() for one in known),
        birth_date=max(one.birth_date.strip() for one in known),
        sex=max(one.sex.strip().upper() for one in known),
    )
