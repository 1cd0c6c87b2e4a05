"""Edge: enters instances into the ledger and notices those that contradict an earlier one.

A contradiction is never resolved here, because nothing in the data says which side is right: the earlier instance
stays, the later one is kept beside it as a conflict, and the series says so wherever it goes.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, RowMapping, and_, insert, select, text, update

from fusionnode.domain.series import SECOND_CONTENT, InstanceHeader, PatientIdentity
from fusionnode.domain.terms import SeriesState
from fusionnode.flow.ports import Arrival
from fusionnode.index.database import Store, insert_new
from fusionnode.index.discard_rows import claim_back
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.instance_rows import read_identity, write_identity, write_row
from fusionnode.index.tables import ConflictRow, GenerationRow, InstanceRow, SeriesRow
from fusionnode.pairing.patient import find_contradictions

logger = logging.getLogger(__name__)

_CLOSED = (SeriesState.COMPLETE, SeriesState.QUARANTINED, SeriesState.IGNORED, SeriesState.DISCARDED)
_ADVISORY_LOCK = 0x61727276


class ArrivalStore(Store):
    """The entrance of the ledger."""

    def record_instance(self, header: InstanceHeader, seen_at: datetime) -> Arrival:
        """Enter one instance; a new or contradicting one in a closed series reopens it under the next generation.

        Safe to repeat: whatever was recorded before is recognised by its SOP Instance UID and hash. It is a conflict
        when the SOP Instance UID is known with other bytes, or when the series is known under another study or patient.
        Of a series that was discarded nothing but the name is known: what arrives begins it anew.

        Raises:
            LedgerUnavailable: the database did not answer.
        """
        with self._database.write() as connection:
            exclude_other_writers(connection)
            # From here on the file at this place is wanted again, whatever was decided before.
            claim_back(connection, header.path)
            _note_seen(connection, header.series_instance_uid, seen_at)
            earlier = _find_instance(connection, header.sop_instance_uid)
            if earlier is not None and earlier["sha256"] == header.sha256:
                return Arrival.DUPLICATE
            if _knows_conflict(connection, header):
                return Arrival.CONFLICT
            series = _find_series(connection, header.series_instance_uid)
            contradiction = _find_contradiction(header, earlier, series)
            if contradiction:
                touched = {header.series_instance_uid} | ({earlier["series_instance_uid"]} if earlier else set())
                _record_conflict(connection, header, sorted(touched), contradiction, seen_at)
                return Arrival.CONFLICT
            if series is None:
                _begin_series(connection, header, seen_at)
            elif series["state"] == SeriesState.DISCARDED:
                _begin_again(connection, header, seen_at)
            generation = _open_generation(connection, header.series_instance_uid, header.sop_instance_uid, seen_at)
            connection.execute(insert(InstanceRow).values(write_row(header, generation, seen_at)))
            return Arrival.NEW

    def list_contradicted(self, sop_instance_uid: str) -> list[str]:
        """Return the UIDs of all series that some arrival of this SOP instance contradicts, in their order.

        That is the one it claims and, where its UID was known before, the one it was known in.
        """
        query = select(ConflictRow.series_instance_uid).where(ConflictRow.sop_instance_uid == sop_instance_uid)
        with self._database.read() as connection:
            return sorted(set(connection.execute(query).scalars()))


def describe_difference(known: PatientIdentity, claimed: PatientIdentity) -> str:
    """Return which parts of two identities contradict each other, in words without their values; empty when none does.

    The Patient ID must be equal; the other parts only where both sides have them.
    """
    parts = ["patient ID"] if known.patient_id != claimed.patient_id else []
    return ", ".join([*parts, *find_contradictions(known, claimed)])


def exclude_other_writers(connection: Connection) -> None:
    """Let one instance be judged at a time: whether it contradicts another depends on rows it does not lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _find_instance(connection: Connection, sop_instance_uid: str) -> RowMapping | None:
    columns = (InstanceRow.sha256, InstanceRow.series_instance_uid)
    query = select(*columns).where(InstanceRow.sop_instance_uid == sop_instance_uid)
    return connection.execute(query).mappings().one_or_none()


def _find_series(connection: Connection, series_uid: str) -> RowMapping | None:
    present = and_(
        GenerationRow.series_instance_uid == SeriesRow.series_instance_uid,
        GenerationRow.generation == SeriesRow.generation,
    )
    query = select(*SeriesRow.__table__.columns, GenerationRow.state).join(GenerationRow, present)
    query = query.where(SeriesRow.series_instance_uid == series_uid)
    return connection.execute(query).mappings().one_or_none()


def _knows_conflict(connection: Connection, header: InstanceHeader) -> bool:
    query = select(ConflictRow.sha256).where(
        ConflictRow.sop_instance_uid == header.sop_instance_uid, ConflictRow.sha256 == header.sha256
    )
    return connection.execute(query).first() is not None


def _find_contradiction(header: InstanceHeader, earlier: RowMapping | None, series: RowMapping | None) -> str:
    if earlier is not None:
        return SECOND_CONTENT
    if series is None or series["state"] == SeriesState.DISCARDED:
        return ""
    if series["study_instance_uid"] != header.study_instance_uid:
        return "claims another study than the series began with"
    difference = describe_difference(read_identity(series), header.patient)
    return f"claims another patient ({difference}) than the series began with" if difference else ""


def _record_conflict(
    connection: Connection, header: InstanceHeader, series_uids: Iterable[str], reason: str, at: datetime
) -> None:
    for series_uid in series_uids:
        row = {
            "series_instance_uid": series_uid,
            "sop_instance_uid": header.sop_instance_uid,
            "sha256": header.sha256,
            "generation": _open_generation(connection, series_uid, header.sop_instance_uid, at),
            "path": header.path,
            "reason": reason,
            "seen_at": at,
        }
        insert_new(connection, ConflictRow, [row])
        append_event(connection, Event(at, series_uid, "conflict", f"SOP instance {header.sop_instance_uid} {reason}."))
    logger.warning("series %s: SOP instance %s %s", header.series_instance_uid, header.sop_instance_uid, reason)


def _begin_series(connection: Connection, header: InstanceHeader, at: datetime) -> None:
    uid = header.series_instance_uid
    series = {
        "series_instance_uid": uid,
        "study_instance_uid": header.study_instance_uid,
        "generation": 1,
        "first_seen_at": at,
        "last_seen_at": at,
        "held": False,
    }
    connection.execute(insert(SeriesRow).values(series | write_identity(header.patient)))
    _insert_generation(connection, uid, 1, SeriesState.RECEIVING, "", at)


def _begin_again(connection: Connection, header: InstanceHeader, at: datetime) -> None:
    facts = {"study_instance_uid": header.study_instance_uid, "first_seen_at": at} | write_identity(header.patient)
    named = SeriesRow.series_instance_uid == header.series_instance_uid
    connection.execute(update(SeriesRow).where(named).values(facts))


def _note_seen(connection: Connection, series_uid: str, at: datetime) -> None:
    """Let a series count as received now, also by what it had already: somebody still sends it."""
    connection.execute(update(SeriesRow).where(SeriesRow.series_instance_uid == series_uid).values(last_seen_at=at))


def _open_generation(connection: Connection, series_uid: str, sop_instance_uid: str, at: datetime) -> int:
    """Return the generation an arrival belongs to, beginning the next one when the present one is closed.

    A series that has not begun, which only a conflict can point at, will begin with generation 1.
    """
    # The row is locked, so that nobody closes this generation while an instance is being put into it.
    current = select(SeriesRow.generation).where(SeriesRow.series_instance_uid == series_uid).with_for_update()
    generation = connection.execute(current).scalar_one_or_none()
    if generation is None:
        return 1
    state = connection.execute(
        select(GenerationRow.state).where(
            GenerationRow.series_instance_uid == series_uid, GenerationRow.generation == generation
        )
    ).scalar_one()
    if SeriesState(state) not in _CLOSED:
        return int(generation)
    reason = f"SOP instance {sop_instance_uid} arrived when the series was {state}."
    connection.execute(
        update(SeriesRow).where(SeriesRow.series_instance_uid == series_uid).values(generation=generation + 1)
    )
    _insert_generation(connection, series_uid, generation + 1, SeriesState.REOPENED, reason, at)
    return int(generation) + 1


def _insert_generation(
    connection: Connection, series_uid: str, generation: int, state: SeriesState, reason: str, at: datetime
) -> None:
    row = {
        "series_instance_uid": series_uid,
        "generation": generation,
        "state": state,
        "reason": reason,
        "began_at": at,
    }
    connection.execute(insert(GenerationRow).values(row))
    append_event(connection, Event(at, series_uid, state, f"Generation {generation}. {reason}".strip()))
