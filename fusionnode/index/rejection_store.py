"""Edge: why series were not paired."""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, Text, cast, delete, or_, select

from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import SeriesKey
from fusionnode.index.database import CHUNK, Store, insert_new
from fusionnode.index.tables import RejectionRow


class RejectionStore(Store):
    """Keeps every reason once."""

    def record_rejections(self, rejections: Sequence[Rejection], decided_at: datetime) -> list[Rejection]:
        """Keep why series were not paired, the same reason for the same series once; return what is new."""
        if not rejections:
            return []
        with self._database.write() as connection:
            return [one for one in rejections if insert_new(connection, RejectionRow, [_write(one, decided_at)])]

    def withdraw_rejections(self, pipeline: str, series_uids: Collection[str]) -> None:
        """Forget why ``pipeline`` did not pair these series, which it pairs now, in all their generations."""
        uids = sorted(series_uids)
        for start in range(0, len(uids), CHUNK):
            overtaken = or_(*map(_mentions, uids[start : start + CHUNK]))
            with self._database.write() as connection:
                connection.execute(delete(RejectionRow).where(RejectionRow.pipeline == pipeline, overtaken))

    def list_rejections(self, series_instance_uid: str | None = None) -> list[Rejection]:
        """Return every recorded rejection, or those of one series in all its generations, oldest first."""
        query = select(*RejectionRow.__table__.columns).order_by(RejectionRow.id)
        if series_instance_uid is not None:
            query = query.where(_mentions(series_instance_uid))
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query).mappings()]


def _mentions(series_instance_uid: str) -> ColumnElement[bool]:
    return cast(RejectionRow.series, Text).contains(f'"{series_instance_uid}"', autoescape=True)


def _write(rejection: Rejection, decided_at: datetime) -> dict[str, object]:
    series = [[key.series_instance_uid, key.generation] for key in rejection.series]
    text = json.dumps([rejection.pipeline, series, rejection.reason])
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "pipeline": rejection.pipeline,
        "series": series,
        "reason": rejection.reason,
        "decided_at": decided_at,
    }


def _read(row: RowMapping) -> Rejection:
    keys = tuple(SeriesKey(uid, generation) for uid, generation in row["series"])
    return Rejection(row["pipeline"], keys, row["reason"], row["decided_at"])
