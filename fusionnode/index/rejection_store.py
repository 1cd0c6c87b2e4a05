"""Edge: why series were not paired."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import SeriesKey
from fusionnode.index.database import CHUNK, Store, insert_new
from fusionnode.index.tables import RejectedSeriesRow, RejectionRow


class RejectionStore(Store):
    """Keeps every reason once."""

    def record_rejections(self, rejections: Sequence[Rejection], decided_at: datetime) -> list[Rejection]:
        """Keep why series were not paired, the same reason for the same series once; return what is new."""
        if not rejections:
            return []
        with self._database.write() as connection:
            return [one for one in rejections if _record(connection, one, decided_at)]

    def withdraw_rejections(self, pipeline: str, series_uids: Collection[str]) -> None:
        """Forget why ``pipeline`` did not pair these series, which it pairs now, in all their generations."""
        uids = sorted(series_uids)
        for start in range(0, len(uids), CHUNK):
            overtaken = RejectionRow.id.in_(_select_mentions(uids[start : start + CHUNK]))
            with self._database.write() as connection:
                connection.execute(delete(RejectionRow).where(RejectionRow.pipeline == pipeline, overtaken))

    def list_rejections(self, series_instance_uid: str | None = None) -> list[Rejection]:
        """Return every recorded rejection, or those of one series in all its generations, oldest first."""
        said = select(*RejectionRow.__table__.columns).order_by(RejectionRow.id)
        about = select(*RejectedSeriesRow.__table__.columns).order_by(RejectedSeriesRow.ordinal)
        if series_instance_uid is not None:
            wanted = _select_mentions([series_instance_uid])
            said, about = (
                said.where(RejectionRow.id.in_(wanted)),
                about.where(RejectedSeriesRow.rejection_id.in_(wanted)),
            )
        keys: dict[int, list[SeriesKey]] = defaultdict(list)
        with self._database.read() as connection:
            for row in connection.execute(about).mappings():
                keys[row["rejection_id"]].append(SeriesKey(row["series_instance_uid"], row["generation"]))
            return [
                Rejection(row["pipeline"], tuple(keys[row["id"]]), row["reason"], row["decided_at"])
                for row in connection.execute(said).mappings()
            ]


def _select_mentions(series_uids: Sequence[str]) -> Select[Any]:
    return select(RejectedSeriesRow.rejection_id).where(RejectedSeriesRow.series_instance_uid.in_(series_uids))


def _record(connection: Connection, rejection: Rejection, decided_at: datetime) -> bool:
    """Enter the rejection unless it is there; return whether it was new."""
    digest = _digest(rejection)
    row = {
        "digest": digest,
        "pipeline": rejection.pipeline,
        "reason": rejection.reason,
        "decided_at": decided_at,
    }
    if not insert_new(connection, RejectionRow, [row]):
        return False
    entered = connection.execute(select(RejectionRow.id).where(RejectionRow.digest == digest)).scalar_one()
    keys = [
        {
            "rejection_id": entered,
            "ordinal": ordinal,
            "series_instance_uid": key.series_instance_uid,
            "generation": key.generation,
        }
        for ordinal, key in enumerate(rejection.series)
    ]
    if keys:
        connection.execute(insert(RejectedSeriesRow), keys)
    return True


def _digest(rejection: Rejection) -> str:
    series = [[key.series_instance_uid, key.generation] for key in rejection.series]
    text = json.dumps([rejection.pipeline, series, rejection.reason])
    return hashlib.sha256(text.encode()).hexdigest()
