"""How a patient appears in the audit trail: as a keyed hash, in clear if the site chose that, or not at all. Pure."""

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

from fusionnode.flow.observing import Subject
from fusionnode.traces.message import Code, Concerned

_PATIENT_NUMBER = Code("2", "Patient Number", "RFC-3881")
_PSEUDONYM_DIGITS = 32


class Naming(StrEnum):
    """How a patient is named."""

    NONE = "none"
    HASH = "hash"
    CLEAR = "clear"


@dataclass(frozen=True)
class AuditKey:
    """The site's secret, and what is derived from it, so that the two uses never meet.

    Attributes:
        secret: any text; empty where the site has none.
    """

    secret: str

    @property
    def of_patients(self) -> bytes:
        """The key of pseudonyms; empty without a secret."""
        return self._derive("patients")

    @property
    def of_seals(self) -> bytes:
        """The key of seals; empty without a secret."""
        return self._derive("seals")

    def _derive(self, use: str) -> bytes:
        if not self.secret:
            return b""
        return hmac.new(self.secret.encode(), f"fusionnode audit {use}".encode(), hashlib.sha256).digest()


def choose_naming(wanted: Naming, key: AuditKey) -> Naming:
    """Return how patients are named: without a key a hash would be no secret (few have more than ten digits)."""
    return Naming.NONE if wanted is Naming.HASH and not key.secret else wanted


def name_patient(subject: Subject, naming: Naming, key: AuditKey) -> Concerned | None:
    """Return the patient as an object of an audit message; None where nobody is to be named."""
    if not subject.patient_id or naming is Naming.NONE:
        return None
    shown = subject.patient_id if naming is Naming.CLEAR else make_pseudonym(subject, key.of_patients)
    details = {"Issuer of Patient ID": subject.issuer} if naming is Naming.CLEAR and subject.issuer else {}
    return Concerned(shown, 1, 1, _PATIENT_NUMBER, details)


def make_pseudonym(subject: Subject, key: bytes) -> str:
    """Return 32 hexadecimal digits: the same for the same Patient ID and issuer, nothing without the key."""
    text = f"{subject.issuer}\x1f{subject.patient_id}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:_PSEUDONYM_DIGITS]
