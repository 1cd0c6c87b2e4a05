"""Edge: the ledger as a whole, on SQLite or PostgreSQL; fulfils `fusionnode.flow.ports.Ledger`."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime

from fusionnode.index.arrival_store import ArrivalStore
from fusionnode.index.consignment_store import ConsignmentStore
from fusionnode.index.database import Database, read_clock
from fusionnode.index.delivery_store import DeliveryStore
from fusionnode.index.event_log import EventStore
from fusionnode.index.hold_store import HoldStore
from fusionnode.index.job_store import JobStore
from fusionnode.index.migrate import check_revision, migrate
from fusionnode.index.overview_store import OverviewStore
from fusionnode.index.rejection_store import RejectionStore
from fusionnode.index.retention_store import RetentionStore
from fusionnode.index.series_store import SeriesStore

__all__ = ["SqlLedger", "migrate", "open_ledger"]


class SqlLedger(
    ArrivalStore,
    SeriesStore,
    RejectionStore,
    JobStore,
    DeliveryStore,
    ConsignmentStore,
    RetentionStore,
    HoldStore,
    EventStore,
    OverviewStore,
):
    """All tables of one database. Every method is one transaction; any number of threads may use one ledger."""

    def close(self) -> None:
        """Close the connections."""
        self._database.close()


def open_ledger(url: str, clock: Callable[[], datetime] = read_clock) -> SqlLedger:
    """Return the ledger in the database at ``url``; its schema must be there (`migrate`).

    ``clock`` dates the events for which the caller gives no moment.

    Raises:
        LedgerOutdated: the schema is older, newer or missing.
        LedgerUnavailable: the database cannot be reached.
        SettingsInvalid: the URL is of no supported database.
    """
    database = Database(url, clock)
    with ExitStack() as undo:
        undo.callback(database.close)
        check_revision(database)
        undo.pop_all()
    return SqlLedger(database)
