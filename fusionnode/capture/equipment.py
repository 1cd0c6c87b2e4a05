"""Which machines had a hand in a fused object: both scanners and the algorithm (middle)."""

from datetime import datetime

from pydicom import Dataset
from pydicom.sr.codedict import codes

from fusionnode.capture.identity import derive_device_uid
from fusionnode.capture.inherit import copy_valid, read_text
from fusionnode.capture.references import make_code
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.stamp import format_date, format_time, is_timezone_offset
from fusionnode.domain.motion import MotionMethod
from fusionnode.domain.terms import MANUFACTURER
from fusionnode.pipeline.schema import OutputGrid

_SCANNER_ATTRIBUTES = (
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "StationName",
    "InstitutionName",
    "DeviceUID",
)


def list_contributors(request: CaptureRequest, target: Dataset, moment: datetime) -> list[Dataset]:
    """Return items of Contributing Equipment Sequence (PS3.3 C.12.1.1.5): MRI scanner, functional scanner, algorithm.

    ``target`` is the object they are for; text that its character set cannot hold is left out. ``moment`` is that of
    the fusion, on the object's own clock.
    """
    scanners = [_describe_scanner(request.head, target, "MRI")]
    if request.moving_head is not None:
        scanners.append(_describe_scanner(request.moving_head, target, "functional series"))
    return [*scanners, _describe_algorithm(request, moment)]


def _describe_scanner(header: Dataset, target: Dataset, what: str) -> Dataset:
    item = Dataset()
    # Only while it is being filled: the character set of an item is that of the object around it.
    if "SpecificCharacterSet" in target:
        item.SpecificCharacterSet = target.SpecificCharacterSet
    if not copy_valid(item, header, "Manufacturer"):
        item.Manufacturer = "unknown"
    for keyword in _SCANNER_ATTRIBUTES:
        copy_valid(item, header, keyword)
    item.pop("SpecificCharacterSet", None)
    item.PurposeOfReferenceCodeSequence = [make_code(codes.DCM.AcquisitionEquipment)]
    item.ContributionDescription = f"Acquired the {what}"
    when = _find_acquisition(header)
    if when:
        item.ContributionDateTime = when
    return item


def _describe_algorithm(request: CaptureRequest, moment: datetime) -> Dataset:
    model = request.fused.model
    item = Dataset()
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = model
    item.SoftwareVersions = [request.software_version, model, request.pipeline.identifier]
    item.DeviceUID = derive_device_uid(model)
    item.PurposeOfReferenceCodeSequence = [make_code(codes.DCM.ProcessingEquipment)]
    item.ContributionDescription = _describe_work(request)
    item.ContributionDateTime = f"{format_date(moment)}{format_time(moment)}{moment.strftime('%z')}"
    return item


def _describe_work(request: CaptureRequest) -> str:
    """What was done, and not what was not: where a frame of reference is shared, nothing is registered."""
    shared = request.prepared.estimate.method is MotionMethod.SHARED_FRAME
    placed = "Registered the functional series to the MRI"
    if shared:
        placed = "Took the functional series as it lies in the shared frame of reference"
    onto_mri = request.pipeline.output.grid is OutputGrid.MRI
    resampled = "resampled it onto the MRI grid" if onto_mri else "resampled both series"
    return f"{placed}, {resampled} and fused both"


def _find_acquisition(header: Dataset) -> str:
    """DT text of the acquisition with the scanner's own offset; empty where the header has no usable date and time."""
    checked = Dataset()
    if not (copy_valid(checked, header, "AcquisitionDate") and copy_valid(checked, header, "AcquisitionTime")):
        return ""
    offset = read_text(header, "TimezoneOffsetFromUTC")
    suffix = offset if is_timezone_offset(offset) else ""
    return f"{read_text(checked, 'AcquisitionDate')}{read_text(checked, 'AcquisitionTime')}{suffix}"
