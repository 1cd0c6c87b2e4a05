"""Finds the files of deliveries, and says of those that cannot be sent why (edge)."""

from collections.abc import Iterable
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from fusionnode.delivery.offers import Parcel
from fusionnode.delivery.statuses import FILE_MISSING, FILE_MISTAKEN, FILE_UNREADABLE, judge_status
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.malformed import MALFORMED


def open_parcels(root: Path, deliveries: Iterable[Delivery]) -> tuple[list[Parcel], list[DeliveryOutcome]]:
    """Return what can be sent, in the same order, and the outcomes of what cannot; paths are relative to ``root``."""
    opened = [_open_parcel(root, delivery) for delivery in deliveries]
    parcels = [one for one in opened if isinstance(one, Parcel)]
    return parcels, [one for one in opened if isinstance(one, DeliveryOutcome)]


def _open_parcel(root: Path, delivery: Delivery) -> Parcel | DeliveryOutcome:
    path = root / delivery.path
    try:
        meta = read_file_meta_info(path)
        if meta.MediaStorageSOPInstanceUID != delivery.sop_instance_uid:
            return judge_status(delivery, FILE_MISTAKEN)
        return Parcel(delivery, path, str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
    except FileNotFoundError:
        return judge_status(delivery, FILE_MISSING)
    except (InvalidDicomError, *MALFORMED):
        return judge_status(delivery, FILE_UNREADABLE)
