"""Edge: reads the facts of a stored instance from its file, tolerant of oddity, strict about identity."""

from collections.abc import Callable

from pydicom import Dataset

from fusionnode.domain.series import INDEXED_ATTRIBUTES, InstanceHeader, PatientIdentity
from fusionnode.domain.uids import parse_uid
from fusionnode.errors import DatasetUnreadable
from fusionnode.flow.ports import StoredFile
from fusionnode.index.bounded import ParsedHeader, parse_header, refuse_parser_failures
from fusionnode.index.component import COMPONENT_TAGS, read_component
from fusionnode.index.fields import (
    read_attribute,
    read_decimals,
    read_first_item,
    read_integer,
    read_text,
    read_unsigned,
    read_unsigneds,
)
from fusionnode.index.given import GIVEN_TAGS, read_energy_windows, read_radionuclides, read_radiopharmaceuticals
from fusionnode.index.moments import read_acquired_at

_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_FACTS = (
    *_IDENTIFIERS,
    "FrameOfReferenceUID",
    "Modality",
    "SpecificCharacterSet",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "NumberOfSlices",
    "ImagesInAcquisition",
    "TimezoneOffsetFromUTC",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "SeriesDate",
    "SeriesTime",
    "StudyDate",
    "StudyTime",
    "ContentDate",
    "ContentTime",
    "DetectorInformationSequence",
    "SharedFunctionalGroupsSequence",
    "SliceVector",
    *COMPONENT_TAGS,
    *GIVEN_TAGS,
)
_GATHERED: dict[str, Callable[[Dataset], str]] = {
    "ComplexImageComponent": read_component,
    "EnergyWindow": read_energy_windows,
    "Radionuclide": read_radionuclides,
    "Radiopharmaceutical": read_radiopharmaceuticals,
}
_GEOMETRY_MACROS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")

_LONGEST_IDENTIFIER = 64
_LONGEST_UNIVERSAL = 1000  # less than `read_text` keeps, so that what it cut is noticed


def read_header(stored: StoredFile) -> InstanceHeader:
    """Return the facts of a stored instance; its pixels are not looked at.

    Lengths are mm, coordinates LPS of the first frame. NM geometry comes from the first Detector Information item
    (PS3.3 C.8.4.11), that of enhanced objects from the functional groups of the first frame (PS3.3 C.7.6.16).

    Raises:
        DatasetUnreadable: it is no usable DICOM instance; ``facts['missing']`` lists absent identifiers.
        UidMalformed: one of its UIDs is no UID (PS3.5 section 9.1).
        SpoolFileMissing: it cannot be opened.
    """
    parsed = parse_header(stored.path, (*_FACTS, *INDEXED_ATTRIBUTES))
    ds = parsed.ds
    sop_class_uid, sop_instance_uid, study_uid, series_uid = _read_identifiers(ds, stored)
    position_mm, orientation, pixel_spacing_mm = refuse_parser_failures(
        lambda: _read_geometry(parsed), stored.path.name
    )
    return InstanceHeader(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        series_instance_uid=series_uid,
        study_instance_uid=study_uid,
        frame_of_reference_uid=_read_frame_of_reference(ds),
        modality=read_text(ds, "Modality"),
        patient=refuse_parser_failures(lambda: _read_patient(ds), stored.path.name),
        sha256=stored.sha256,
        path=stored.place,
        transfer_syntax_uid=parsed.transfer_syntax_uid,
        rows=read_unsigned(ds, "Rows"),
        columns=read_unsigned(ds, "Columns"),
        frames=_read_frames(ds),
        instance_number=read_integer(ds, "InstanceNumber"),
        position_mm=position_mm,
        orientation=orientation,
        pixel_spacing_mm=pixel_spacing_mm,
        acquired_at=read_acquired_at(ds),
        claimed_slices=_read_claimed_slices(ds),
        places=refuse_parser_failures(lambda: _count_places(parsed), stored.path.name),
        attributes=refuse_parser_failures(lambda: _read_attributes(ds), stored.path.name),
    )


def _read_identifiers(ds: Dataset, stored: StoredFile) -> list[str]:
    texts = {keyword: read_text(ds, keyword) for keyword in _IDENTIFIERS}
    missing = [keyword for keyword, text in texts.items() if not text]
    if missing:
        raise DatasetUnreadable(
            f"{stored.path.name} has no {', '.join(missing)}.",
            remedy="Only composite SOP instances with these attributes can be indexed.",
            missing=missing,
        )
    return [parse_uid(text) for text in texts.values()]


def _read_frame_of_reference(ds: Dataset) -> str:
    text = read_text(ds, "FrameOfReferenceUID")
    return parse_uid(text) if text else ""


def _read_patient(ds: Dataset) -> PatientIdentity:
    birth_date = read_text(ds, "PatientBirthDate").replace(".", "")
    sex = read_text(ds, "PatientSex").upper()
    return PatientIdentity(
        patient_id=_read_identifier(ds, "PatientID"),
        issuer=_read_identifier(ds, "IssuerOfPatientID"),
        birth_date=birth_date if len(birth_date) == 8 and birth_date.isdecimal() else "",
        sex=sex if sex in ("M", "F", "O") else "",
        authority=_read_authority(ds),
    )


def _read_authority(ds: Dataset) -> str:
    """Return the universal name of the issuer of the Patient ID with its type (PS3.3 section 10.15)."""
    item = read_first_item(ds, "IssuerOfPatientIDQualifiersSequence")
    name = _read_identifier(item, "UniversalEntityID", longest=_LONGEST_UNIVERSAL)
    return f"{read_text(item, 'UniversalEntityIDType').upper()}:{name}" if name else ""


def _read_identifier(ds: Dataset, keyword: str, longest: int = _LONGEST_IDENTIFIER) -> str:
    """Read an identifier whole or not at all: cut short it might become another patient's (LO, PS3.5 section 6.2)."""
    text = read_text(ds, keyword)
    if len(text) > longest:
        raise DatasetUnreadable(
            f"{keyword} has more than {longest} characters.",
            remedy="Mend it at the sender.",
        )
    return text


def _read_frames(ds: Dataset) -> int:
    if not read_text(ds, "NumberOfFrames"):
        return 1
    frames = read_integer(ds, "NumberOfFrames")
    if frames is None or frames < 1:
        raise DatasetUnreadable(
            "Number of Frames (0028,0008) is not a positive number.",
            remedy="Ask the sender to repair it.",
            found=read_text(ds, "NumberOfFrames")[:20],
        )
    return frames


def _read_claimed_slices(ds: Dataset) -> int:
    images = read_integer(ds, "ImagesInAcquisition") or 0
    return max(read_unsigned(ds, "NumberOfSlices"), images, 0)


def _count_places(parsed: ParsedHeader) -> int:
    """Return at how many positions the frames lie: NM objects number their slices, the others place each frame."""
    frames = _read_frames(parsed.ds)
    if frames == 1:
        return 0
    numbers = read_unsigneds(parsed.ds, "SliceVector")
    if len(numbers) == frames:
        return len(set(numbers))
    items = (read_first_item(frame, "PlanePositionSequence") for frame in parsed.frames)
    positions = [read_decimals(item, "ImagePositionPatient", 3) for item in items]
    told = [tuple(round(part, 2) for part in position) for position in positions if position is not None]
    return len(set(told)) if len(told) == frames else 0


def _read_attributes(ds: Dataset) -> dict[str, str]:
    texts = {keyword: read_attribute(ds, keyword) for keyword in sorted(INDEXED_ATTRIBUTES)}
    texts |= {name: gather(ds) for name, gather in _GATHERED.items()}
    return {keyword: text for keyword, text in texts.items() if text}


_Geometry = tuple[tuple[float, float, float] | None, tuple[float, ...] | None, tuple[float, float] | None]


def _read_geometry(parsed: ParsedHeader) -> _Geometry:
    """Return position, orientation and spacing of the first frame, each from the first place that has it."""
    detector = read_first_item(parsed.ds, "DetectorInformationSequence")
    shared = read_first_item(parsed.ds, "SharedFunctionalGroupsSequence")
    groups = (parsed.first_frame, shared)
    places = [
        parsed.ds,
        detector,
        *(read_first_item(group, macro) for group in groups for macro in _GEOMETRY_MACROS),
    ]
    position = _find_decimals(places, "ImagePositionPatient", 3)
    orientation = _find_decimals(places, "ImageOrientationPatient", 6)
    spacing = _find_decimals(places, "PixelSpacing", 2)
    return (
        (position[0], position[1], position[2]) if position else None,
        orientation,
        (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
    )


def _find_decimals(places: list[Dataset], keyword: str, count: int) -> tuple[float, ...] | None:
    return next((found for ds in places if (found := read_decimals(ds, keyword, count)) is not None), None)
