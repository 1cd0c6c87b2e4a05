"""What the node remembers of its clock from one process to the next (edge).

::

    clock.json    since when it goes evenly; last modified at the moment it showed when somebody looked last

The moment of the last look is the file's own time, because that can be set on a full disk.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from fusionnode.durable import write_whole
from fusionnode.errors import name_spool_trouble


class ClockFile:
    """Keeps two moments; fulfils `flow.housekeeping.ClockMemory`.

    Args:
        root: the spool's folder.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "clock.json"

    def recall(self) -> tuple[datetime, datetime] | None:
        """Return (since when it goes evenly, what it showed last); None when nobody looked before, or it is spoilt."""
        try:
            since = datetime.fromisoformat(json.loads(self._path.read_text(encoding="utf-8"))["since"])
            seen = datetime.fromtimestamp(self._path.stat().st_mtime, UTC)
        except (OSError, ValueError, OverflowError, LookupError, TypeError):
            return None
        return (since, seen) if since.tzinfo else None

    def keep(self, since: datetime, seen: datetime) -> None:
        """Remember both.

        Raises:
            SpoolFull, SpoolUnreadable: the disk is full, or fails; what was known before stays.
        """
        try:
            known = self.recall()
            if known is None or known[0] != since:
                write_whole(self._path, json.dumps({"since": since.isoformat()}))
            os.utime(self._path, (seen.timestamp(), seen.timestamp()))
        except OSError as problem:
            words = "What the clock shows cannot be noted"
            raise name_spool_trouble(problem, words, "Make room in the spool; it is tried again.") from problem
