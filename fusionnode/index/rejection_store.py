"""Edge: why series were not paired."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import SeriesKey
from fusionnode.index.database import Store, insert_new
from fusionnode.index.tables import RejectionRow


class RejectionStore(Store):
    """Keeps every reason once."""

    def record_rejections(self, rejections: Sequence[Rejection], decided_at: datetime) -> None:
        """Keep why series were not paired; the same reason for the same series is kept once."""
        rows = [_write_rejection(rejection, decided_at) for rejection in rejections]
        if rows:
            with self._database.write() as connection:
                insert_new(connection, RejectionRow, rows)

    def list_rejections(self) -> list[Rejection]:
        """Return every recorded rejection, oldest first."""
        query = select(RejectionRow.pipeline, RejectionRow.series, RejectionRow.reason).order_by(RejectionRow.id)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Rejection(pipeline, tuple(SeriesKey(uid, generation) for uid, generation in series), reason)
            for pipeline, series, reason in rows
        ]


def _write_rejection(rejection: Rejection, decided_at: datetime) -> dict[str, object]:
    series = [[key.series_instance_uid, key.generation] for key in rejection.series]
    text = json.dumps([rejection.pipeline, series, rejection.reason])
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "pipeline": rejection.pipeline,
        "series": series,
        "reason": rejection.reason,
        "decided_at": decided_at,
    }
