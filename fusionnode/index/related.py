"""Edge: which series may bear on how others are paired, found without loading those that cannot.

All series of one Patient ID do: judged without the partner it has, a series would be given another one. But a
placeholder such as UNKNOWN stands for any number of patients, and series with one are joined by frame of reference and
study alone; so of those only what a chain of shared frames and studies reaches counts. What has no Patient ID at all is
paired with nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from fusionnode.domain.series import PatientIdentity
from fusionnode.index.database import CHUNK
from fusionnode.index.tables import InstanceRow, SeriesRow
from fusionnode.pairing.patient import is_placeholder


def list_conditions(connection: Connection, series_uids: Collection[str]) -> list[ColumnElement[bool]]:
    """Return conditions on `SeriesRow`, no two of which hold for one series, for all that bear on ``series_uids``."""
    query = select(SeriesRow.patient_id, SeriesRow.series_instance_uid)
    patients: dict[str, set[str]] = {}
    for chunk in _split(series_uids):
        for patient_id, uid in connection.execute(query.where(SeriesRow.series_instance_uid.in_(chunk))):
            patients.setdefault(patient_id, set()).add(uid)
    conditions: list[ColumnElement[bool]] = []
    for patient_id, uids in patients.items():
        if patient_id and not is_placeholder(PatientIdentity(patient_id)):
            conditions.append(SeriesRow.patient_id == patient_id)
            continue
        chained = _follow_links(connection, patient_id, uids) if patient_id else uids
        conditions += [SeriesRow.series_instance_uid.in_(chunk) for chunk in _split(chained)]
    return conditions


def _follow_links(connection: Connection, patient_id: str, series_uids: set[str]) -> set[str]:
    """Return the series of ``patient_id`` that a chain of studies and frames of reference joins to ``series_uids``."""
    named = select(SeriesRow.series_instance_uid).where(SeriesRow.patient_id == patient_id)
    framed = (
        select(InstanceRow.series_instance_uid)
        .join(SeriesRow, SeriesRow.series_instance_uid == InstanceRow.series_instance_uid)
        .where(SeriesRow.patient_id == patient_id)
        .distinct()
    )
    found: set[str] = set()
    fresh = set(series_uids)
    while fresh:
        found |= fresh
        studies = _gather(connection, select(SeriesRow.study_instance_uid), SeriesRow.series_instance_uid, fresh)
        frames = _gather(
            connection,
            select(InstanceRow.frame_of_reference_uid).distinct(),
            InstanceRow.series_instance_uid,
            fresh,
        ) - {""}
        fresh = _gather(connection, named, SeriesRow.study_instance_uid, studies)
        fresh |= _gather(connection, framed, InstanceRow.frame_of_reference_uid, frames)
        fresh -= found
    return found


def _gather(connection: Connection, query: Select[Any], column: Any, values: Collection[str]) -> set[str]:
    """Return what ``query`` finds where ``column`` is one of ``values``."""
    return {one for chunk in _split(values) for one in connection.execute(query.where(column.in_(chunk))).scalars()}


def _split(values: Collection[str]) -> Iterator[Sequence[str]]:
    ordered = sorted(values)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))
