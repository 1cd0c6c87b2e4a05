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
"""Keywords `InstanceHeader.attributes` may hold. A pipeline may ask for these and no others: a condition on an
attribute that is never recorded would never exclude anything, without a word."""


@dataclass(frozen=True)
class PatientIdentity:
    """Who was scanned, for matching only; never logged, never shown (dicom.md section 3: never the name).

    Empty strings mean absent. ``birth_date`` is DA text, ``sex`` is M, F, O or empty.
    """

    patient_id: str
    issuer: str = ""
    birth_date: str = ""
    sex: str = ""

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
        claimed_slices: the largest slice count any tag claims for the series, 0 where none does:
            (0054,0081) Number of Slices, (0020,1002) Images in Acquisition.
        attributes: the `INDEXED_ATTRIBUTES` that are present, as text, by DICOM keyword; multi-valued ones are
            joined with a backslash.
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
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeriesKey:
    """One generation of one series: what a job is made from. A late slice makes a new generation."""

    series_instance_uid: str
    generation: int

    def __str__(self) -> str:
        return f"{self.series_instance_uid}#{self.generation}"


@dataclass(frozen=True)
class Series:
    """All indexed instances of one generation of a series, in any order, with the state the ledger holds for it.

    Attributes:
        conflicts: SOP Instance UIDs that arrived a second time with other bytes; the first arrival is in
            ``instances``, the second is kept in the spool and not used.
        reason: why the series is in its state, in words; empty while receiving.
        first_seen_at: when its first instance was indexed (UTC), or None where that was not recorded.
    """

    key: SeriesKey
    state: SeriesState
    instances: tuple[InstanceHeader, ...]
    conflicts: tuple[str, ...] = ()
    reason: str = ""
    first_seen_at: datetime | None = None

    @property
    def head(self) -> InstanceHeader:
        """The instance that speaks for the series: the lowest SOP Instance UID, so that it never depends on order."""
        return min(self.instances, key=lambda instance: instance.sop_instance_uid)

    @property
    def content(self) -> str:
        """Hexadecimal SHA-256 over the instances' own; the same for the same bytes in any order."""
        digests = "".join(sorted(instance.sha256 for instance in self.instances))
        return hashlib.sha256(digests.encode()).hexdigest()

    @property
    def frames(self) -> int:
        """Number of frames over all instances."""
        return sum(instance.frames for instance in self.instances)
