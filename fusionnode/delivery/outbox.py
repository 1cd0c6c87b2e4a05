"""The outbox: finished objects wait here for the sender, a folder per job, visible whole or not at all (edge).

::

    outbox/<job>/0001.dcm ...          published
    outbox/.<job>.<fence>.staging/     being written; worth nothing after a crash
    outbox/.<job>.<fence>.replaced/    an earlier, different result on its way out
"""

import errno
import filecmp
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset

from fusionnode.domain.job import Job
from fusionnode.durable import make_folder, sync_folder
from fusionnode.errors import LeaseLost, name_spool_trouble
from fusionnode.faults import FaultPoint, reach

logger = logging.getLogger(__name__)

_OVERTAKEN = (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)


class SpoolOutbox:
    """Publishes the objects of a job under ``<root>/outbox``; fulfils `fusionnode.flow.ports.Outbox`.

    Args:
        root: the spool's folder; the outbox lies below it, so on the same file system.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "outbox"

    def publish(self, job: Job, objects: Sequence[Dataset]) -> list[tuple[Dataset, str]]:
        """Write all objects, then make them visible at once; returns each with its path relative to the spool.

        When this returns, a power cut does not lose them. Publishing a job again leaves one complete folder: the
        same bytes are kept as they are, other bytes (a newer version ran) replace them.

        Raises:
            SpoolFull: the file system is out of space or quota; nothing is left behind.
            SpoolUnreadable: it failed in another way; nothing is left behind.
            LeaseLost: another worker publishes the same job at this moment.
        """
        staging = self.folder / f".{job.id}.{job.fence}.staging"
        names = [f"{number:04d}.dcm" for number in range(1, len(objects) + 1)]
        with _named_errors(job, staging):
            make_folder(self.folder)
            self._discard_leftovers(job)
            staging.mkdir(mode=0o700)
            for ds, name in zip(objects, names, strict=True):
                _write_durably(staging / name, ds)
                reach(FaultPoint.RESULT_HALF_WRITTEN)
            sync_folder(staging)
            reach(FaultPoint.RESULT_WRITTEN)
            self._reveal(job, staging)
        return [(ds, f"{self.folder.name}/{job.id}/{name}") for ds, name in zip(objects, names, strict=True)]

    def _discard_leftovers(self, job: Job) -> None:
        """Delete what crashed workers left; one that claimed the job after this one is alive and is left alone."""
        for path in self.folder.glob(f".{job.id}.*.*"):
            fence = path.name.split(".")[-2]
            if fence.isdigit() and int(fence) <= job.fence:
                shutil.rmtree(path, ignore_errors=True)

    def _reveal(self, job: Job, staging: Path) -> None:
        target = self.folder / job.id
        if target.exists() and _hold_same_files(staging, target):
            shutil.rmtree(staging)
            sync_folder(self.folder)
            return
        replaced = self.folder / f".{job.id}.{job.fence}.replaced"
        if target.exists():
            logger.warning("job %s was published before with other bytes; they are replaced", job.id)
            target.rename(replaced)
        staging.rename(target)
        sync_folder(self.folder)
        shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def _named_errors(job: Job, staging: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in _OVERTAKEN:
            raise LeaseLost(
                f"Another worker is publishing job {job.id}.", remedy="Nothing is to be done.", job=job.id
            ) from problem
        shutil.rmtree(staging, ignore_errors=True)
        words = f"The results of job {job.id} cannot be written to the outbox"
        remedy = "Free or add space, look at the disk; the step will be tried again."
        raise name_spool_trouble(problem, words, remedy, job=job.id) from problem


def _write_durably(path: Path, ds: Dataset) -> None:
    with path.open("xb") as file:
        ds.save_as(file, enforce_file_format=True)
        file.flush()
        os.fdatasync(file.fileno())


def _hold_same_files(first: Path, second: Path) -> bool:
    names = sorted(path.name for path in first.iterdir())
    if names != sorted(path.name for path in second.iterdir()):
        return False
    _, differing, unreadable = filecmp.cmpfiles(first, second, names, shallow=False)
    return not differing and not unreadable
