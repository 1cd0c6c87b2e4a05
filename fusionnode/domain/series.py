"""What the headers of stored instances say, as plain facts that settle, select and match can reason about."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime

from fusionnode.domain.terms import SeriesState

INDEXED_ATTRIBUTES: frozenset[str] = frozenset(
    {
        "AttenuationCorrectionMethod",
        "BodyPartExamined",
        "BurnedInAnnotation",
        "ConcatenationUID",
        "ContrastBolusAgent",
        "CorrectedImage",
        "DiffusionBValue",
        "EchoTime",
        "ImageType",
        "InversionTime",
        "MRAcquisitionType",
        "Manufacturer",
        "ManufacturerModelName",
        "PhotometricInterpretation",
        "ProtocolName",
        "ReconstructionMethod",
        "RepetitionTime",
        "ScanningSequence",
        "SequenceName",
        "SequenceVariant",
        "SeriesDescription",
        "SeriesNumber",
        "SeriesType",
        "SliceThickness",
        "SpacingBetweenSlices",
        "StationName",
        "StudyDescription",
        "Units",
    }
)
"""Keywords `InstanceHeader.attributes` may hold, beside `GATHERED_ATTRIBUTES`. A pipeline may ask for these and no
others: a condition on an attribute that is never recorded would never exclude anything, without a word."""

GATHERED_ATTRIBUTES: frozenset[str] = frozenset(
    {"ComplexImageComponent", "EnergyWindow", "Radionuclide", "Radiopharmaceutical"}
)
"""What `InstanceHeader.attributes` may hold besides, gathered from several elements or out of sequences:

- ComplexImageComponent: MAGNITUDE, PHASE, REAL, IMAGINARY or MIXED (PS3.3 C.8.13.3.1.1), from that attribute or from
  where vendors say it.
- Radionuclide: the mass numbers of the nuclides given, such as ``18`` or ``99m``, ascending.
- Radiopharmaceutical: the names of what was given, in the order of the object.
- EnergyWindow: the windows of an NM object, such as ``126-154``, in keV, ascending.
"""

DERIVED_ATTRIBUTES: frozenset[str] = frozenset({"Description", "SlicePlane"})
"""What a pipeline may ask for besides: Description is the Series Description, or where that is empty the Protocol Name;
SlicePlane is AXIAL, CORONAL or SAGITTAL, whichever is nearest, or empty."""


_IMAGELESS_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66",
        "1.2.840.10008.5.1.4.1.1.66.1",
        "1.2.840.10008.5.1.4.1.1.66.2",
        "1.2.840.10008.5.1.4.1.1.66.3",
        "1.2.840.10008.5.1.4.1.1.67",
    }
)
_IMAGELESS_FAMILIES = (
    "1.2.840.10008.5.1.4.1.1.11.",
    "1.2.840.10008.5.1.4.1.1.88.",
    "1.2.840.10008.5.1.4.1.1.104.",
)


def holds_image(sop_class_uid: str) -> bool:
    """Whether objects of a SOP class (PS3.4 B.5) may hold a picture; what is not known may.

    Raw data, registrations, fiducials, value mappings, presentation states, reports and documents hold none. Some
    scanners store such objects under the series UID of their images.
    """
    return sop_class_uid not in _IMAGELESS_CLASSES and not sop_class_uid.startswith(_IMAGELESS_FAMILIES)


@dataclass(frozen=True)
class PatientIdentity:
    """Who was scanned, for matching only; never logged, never shown (dicom.md section 3: never the name).

    Empty strings mean absent.

    Attributes:
        issuer: Issuer of Patient ID, a name that only its own network understands.
        birth_date: DA text.
        sex: M, F, O or empty.
        authority: the universal name of the same issuer, as ``TYPE:ID`` with the type of PS3.3 table 10-17, such as
            ``ISO:1.2.3``; the type is empty where it is not stated.
    """

    patient_id: str
    issuer: str = ""
    birth_date: str = ""
    sex: str = ""
    authority: str = ""

    def __repr__(self) -> str:
        return "PatientIdentity(<withheld>)"


@dataclass(frozen=True)
class InstanceHeader:
    """The facts of one stored SOP instance, read once when it is indexed.

    Attributes:
        sha256: of the stored data set bytes, so that "same UID, other bytes" can be told from a resend.
        path: relative to the spool's root.
        position_mm: Image Position (Patient), LPS mm, or None.
        orientation: Image Orientation (Patient), six direction cosines, or None.
        places: at how many distinct positions the frames of a multi-frame object lie, 0 where it does not tell.
        claimed_slices: the largest slice count any tag claims for the series, 0 where none does:
            (0054,0081) Number of Slices, (0020,1002) Images in Acquisition.
        attributes: the `INDEXED_ATTRIBUTES` and `GATHERED_ATTRIBUTES` that are present, as text, by name; multi-valued
            ones are joined with a backslash.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    patient: PatientIdentity
    sha256: str
    path: str
    transfer_syntax_uid: str
    rows: int
    columns: int
    frames: int
    instance_number: int | None
    position_mm: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    pixel_spacing_mm: tuple[float, float] | None
    acquired_at: datetime | None
    claimed_slices: int = 0
    places: int = 0
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesKey:
    """One generation of one series: what a job is made from. A late slice makes a new generation."""

    series_instance_uid: str
    generation: int

    def __str__(self) -> str:
        return f"{self.series_instance_uid}#{self.generation}"


SECOND_CONTENT = "arrived a second time with other content"
"""The commonest reason of a `Conflict`."""


@dataclass(frozen=True, order=True)
class Conflict:
    """An instance that contradicts its series; ``reason`` says how, as a predicate without values of the header."""

    sop_instance_uid: str
    reason: str


@dataclass(frozen=True)
class Series:
    """All indexed instances of one generation of a series, in any order, with the state the ledger holds for it.

    Attributes:
        conflicts: instances that contradict those in ``instances``; they are kept in the spool and not used.
        reason: why the series is in its state, in words; empty while receiving.
        first_seen_at: when its first instance was indexed (UTC), or None where that was not recorded.
    """

    key: SeriesKey
    state: SeriesState
    instances: tuple[InstanceHeader, ...]
    conflicts: tuple[Conflict, ...] = ()
    reason: str = ""
    first_seen_at: datetime | None = None

    @property
    def images(self) -> tuple[InstanceHeader, ...]:
        """The instances that may be slices: what holds no picture is left alone, unless there is nothing else."""
        return tuple(one for one in self.instances if holds_image(one.sop_class_uid)) or self.instances

    @property
    def head(self) -> InstanceHeader:
        """The image that speaks for the series: the lowest SOP Instance UID, so that it never depends on order."""
        return min(self.images, key=lambda instance: instance.sop_instance_uid)

    @property
    def content(self) -> str:
        """Hexadecimal SHA-256 over the images' own; the same for the same bytes in any order."""
        digests = "".join(sorted(instance.sha256 for instance in self.images))
        return hashlib.sha256(digests.encode()).hexdigest()

    @property
    def frames(self) -> int:
        """Number of frames over all images."""
        return sum(instance.frames for instance in self.images)
