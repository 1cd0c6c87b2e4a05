"""Edge: series as they stand, and as they stood in an earlier generation."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, or_, select, update

from fusionnode.domain.series import Conflict, InstanceHeader, Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.errors import SeriesUnknown
from fusionnode.index.database import Store
from fusionnode.index.event_log import Event, append_event
from fusionnode.index.instance_rows import read_row
from fusionnode.index.related import list_conditions
from fusionnode.index.tables import ConflictRow, GenerationRow, InstanceRow, SeriesRow

_PRESENT = and_(
    GenerationRow.series_instance_uid == SeriesRow.series_instance_uid,
    GenerationRow.generation == SeriesRow.generation,
)
"""Joins a series to its present generation."""


class SeriesStore(Store):
    """Reads series and keeps their states."""

    def list_series(self, states: Collection[SeriesState], seen_since: datetime | None = None) -> list[Series]:
        """Return all series in one of ``states``, last heard of not before ``seen_since``, with instances, by UID."""
        wanted: ColumnElement[bool] = GenerationRow.state.in_(sorted(states))
        if seen_since is not None:
            wanted = and_(wanted, SeriesRow.last_seen_at >= seen_since)
        with self._database.read() as connection:
            return _load_present(connection, wanted)

    def list_keys(self, states: Collection[SeriesState], seen_since: datetime | None = None) -> list[SeriesKey]:
        """Return the keys of what `list_series` returns, in the same order, without reading any instance."""
        columns = (SeriesRow.series_instance_uid, SeriesRow.generation)
        query = select(*columns).join(GenerationRow, _PRESENT).where(GenerationRow.state.in_(sorted(states)))
        if seen_since is not None:
            query = query.where(SeriesRow.last_seen_at >= seen_since)
        with self._database.read() as connection:
            keys = [SeriesKey(uid, generation) for uid, generation in connection.execute(query)]
        return sorted(keys, key=lambda key: key.series_instance_uid)

    def list_named(self, uid: str) -> list[Series]:
        """Return the series with this Series Instance UID, or all of the study with this UID, ordered by UID."""
        named = or_(SeriesRow.series_instance_uid == uid, SeriesRow.study_instance_uid == uid)
        with self._database.read() as connection:
            return _load_present(connection, named)

    def list_related(self, keys: Collection[SeriesKey]) -> list[Series]:
        """Return all series that may bear on how ``keys`` are paired, by UID; see `related`.

        In any state but discarded, and without those that a human set aside.
        """
        wanted = and_(GenerationRow.state != SeriesState.DISCARDED, SeriesRow.held.is_(False))
        with self._database.read() as connection:
            conditions = list_conditions(connection, {key.series_instance_uid for key in keys})
            found = [one for condition in conditions for one in _load_present(connection, and_(condition, wanted))]
        return sorted(found, key=lambda series: series.key.series_instance_uid)

    def find_series(self, key: SeriesKey) -> Series:
        """Return the series as it stood in generation ``key.generation``.

        Raises:
            SeriesUnknown: there is no such series, it never had this generation, or its files were deleted.
        """
        uid = key.series_instance_uid
        query = (
            select(GenerationRow, SeriesRow.first_seen_at)
            .join(SeriesRow, SeriesRow.series_instance_uid == GenerationRow.series_instance_uid)
            .where(GenerationRow.series_instance_uid == uid, GenerationRow.generation == key.generation)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise SeriesUnknown(
                    f"The ledger has no series {key}.",
                    remedy="Rebuild the index, or wait until it arrives.",
                    key=str(key),
                )
            instances = _load_instances(connection, InstanceRow.series_instance_uid == uid)
            conflicts = _load_conflicts(connection, ConflictRow.series_instance_uid == uid)
        found = _assemble(row, instances[uid], conflicts[uid])
        if not found.instances:
            raise SeriesUnknown(f"The files of series {key} were deleted.", remedy="Send it again.", key=str(key))
        return found

    def set_series_state(self, key: SeriesKey, state: SeriesState, reason: str) -> bool:
        """Set the state unless a later generation has begun meanwhile; returns whether it was set."""
        uid = key.series_instance_uid
        present = select(SeriesRow.generation).where(SeriesRow.series_instance_uid == uid).with_for_update()
        generation = and_(GenerationRow.series_instance_uid == uid, GenerationRow.generation == key.generation)
        with self._database.write() as connection:
            if connection.execute(present).scalar_one_or_none() != key.generation:
                return False
            before = connection.execute(select(GenerationRow.state).where(generation)).scalar_one()
            connection.execute(update(GenerationRow).where(generation).values(state=state, reason=reason))
            if before != state:
                detail = f"Generation {key.generation}. {reason}".strip()
                append_event(connection, Event(self._database.clock(), uid, state, detail))
        return True


_Instances = dict[str, list[tuple[int, InstanceHeader]]]
_Conflicts = dict[str, list[tuple[int, Conflict]]]


def _load_present(connection: Connection, condition: ColumnElement[bool]) -> list[Series]:
    """Load the present generation of all series that fulfil ``condition``, in three queries however many they are."""
    query = (
        select(GenerationRow, SeriesRow.first_seen_at)
        .join(SeriesRow, _PRESENT)
        .where(condition)
        .order_by(GenerationRow.series_instance_uid)
    )
    rows = connection.execute(query).mappings().all()
    wanted = select(SeriesRow.series_instance_uid).join(GenerationRow, _PRESENT).where(condition)
    instances = _load_instances(connection, InstanceRow.series_instance_uid.in_(wanted))
    conflicts = _load_conflicts(connection, ConflictRow.series_instance_uid.in_(wanted))
    uids = [row["series_instance_uid"] for row in rows]
    return sorted(
        (_assemble(row, instances[uid], conflicts[uid]) for row, uid in zip(rows, uids, strict=True)),
        # Databases sort text by their locale, Python does not.
        key=lambda series: series.key.series_instance_uid,
    )


def _load_instances(connection: Connection, condition: ColumnElement[bool]) -> _Instances:
    found: _Instances = defaultdict(list)
    for row in connection.execute(select(InstanceRow).where(condition)).mappings():
        found[row["series_instance_uid"]].append((row["generation"], read_row(row)))
    return found


def _load_conflicts(connection: Connection, condition: ColumnElement[bool]) -> _Conflicts:
    found: _Conflicts = defaultdict(list)
    for row in connection.execute(select(ConflictRow).where(condition)).mappings():
        conflict = Conflict(row["sop_instance_uid"], row["reason"])
        found[row["series_instance_uid"]].append((row["generation"], conflict))
    return found


def _assemble(
    row: RowMapping, instances: Sequence[tuple[int, InstanceHeader]], conflicts: Sequence[tuple[int, Conflict]]
) -> Series:
    generation: Any = row["generation"]
    present = [header for since, header in instances if since <= generation]
    return Series(
        key=SeriesKey(row["series_instance_uid"], generation),
        state=SeriesState(row["state"]),
        instances=tuple(sorted(present, key=lambda header: header.sop_instance_uid)),
        conflicts=tuple(sorted({conflict for since, conflict in conflicts if since <= generation})),
        reason=row["reason"],
        first_seen_at=row["first_seen_at"],
    )
