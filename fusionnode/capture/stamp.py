"""What every object made here carries whatever it shows: file meta information, the job's moment, our name (middle)."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from fusionnode.domain.terms import MANUFACTURER
from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, name_implementation

_OFFSET = re.compile(r"([+-])(\d\d)([0-5]\d)")


def make_file_meta(sop_class_uid: str, sop_instance_uid: str, software_version: str) -> FileMetaDataset:
    """Return File Meta Information for Explicit VR Little Endian (PS3.10 section 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = name_implementation(software_version)
    return meta


def stamp_equipment(ds: Dataset, software_version: str) -> None:
    """Fill the General Equipment module (PS3.3 C.7.5.1): the program that wrote the object."""
    ds.Manufacturer = ds.ManufacturerModelName = MANUFACTURER
    ds.SoftwareVersions = software_version


def stamp_moment(ds: Dataset, moment: datetime) -> None:
    """Write the job's moment, as `find_local_moment` gives it, wherever the object asks for its own date and time."""
    date, time = format_date(moment), format_time(moment)
    ds.InstanceCreationDate = ds.SeriesDate = ds.ContentDate = date
    ds.InstanceCreationTime = ds.SeriesTime = ds.ContentTime = time


def find_local_moment(moment: datetime, offset: str, zone: tzinfo) -> datetime:
    """Return ``moment`` on the clock of ``offset``, a Timezone Offset From UTC such as ``+0100``, or else of ``zone``.

    Dates and times of an object that has such an offset are in that zone; of one that has none they are read as
    local times (PS3.3 C.12.1.1.8), so ``zone`` is that of the site. A naive moment counts as UTC.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not is_timezone_offset(offset):
        return aware.astimezone(zone)
    sign = -1 if offset[0] == "-" else 1
    return aware.astimezone(timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))))


def is_timezone_offset(text: str) -> bool:
    """Whether ``text`` is an offset the Standard allows: -1200 to +1400, and never -0000."""
    if not _OFFSET.fullmatch(text) or text == "-0000":
        return False
    return -1200 <= int(text) <= 1400


def format_date(moment: datetime) -> str:
    """DA text."""
    return moment.strftime("%Y%m%d")


def format_time(moment: datetime) -> str:
    """TM text to the microsecond."""
    return moment.strftime("%H%M%S.%f")
