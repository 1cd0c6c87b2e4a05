"""What became of every image: lost, doubled, stuck or visible half-written."""

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from fusionnode.capture.identity import FusedIdentity
from fusionnode.demo.pacs import OrthancPacs
from fusionnode.intake.spool import Spool, hash_dataset
from tests.support.observing import Sent, find_lost

_DELIVERED = frozenset({"stored", "committed"})


@dataclass(frozen=True)
class Account:
    """The balance of one scenario, or of several.

    Attributes:
        kills: processes killed or frozen, and things taken away.
        acknowledged: instances that senders heard Success for.
        expected: fused series that have to come of them.
        delivered: fused series that lie in the PACS, whole.
        lost: acknowledged instances that are not in the spool bit for bit, and fused series missing in the PACS.
        doubled: jobs, series or instances there more than once.
        stuck: jobs that have not come to their end.
        half_written: files or folders visible under their final name that are not whole, at any look.
    """

    kills: int = 0
    acknowledged: int = 0
    expected: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    half_written: int = 0

    def __add__(self, other: "Account") -> "Account":
        return Account(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Account)))

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, stuck or visible half-written, and everything was delivered."""
        return self.delivered == self.expected and not self.lost + self.doubled + self.stuck + self.half_written


def balance(
    spool: Spool, pacs: OrthancPacs, sent: Sequence[Sent], jobs: Sequence[dict[str, Any]], slices: int
) -> Account:
    """Take stock of what was ``sent`` once everything rests. A fused series has ``slices``.

    Every patient that was sent is expected to have come out once.

    Args:
        jobs: all of the node, as `fusionnode jobs --json` lists them.
    """
    pairs = {one.path.parent for one in sent}
    unexplained = set(pacs.list_series()) - {FusedIdentity(job["id"]).series_uid for job in jobs}
    sources = {str(pydicom.dcmread(one.path, stop_before_pixels=True).SeriesInstanceUID) for one in sent}
    jobs = [job for job in jobs if job["fixed"].split("#")[0] in sources]
    whole = [_count_fused(pacs, job["id"], slices) for job in jobs]
    per_pair = Counter((job["fixed"], job["moving"]) for job in jobs)
    delivered = sum(count == 1 for count in whole)
    return Account(
        acknowledged=len({one.name for one in sent}),
        expected=len(pairs),
        delivered=delivered,
        lost=len(find_lost(spool, sent)) + max(0, len(pairs) - delivered),
        doubled=sum(count > 1 for count in per_pair.values()) + sum(count > 1 for count in whole) + len(unexplained),
        stuck=sum(job["state"] not in _DELIVERED for job in jobs) + max(0, len(pairs) - len(per_pair)),
        half_written=count_half_written(spool, slices),
    )


def _count_fused(pacs: OrthancPacs, job_id: str, slices: int) -> int:
    """How many times the fused series of a job lies in the PACS: 0 where an instance is missing."""
    numbers = Counter(int(ds.InstanceNumber) for ds in pacs.fetch_series(FusedIdentity(job_id).series_uid))
    return max(numbers.values()) if set(numbers) >= set(range(1, slices + 1)) else 0


def count_half_written(spool: Spool, slices: int) -> int:
    """How many files and folders are visible under their final name and not whole."""
    received = [*spool.arrivals.glob("*.dcm"), *spool.instances.rglob("*.dcm")]
    results = [folder for folder in _list_visible(spool.root / "outbox") if not _is_whole_result(folder, slices)]
    prepared = [path for path in _list_visible(spool.root / "prepared") if not _can_load(path)]
    reports = [path for path in (spool.root / "reports").glob("*.json") if not _is_json(path)]
    return sum(not _has_its_bytes(path) for path in received) + len(results) + len(prepared) + len(reports)


def _list_visible(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if not path.name.startswith(".")]


def _has_its_bytes(path: Path) -> bool:
    try:
        return hash_dataset(path) == path.stem[33:97]
    except FileNotFoundError:
        # It was moved on between the look into the folder and the look into the file.
        return True


def _is_whole_result(folder: Path, slices: int) -> bool:
    pictures = [ds for ds in map(pydicom.dcmread, sorted(folder.iterdir())) if "PixelData" in ds]
    return len(pictures) == slices and all(len(ds.PixelData) == ds.Rows * ds.Columns * 3 for ds in pictures)


def _can_load(path: Path) -> bool:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return all(archive[name] is not None for name in archive.files)
    except FileNotFoundError:
        return True
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return False


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def tabulate(rows: Iterable[tuple[str, Account]]) -> str:
    """Return a table with a sum; columns as `Account` names them."""
    rows = list(rows)
    total = sum((account for _, account in rows), Account())
    names = [one.name for one in fields(Account)]
    head = ["scenario", *(name.replace("_", " ") for name in names)]
    body = [[name, *(str(getattr(account, key)) for key in names)] for name, account in [*rows, ("all", total)]]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *body]]
    rule = "-|-".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])
