"""Edge: an instance header as a row of the ledger and back, nothing lost on the way."""

from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from fusionnode.domain.series import InstanceHeader, PatientIdentity

_SAME = (
    "sop_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "study_instance_uid",
    "frame_of_reference_uid",
    "modality",
    "sha256",
    "path",
    "transfer_syntax_uid",
    "rows",
    "columns",
    "frames",
    "instance_number",
    "acquired_at",
    "claimed_slices",
    "places",
)
_NUMBERS = ("position_mm", "orientation", "pixel_spacing_mm")
_IDENTITY = ("patient_id", "issuer", "birth_date", "sex", "authority")


def write_row(header: InstanceHeader, generation: int, seen_at: datetime) -> dict[str, Any]:
    """Return the values of the row for ``header``."""
    row: dict[str, Any] = {name: getattr(header, name) for name in _SAME}
    row |= write_identity(header.patient)
    for name in _NUMBERS:
        numbers = getattr(header, name)
        row[name] = None if numbers is None else list(numbers)
    return row | {"attributes": dict(header.attributes), "generation": generation, "seen_at": seen_at}


def write_identity(patient: PatientIdentity) -> dict[str, str]:
    """Return the values of the identity columns."""
    return {name: getattr(patient, name) for name in _IDENTITY}


def read_row(row: RowMapping) -> InstanceHeader:
    """Return the header that was written to ``row``."""
    numbers = {name: None if row[name] is None else tuple(row[name]) for name in _NUMBERS}
    facts: dict[str, Any] = {name: row[name] for name in _SAME} | numbers
    return InstanceHeader(**facts, patient=read_identity(row), attributes=dict(row["attributes"]))


def read_identity(row: RowMapping) -> PatientIdentity:
    """Return whom the identity columns name."""
    return PatientIdentity(**{name: row[name] for name in _IDENTITY})
