"""Edge: the data sets of an indexed series, read from the spool."""

from pathlib import Path

import pydicom
from pydicom import Dataset

from fusionnode.domain.series import InstanceHeader, SeriesKey
from fusionnode.errors import DatasetUnreadable, SpoolFileMissing, SpoolUnreadable
from fusionnode.flow.ports import Ledger
from fusionnode.volumes.bounds import require_bounded


class SpoolSeriesSource:
    """Reads series by the paths the ledger holds; fulfils the port `SeriesSource`."""

    def __init__(self, ledger: Ledger, spool: Path) -> None:
        self._ledger = ledger
        self._spool = spool

    def read_series(self, key: SeriesKey, *, pixels: bool) -> list[Dataset]:
        """Return the data sets of one generation that hold pictures, in no particular order.

        Raises:
            SpoolFileMissing: the ledger names a file that is not there.
            SpoolUnreadable: the disk or the memory failed.
            DatasetUnreadable: a file cannot be parsed.
        """
        series = self._ledger.find_series(key)
        return [self._read(instance, pixels=pixels) for instance in series.images]

    def _read(self, instance: InstanceHeader, *, pixels: bool) -> Dataset:
        path = self._spool / instance.path
        try:
            with path.open("rb") as stream:
                require_bounded(stream, f"Instance {instance.sop_instance_uid}")
            ds = pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
            # A value is converted, or cannot be, when it is first asked for.
            found = ds.get("SOPInstanceUID")
        except FileNotFoundError:
            raise SpoolFileMissing(
                f"{instance.path} is not in the spool.",
                remedy="Check that all workers share one spool.",
                sop_instance_uid=instance.sop_instance_uid,
            ) from None
        except (OSError, MemoryError) as error:
            raise SpoolUnreadable(
                f"{instance.path} cannot be read from the spool: {type(error).__name__}.",
                remedy="Look at the disk, the network file system and the memory of this host.",
                sop_instance_uid=instance.sop_instance_uid,
            ) from error
        except DatasetUnreadable:
            raise
        except Exception as error:
            # pydicom lets many kinds of error out of a broken file; to the job they all mean the same.
            raise DatasetUnreadable(
                f"Instance {instance.sop_instance_uid} cannot be read: {type(error).__name__}.",
                remedy="Ask the sender for it again.",
                sop_instance_uid=instance.sop_instance_uid,
            ) from error
        if found != instance.sop_instance_uid:
            raise DatasetUnreadable(
                f"The file of instance {instance.sop_instance_uid} no longer holds it.",
                remedy="Ask the sender for it again, and look at the disk.",
                sop_instance_uid=instance.sop_instance_uid,
            )
        return ds
