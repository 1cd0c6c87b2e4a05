"""Storage commitment reports on their way to the ledger: durable before they are answered, as instances are (edge).

::

    reports/<digits>.json        durable, not yet in the ledger
    reports/.<digits>.part       being written; worth nothing after a crash
"""

import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from fusionnode.durable import make_folder, sync_folder
from fusionnode.faults import FaultPoint, reach
from fusionnode.flow.ports import CommitmentReport
from fusionnode.intake.spool import translate_full

logger = logging.getLogger(__name__)


class ReportFolder:
    """Keeps reports under ``<root>/reports``; fulfils `fusionnode.flow.ports.Reports`.

    Args:
        root: the spool's folder.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "reports"

    def prepare(self) -> None:
        """Create the folder; safe to repeat."""
        make_folder(self.folder)

    def keep_report(self, report: CommitmentReport) -> None:
        """Make a report durable. When this returns, a power cut does not lose it.

        Raises:
            SpoolFull: the file system is out of space or quota; nothing is left behind.
        """
        name = uuid.uuid4().hex
        temp = self.folder / f".{name}.part"
        facts = {
            "transaction_uid": report.transaction_uid,
            "committed": sorted(report.committed),
            "lost": dict(report.lost),
        }
        try:
            with temp.open("x", encoding="utf-8") as file:
                json.dump(facts, file)
                file.flush()
                os.fdatasync(file.fileno())
            temp.rename(self.folder / f"{name}.json")
            sync_folder(self.folder)
            reach(FaultPoint.REPORT_DURABLE)
        except OSError as problem:
            temp.unlink(missing_ok=True)
            raise translate_full(problem) from problem

    def list_reports(self) -> Iterator[tuple[str, CommitmentReport]]:
        """Yield the waiting reports with their names, oldest first; one that a disk spoilt is set aside."""
        with os.scandir(self.folder) as entries:
            found = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".json"))
        for _, name in found:
            path = Path(name)
            try:
                facts = json.loads(path.read_text(encoding="utf-8"))
                report = CommitmentReport(facts["transaction_uid"], frozenset(facts["committed"]), facts["lost"])
            except (ValueError, KeyError, TypeError):
                logger.error("%s cannot be read and is set aside; what it reports on is asked again", path)
                path.rename(path.with_suffix(".unreadable"))
                continue
            yield path.name, report

    def discard_report(self, name: str) -> None:
        """Forget one; nothing happens when it is gone already."""
        (self.folder / name).unlink(missing_ok=True)
