"""Makes series of header facts, without files, for the chapters that reason about headers only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from fusionnode.domain.series import InstanceHeader, PatientIdentity, Series, SeriesKey
from fusionnode.domain.terms import SeriesState
from fusionnode.domain.uids import derive_uid

MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"
PT_CLASS = "1.2.840.10008.5.1.4.1.1.128"
NM_CLASS = "1.2.840.10008.5.1.4.1.1.20"
SC_CLASS = "1.2.840.10008.5.1.4.1.1.7"
RAW_CLASS = "1.2.840.10008.5.1.4.1.1.66"
CLASSES = {"MR": MR_CLASS, "PT": PT_CLASS, "NM": NM_CLASS, "OT": SC_CLASS}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Stack:
    """The slices of a synthetic series: ``slices`` of them, less ``dropped`` (indices), ``spacing_mm`` apart."""

    slices: int = 10
    spacing_mm: float = 3.0
    dropped: Collection[int] = ()
    orientation: tuple[float, ...] = AXIAL
    claimed: int = 0
    frames: int = 1


@dataclass(frozen=True)
class Scan:
    """Who, when and in which space."""

    patient: PatientIdentity = field(default_factory=lambda: PatientIdentity("P1"))
    study: str = "study-1"
    frame: str = "frame-1"
    acquired_at: datetime | None = NOON


def make_series(
    name: str,
    modality: str = "MR",
    stack: Stack = Stack(),
    scan: Scan = Scan(),
    attributes: Mapping[str, str] | None = None,
    state: SeriesState = SeriesState.COMPLETE,
) -> Series:
    """Return generation 1 of a series; the same ``name`` always has the same UIDs."""
    uid = derive_uid("series", name)
    kept = [index for index in range(stack.slices) if index not in set(stack.dropped)]
    instances = tuple(_make_header(uid, index, modality, stack, scan, attributes or {}) for index in kept)
    return Series(SeriesKey(uid, 1), state, instances)


def _make_header(
    uid: str, index: int, modality: str, stack: Stack, scan: Scan, attributes: Mapping[str, str]
) -> InstanceHeader:
    return InstanceHeader(
        sop_class_uid=CLASSES.get(modality, SC_CLASS),
        sop_instance_uid=derive_uid(uid, str(index)),
        series_instance_uid=uid,
        study_instance_uid=derive_uid("study", scan.study),
        frame_of_reference_uid=derive_uid("frame", scan.frame) if scan.frame else "",
        modality=modality,
        patient=scan.patient,
        sha256=f"{index:064x}",
        path=f"{uid}/{index}",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        rows=64,
        columns=64,
        frames=stack.frames,
        instance_number=index + 1,
        position_mm=(-30.0, -30.0, -20.0 + index * stack.spacing_mm),
        orientation=stack.orientation,
        pixel_spacing_mm=(1.0, 1.0),
        acquired_at=scan.acquired_at,
        claimed_slices=stack.claimed,
        attributes=dict(attributes),
    )


def alter_instances(series: Series, **changes: object) -> Series:
    """Return the series with ``changes`` made to every instance."""
    return replace(series, instances=tuple(replace(one, **changes) for one in series.instances))  # type: ignore[arg-type]


def add_raw_data(series: Series) -> Series:
    """Return the series with a raw data object under its UID, as some scanners store it: no pixels, no place."""
    raw = replace(
        series.instances[0],
        sop_class_uid=RAW_CLASS,
        sop_instance_uid="1.2",
        sha256="a" * 64,
        frame_of_reference_uid="",
        rows=0,
        columns=0,
        instance_number=None,
        position_mm=None,
        orientation=None,
        pixel_spacing_mm=None,
        acquired_at=None,
        claimed_slices=0,
        attributes={},
    )
    return replace(series, instances=(raw, *series.instances))
