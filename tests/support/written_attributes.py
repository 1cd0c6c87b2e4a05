"""Measures what the objects made here carry: which attributes, how often, and where each value comes from.

Objects are built from several pairs of series: two full ones whose values all differ, one whose headers hold the least
that can be fused, one with a shared frame of reference, and one on an isotropic grid. What is in every object, what is
empty in some, what follows the MRI, the functional series or the pipeline, and what never changes, is read off them.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.uid import UID

from fusionnode.capture.blending import build_blending
from fusionnode.capture.build import CaptureRequest, build_captures
from fusionnode.capture.multiframe import build_stack
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.resampled import build_resampled
from fusionnode.capture.sheet_object import build_sheet
from fusionnode.domain.images import FusedStack, Window
from fusionnode.domain.terms import Unit
from fusionnode.domain.uids import derive_uid
from fusionnode.pipeline.schema import Palette, Sheet
from tests.support.captures import (
    FRAME,
    MOMENT,
    OTHER_FRAME,
    Scene,
    make_job,
    make_motion,
    make_request,
    reformat,
    with_output,
    with_uptake,
)
from tests.support.datasets import AXIAL, OBLIQUE, Identity, Layout, make_mr_series, make_nm_recon, make_pt_series
from tests.support.standard import load_standard

Path = tuple[str, ...]
"""Keywords from the top of an object down to an attribute."""


class Presence(StrEnum):
    """How often an attribute is there, in the words of PS3.2."""

    ALWAYS = "ALWAYS"
    VNAP = "VNAP"
    EMPTY = "EMPTY"
    ANAP = "ANAP"


@dataclass(frozen=True)
class Written:
    """One attribute of one kind of object.

    Attributes:
        sources: "COPY MRI", "COPY functional", "CONFIG" or "AUTO", as many as apply.
        value: the only one it ever has, if it is short text.
    """

    path: Path
    presence: Presence
    sources: tuple[str, ...]
    value: str = ""


@dataclass
class _Count:
    parents: int = 0
    present: int = 0
    filled: int = 0


@dataclass
class _Sighting:
    """What one kind of object held in one run: values by path, and how often each was there."""

    counts: dict[Path, _Count] = field(default_factory=lambda: defaultdict(_Count))
    values: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))
    items: dict[Path, int] = field(default_factory=lambda: defaultdict(int))


KINDS = (
    "fused image",
    "multi-frame fused image",
    "registration",
    "resampled PET",
    "resampled SPECT",
    "quality sheet as document",
    "quality sheet as picture",
    "blending presentation state",
)
_GEOMETRY = {
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"),
    *("ImageType", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("SpacingBetweenSlices", "Rows", "Columns", "NumberOfFrames", "FrameIncrementPointer", "SliceVector"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation"),
    *("RescaleSlope", "RescaleIntercept", "NumberOfSlices", "SpecificCharacterSet", "DetectorInformationSequence"),
}
"""What a series cannot be fused without, or what says where its voxels lie: kept as it is, also when all else goes."""

_WITHOUT_WHICH_NO_PET = {"Units", "SeriesDate", "SeriesTime", "DecayCorrection", "DecayFactor", "FrameReferenceTime"}
_DRESSED_MODULES = (
    *("patient", "general-study", "patient-study", "general-series", "general-equipment", "frame-of-reference"),
    *("general-acquisition", "general-image", "sop-common", "pet-series", "pet-isotope", "pet-image", "nm-image"),
    *("nm-isotope", "nm-reconstruction", "nm-tomo-acquisition", "nm-pet-patient-orientation"),
)
_CHOICES = {
    "PatientSex": ("M", "F"),
    "Laterality": ("L", "R"),
    "BodyPartExamined": ("KNEE", "ANKLE"),
    "TimezoneOffsetFromUTC": ("+0100", "+0200"),
    "LossyImageCompression": ("01", "01"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "Units": ("BQML", "CNTS"),
    "DecayCorrection": ("START", "ADMIN"),
}
"""Where not any text will do: two values, of which the MRI has the one and the functional series the other."""

_AGREED = {"BurnedInAnnotation": ("YES", "NO"), "RecognizableVisualFeatures": ("YES", "NO")}
"""What is said of a picture if one of its sources says it: both series have the same of two values."""

_SEQUENCES_OF_CODES = {
    *("DeidentificationMethodCodeSequence", "PatientOrientationCodeSequence", "PatientGantryRelationshipCodeSequence"),
    *("EnergyWindowInformationSequence", "RadiopharmaceuticalInformationSequence", "RotationInformationSequence"),
    "InterventionDrugInformationSequence",
}
_REFERRED = {"ReferencedSOPClassUID": "SOPClassUID", "ReferencedSOPInstanceUID": "SOPInstanceUID"}
_PLAIN = re.compile(r"[\w\\ .,^:/()-]{1,64}")
"""A value that can be shown: no bytes, no list of items."""


@cache
def measure(kind: str) -> tuple[Written, ...]:
    """Return everything that objects of ``kind`` carry below the file meta information, in the order of tags."""
    requests = {run: _make_requests(kind, run) for run in _RUNS}
    seen = {run: [_see(_build(kind, one)) for one in several] for run, several in requests.items()}
    evidence = _Evidence(
        everything=_unite([one for several in seen.values() for one in several]),
        full=_unite(seen["full"]),
        other=_unite(seen["other"]),
        configured=_unite([_see(_build(kind, _configure(one))) for one in requests["full"]]),
        known={(run, role): _list_known(requests[run], role) for run in ("full", "other") for role in (0, 1)},
    )
    return tuple(
        Written(path, _judge_presence(path, evidence.everything), *evidence.find_sources(path))
        for path in sorted(evidence.everything.counts, key=lambda path: [tag_for_keyword(one) or 0 for one in path])
        if not evidence.is_copied_whole(path[:-1])
    )


@cache
def find_class(kind: str) -> UID:
    """Return the SOP class of objects of ``kind``."""
    return UID(str(_build(kind, _make_requests(kind, "full")[0])[0].SOPClassUID))


_RUNS = ("full", "other", "bare", "shared", "isotropic")


@cache
def _make_requests(kind: str, run: str) -> list[CaptureRequest]:
    modalities = {"resampled PET": ["PT"], "resampled SPECT": ["NM"]}.get(kind, ["PT", "NM"])
    return [_make_request(run, modality) for modality in modalities]


@cache
def _make_request(run: str, modality: str) -> CaptureRequest:
    other = run == "other"
    fixed, moving = _make_series(modality, other=other, shared=run == "shared")
    for role, headers in enumerate((fixed, moving)):
        for ds in headers:
            if run == "bare":
                _strip(ds)
            else:
                _dress(ds, role, other=other)
    motion = make_motion(5.0, (1.0, -1.0, 0.5)) if other else make_motion(12.0, (1.0, -2.0, 1.5))
    request = make_request(Scene(fixed, moving, motion, seed=int(other)))
    if other:
        window = Window(1.5, 9.0, Unit.SUVBW)
        request = replace(request, prepared=replace(request.prepared, moving_window=window))
        job = replace(make_job(moment=MOMENT + timedelta(days=400)), id="another job")
        fused = FusedStack(request.fused.rgb, "maximum@2.0")
        request = replace(request, job=job, fused=fused, software_version="0.2.0")
    page = np.full((41, 31, 3) if other else (40, 30, 3), 255, np.uint8)
    if run == "isotropic":
        request = reformat(request)
    request = replace(with_uptake(request, scale=2e-4 if other else 1e-4), page=page)
    return _choose_palette(request, Palette.GREY) if run == "bare" else request


def _make_series(modality: str, *, other: bool, shared: bool) -> tuple[list[Dataset], list[Dataset]]:
    """Return MRI and functional series; nothing in the ``other`` pair is as in the first."""
    more = int(other)
    orientation = OBLIQUE if other else AXIAL
    spacing = (3.0 + more, 1.0 + more / 4, 1.25 + more / 4)
    near = Layout(3 + more, 9 + more, 7 + more, spacing, (-3.0 - more, -5.0, -4.0), orientation)
    far = Layout(4 + more, 6 + more, 5 + more, (2.0 + more, 3.0 + more, 3.5 + more), (-6.0 - more, -6.0, -7.0))
    patient, study = f"TEST-{more}", derive_uid("tests", "another study", str(more))
    frames = [derive_uid("tests", frame, str(more)) for frame in (FRAME, FRAME if shared else OTHER_FRAME)]
    fixed = make_mr_series(near, Identity(patient, frame_of_reference_uid=frames[0]))
    identity = Identity(patient, study, series_number=2, frame_of_reference_uid=frames[1])
    return fixed, make_pt_series(far, identity) if modality == "PT" else [make_nm_recon(far, identity)]


def _dress(ds: Dataset, role: int, *, other: bool) -> None:
    """Fill the header with values that no other series has."""
    ds.SpecificCharacterSet = (("ISO_IR 192", "ISO_IR 100"), ("ISO_IR 101", "ISO_IR 144"))[role][other]
    if other and role == 0:
        ds.RescaleSlope, ds.RescaleIntercept = "2", "-5"
    for detector in ds.get("DetectorInformationSequence") or []:
        detector.CollimatorType = "PARA" if other else "FANB"
    for module in _DRESSED_MODULES:
        for entry in load_standard("module_attribute_map")[module]:
            keyword = entry["keyword"]
            if not entry["path"] and keyword not in _GEOMETRY:
                value = _invent(keyword, role, other)
                if value is not None:
                    setattr(ds, keyword, value)


def _invent(keyword: str, role: int, other: bool) -> Any:
    mark = f"{role}{int(other)}"
    if keyword in _CHOICES:
        return _CHOICES[keyword][role ^ other]
    if keyword in _AGREED:
        return _AGREED[keyword][other]
    if keyword in _SEQUENCES_OF_CODES:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = mark, "99TEST", f"meaning {mark}"
        return [code, code] if other else [code]
    number = int(mark, 2) + 1
    return {
        **dict.fromkeys(("LO", "SH", "PN", "ST", "LT", "UC", "UT"), f"{keyword[:12]}{mark}"),
        "CS": f"{keyword[:12].upper()}{mark}",
        "AE": f"AE{mark}",
        "AS": f"{30 + number:03d}Y",
        "DA": f"2024010{number}",
        "TM": f"0{number}1500",
        "DT": f"2024010{number}0{number}1500",
        "DS": str(number + 0.5),
        "IS": str(1000 + number),
        "US": 1000 + number,
        "UI": derive_uid("tests", keyword, mark),
    }.get(dictionary_VR(keyword))


def _strip(ds: Dataset) -> None:
    """Leave what nothing can be fused without, and of PET what no resampled series can be written without."""
    kept = {*_GEOMETRY, *(_WITHOUT_WHICH_NO_PET if ds.Modality == "PT" else ())}
    for element in list(ds):
        if element.keyword not in kept:
            del ds[element.tag]
    ds.SpecificCharacterSet = None


def _configure(request: CaptureRequest) -> CaptureRequest:
    """The same under another pipeline of the same name and version."""
    return with_output(_choose_palette(request, Palette.PET), series_description="Other words", series_number=7000)


def _choose_palette(request: CaptureRequest, palette: Palette) -> CaptureRequest:
    fusion = request.pipeline.fusion.model_copy(update={"palette": palette})
    return replace(request, pipeline=request.pipeline.model_copy(update={"fusion": fusion}))


def _build(kind: str, request: CaptureRequest) -> Sequence[Dataset]:
    if kind == "fused image":
        return build_captures(request)
    if kind == "multi-frame fused image":
        return [build_stack(request)]
    if kind == "registration":
        registration = build_registration(request)
        return [] if registration is None else [registration]
    if kind.startswith("resampled"):
        return build_resampled(request)
    if kind.startswith("quality sheet"):
        return [build_sheet(with_output(request, sheet=Sheet.PDF if kind.endswith("document") else Sheet.IMAGE))]
    return [build_blending(request)]


def _see(objects: Sequence[Dataset]) -> _Sighting:
    sighting = _Sighting()
    for ds in objects:
        _look_into(sighting, ds, ())
    return sighting


def _look_into(sighting: _Sighting, ds: Dataset, above: Path) -> None:
    sighting.items[above] += 1
    for element in ds:
        path = (*above, element.keyword)
        count = sighting.counts[path]
        count.present += 1
        count.filled += not element.is_empty
        if element.VR != "SQ":
            sighting.values[path].add(_normalise(element))
            continue
        sighting.values[path].add(str(element.value) if element.value else "")
        for item in element.value or []:
            _look_into(sighting, item, path)


def _normalise(element: DataElement) -> str:
    if element.is_empty:
        return ""
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    if element.VR in {"DS", "FD", "FL"}:
        return "\\".join(f"{float(one):.6g}" for one in values)
    return "\\".join(repr(one) if isinstance(one, bytes) else str(one) for one in values)


def _unite(sightings: Sequence[_Sighting]) -> _Sighting:
    united = _Sighting()
    for one in sightings:
        for path, count in one.counts.items():
            united.counts[path].present += count.present
            united.counts[path].filled += count.filled
        for path, values in one.values.items():
            united.values[path] |= values
        for path, number in one.items.items():
            united.items[path] += number
    return united


def _judge_presence(path: Path, sighting: _Sighting) -> Presence:
    count, parents = sighting.counts[path], sighting.items[path[:-1]]
    if count.present < parents:
        return Presence.ANAP
    if count.filled == parents:
        return Presence.ALWAYS
    return Presence.VNAP if count.filled else Presence.EMPTY


@dataclass
class _Evidence:
    """What was seen in all runs together and in some of them.

    Attributes:
        configured: what became of the full pairs under another pipeline.
        known: values by keyword that the headers of run and role hold; role 0 is the MRI, 1 the functional series.
    """

    everything: _Sighting
    full: _Sighting
    other: _Sighting
    configured: _Sighting
    known: dict[tuple[str, int], dict[str, set[str]]]

    def find_sources(self, path: Path) -> tuple[tuple[str, ...], str]:
        """Return where the values come from, and the value if it is short and always the same."""
        full, other = self.full.values[path] - {""}, self.other.values[path] - {""}
        copied: set[str] = set()
        sources = []
        for role, name in enumerate(("COPY MRI", "COPY functional")):
            here, there = full & self._list_known("full", role, path), other & self._list_known("other", role, path)
            follows = here - other or (path[-1] in _REFERRED and here)
            if follows and (there or not other):
                sources.append(name)
                copied |= here | there
        if self.configured.values[path] - {""} != full:
            sources.append("CONFIG")
        elif (full | other) - copied or not sources:
            sources.append("AUTO")
        values = self.everything.values[path] - {""}
        constant = next(iter(values)) if len(values) == 1 and sources == ["AUTO"] else ""
        return tuple(sources), constant if _PLAIN.fullmatch(constant) else ""

    def is_copied_whole(self, path: Path) -> bool:
        """Whether the sequence at the top of ``path`` is one of the sources' as it stands: its items need no rows."""
        values = self.full.values[path[:1]] - {""} if path else set()
        known = [self._list_known("full", role, path) for role in (0, 1) if path]
        return bool(values) and values <= set().union(*known)

    def _list_known(self, run: str, role: int, path: Path) -> set[str]:
        return self.known[run, role].get(_REFERRED.get(path[-1], path[-1]), set())


def _list_known(requests: Sequence[CaptureRequest], role: int) -> dict[str, set[str]]:
    known: dict[str, set[str]] = defaultdict(set)
    for request in requests:
        for header in (request.fixed_headers, request.moving_headers)[role]:
            for element in header.iterall():
                known[element.keyword].add(str(element.value) if element.VR == "SQ" else _normalise(element))
    return {keyword: values - {""} for keyword, values in known.items()}
