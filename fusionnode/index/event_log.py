"""Edge: the append-only log of what happened to series and jobs; UIDs and ids only, never a person."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from fusionnode.index.database import Store
from fusionnode.index.tables import EventRow


@dataclass(frozen=True)
class Event:
    """One thing that happened to one series (``subject`` is its UID) or job (its id)."""

    at: datetime
    subject: str
    what: str
    detail: str


class EventStore(Store):
    """Reads the log."""

    def list_events(self, subject: str, limit: int = 1000) -> list[Event]:
        """Return the last ``limit`` events of a series or job, oldest first."""
        columns = (EventRow.at, EventRow.subject, EventRow.what, EventRow.detail)
        query = select(*columns).where(EventRow.subject == subject).order_by(EventRow.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [Event(*row) for row in reversed(connection.execute(query).all())]


def append_event(connection: Connection, happened: Event) -> None:
    """Append within the transaction that makes it true."""
    values = {"at": happened.at, "subject": happened.subject, "what": happened.what, "detail": happened.detail}
    connection.execute(insert(EventRow).values(values))
