"""Edge: fills the ledger from the spool, after the database was lost."""

import logging
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from fusionnode.errors import Refused
from fusionnode.flow.ports import Arrival, HeaderReader, Ledger, StoredFile
from fusionnode.flow.sweep import record_arrival

logger = logging.getLogger(__name__)

REFUSED = "refused"


def rebuild_index(
    ledger: Ledger, arrivals: Iterable[StoredFile], read_header: HeaderReader, now: datetime
) -> dict[str, int]:
    """Enter every instance of ``arrivals``, oldest first; return how many were new, duplicate, conflict and refused.

    Safe to repeat and to run on a ledger that is not empty: unfinished jobs on what proves contradicted are ended. Jobs
    are not rebuilt: the sweep derives them again, under ids that depend on the content alone. A series that had late
    instances begins again with generation one.

    Raises:
        LedgerUnavailable: the database did not answer; run it again.
        SpoolFileMissing: a file cannot be opened.
    """
    counts = Counter(dict.fromkeys((*Arrival, REFUSED), 0))
    for stored in arrivals:
        try:
            counts[record_arrival(ledger, read_header(stored), now)] += 1
        except Refused as refusal:
            logger.warning("%s is not in the ledger: %s", stored.place, refusal)
            counts[REFUSED] += 1
    return {str(outcome): count for outcome, count in counts.items()}
