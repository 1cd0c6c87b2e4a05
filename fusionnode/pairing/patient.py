"""Is it the same patient? PatientID and issuer, birth date and sex where both are present, never the name (middle).

An issuer has a local name, which only its own network understands, and may have a universal one, which everybody does.
Both shall name the same authority (PS3.3 section 10.15, as in HL7 v2 CX.4), so universal names of one type decide, and
local names only where those cannot be compared.
"""

import itertools
from collections.abc import Iterable
from enum import StrEnum

from fusionnode.domain.series import PatientIdentity, Series

_PLACEHOLDERS = frozenset(
    {
        *("0", "ANON", "ANONYM", "ANONYMISED", "ANONYMIZED", "ANONYMOUS", "DEFAULT", "DEIDENTIFIED", "DUMMY"),
        *("EMERGENCY", "NA", "N/A", "NN", "N.N.", "NOID", "NO ID", "NONE", "NOT AVAILABLE", "NULL", "PATIENT"),
        *("PHANTOM", "TEST", "TESTPATIENT", "UNBEKANNT", "UNKNOWN"),
    }
)

_CASELESS = frozenset({"DNS", "EUI64", "UUID"})
"""Types of universal names (PS3.3 table 10-17) in which upper and lower case are the same."""


class Contradiction(StrEnum):
    """What tells two identities with one PatientID apart."""

    ISSUER = "issuer of the patient ID"
    BIRTH_DATE = "birth date"
    SEX = "sex"


def find_contradictions(one: PatientIdentity, other: PatientIdentity) -> tuple[Contradiction, ...]:
    """Return what contradicts between two identities of the same PatientID; an absent value contradicts nothing."""
    found = (
        (Contradiction.ISSUER, _differ_in_issuer(one, other)),
        (Contradiction.BIRTH_DATE, _differ(one.birth_date, other.birth_date)),
        (Contradiction.SEX, _differ(one.sex.upper(), other.sex.upper())),
    )
    return tuple(what for what, differs in found if differs)


def is_same_patient(one: PatientIdentity, other: PatientIdentity) -> bool:
    """Whether the PatientIDs are equal and present, and nothing contradicts.

    The relation is not transitive: an identity without an issuer agrees with two that contradict each other.
    """
    patient_id = one.patient_id.strip()
    return bool(patient_id) and patient_id == other.patient_id.strip() and not find_contradictions(one, other)


def is_placeholder(identity: PatientIdentity) -> bool:
    """Whether the PatientID is a word that several patients share where the real one was not known.

    One character repeated, such as 00000, and digits counted up, such as 123456, are such words too.
    """
    patient_id = identity.patient_id.strip().upper()
    repeated = len(patient_id) > 2 and len(set(patient_id)) == 1
    counted = len(patient_id) > 3 and "1234567890".startswith(patient_id)
    return repeated or counted or patient_id in _PLACEHOLDERS


def explain_unidentified(series: Series) -> str:
    """Return why it cannot be said whose ``series`` is, without naming anybody; empty where it can."""
    identities = {one.patient for one in series.instances}
    if any(not identity.patient_id.strip() for identity in identities):
        return "has no PatientID, so it cannot be told whose it is"
    if not all(is_same_patient(a, b) for a, b in itertools.combinations(identities, 2)):
        return "its instances name different patients"
    # One authority under two names: each may contradict somebody else, and one identity could not hold both.
    issuers = {one.issuer.strip() for one in identities}, _list_authorities(identities)
    if any(len(names - {""}) > 1 for names in issuers):
        return "its instances name the issuer of the patient ID in several ways"
    return ""


def merge_identities(identities: Iterable[PatientIdentity]) -> PatientIdentity:
    """Return one identity that holds whatever any of ``identities``, all of one patient, knows."""
    known = list(identities)
    return PatientIdentity(
        patient_id=max(one.patient_id.strip() for one in known),
        issuer=max(one.issuer.strip() for one in known),
        birth_date=max(one.birth_date.strip() for one in known),
        sex=max(one.sex.strip().upper() for one in known),
        authority=max(_list_authorities(known)),
    )


def _differ(one: str, other: str) -> bool:
    return bool(one.strip()) and bool(other.strip()) and one.strip() != other.strip()


def _differ_in_issuer(one: PatientIdentity, other: PatientIdentity) -> bool:
    (kind, name), (other_kind, other_name) = _split_authority(one), _split_authority(other)
    if name and other_name and kind == other_kind:
        return name != other_name
    return _differ(one.issuer, other.issuer)


def _split_authority(identity: PatientIdentity) -> tuple[str, str]:
    """Return type and universal name of the issuer, in one case where the case means nothing."""
    kind, _, name = identity.authority.partition(":")
    kind, name = kind.strip().upper(), name.strip()
    return kind, name.upper() if kind in _CASELESS else name


def _list_authorities(identities: Iterable[PatientIdentity]) -> set[str]:
    return {f"{kind}:{name}" if name else "" for kind, name in map(_split_authority, identities)}
