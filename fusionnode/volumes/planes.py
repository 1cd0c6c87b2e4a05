"""One stored image plane: where it lies, how its values are scaled, where its pixels are (middle)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from fusionnode.domain.volume import SourceFrame
from fusionnode.errors import GeometryIrregular, SeriesUnsupported
from fusionnode.volumes.values import read_numbers, spell_value

# What all slices of one volume have in common.
_TRAITS = (
    "ImageType",
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
)
# What may run from slice to slice within a volume, but tells volumes apart that share their slice positions.
_MOMENTS = (
    "TriggerTime",
    "FrameReferenceTime",
    "AcquisitionNumber",
    "SequenceName",
)


@dataclass(frozen=True, eq=False)
class Plane:
    """One plane of a series, from a single-frame object or from one frame of a multi-frame object.

    Attributes:
        ds: the data set that holds the pixels.
        position_mm: (3,) centre of the first voxel, LPS mm (PS3.3 C.7.6.2.1.1).
        orientation: direction cosines of the row, then of the column.
        spacing_mm: distance between rows, then between columns.
        slope, intercept: stored value to rescaled value; ``slope`` is None where the object has none.
        traits: attributes that are the same on all planes of one volume.
        moments: attributes that may run from plane to plane, and tell planes apart that share a position.
        units: what rescaled values of PET are in, as Units (0054,1001) names it; empty where nothing says so.
    """

    ds: Dataset
    source: SourceFrame
    position_mm: NDArray[np.float64]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    slope: float | None = None
    intercept: float = 0.0
    traits: Mapping[str, str] = field(default_factory=dict)
    moments: Mapping[str, str] = field(default_factory=dict)
    units: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return int(self.ds.Rows), int(self.ds.Columns)

    @property
    def name(self) -> str:
        """SOP Instance UID, with the frame number where there is one."""
        frame = self.source.frame_number
        return self.source.sop_instance_uid if frame is None else f"{self.source.sop_instance_uid} frame {frame}"


def read_plane(ds: Dataset) -> Plane:
    """Read a classic single-frame MR or PET instance.

    Raises:
        SeriesUnsupported: it is a localizer, a mosaic, a projection or has several frames.
        GeometryIrregular: position, orientation or spacing is missing.
        DatasetUnreadable: an attribute does not hold numbers.
    """
    _refuse_odd_kinds(ds)
    moments = _read_marks(ds, _MOMENTS) | _find_time_slot(ds)
    return make_plane(ds, ds, find_source(ds), Marks(_read_marks(ds, _TRAITS), moments, _read_units(ds)))


@dataclass(frozen=True)
class Marks:
    """What `Plane` holds beside geometry and scale."""

    traits: Mapping[str, str]
    moments: Mapping[str, str]
    units: str = ""


def make_plane(ds: Dataset, place: Dataset, source: SourceFrame, marks: Marks) -> Plane:
    """Build a plane whose geometry and rescale attributes are all found in ``place``."""
    slope = read_numbers(place, "RescaleSlope", 1)
    intercept = read_numbers(place, "RescaleIntercept", 1)
    return Plane(
        ds=ds,
        source=source,
        position_mm=np.asarray(demand_geometry(place, "ImagePositionPatient", 3), dtype=np.float64),
        orientation=demand_geometry(place, "ImageOrientationPatient", 6),
        spacing_mm=demand_spacing_mm(place),
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else 0.0,
        traits=marks.traits,
        moments=marks.moments,
        units=marks.units,
    )


def find_source(ds: Dataset, frame_number: int | None = None) -> SourceFrame:
    """Name the stored image a plane comes from."""
    return SourceFrame(str(ds.SOPClassUID), str(ds.SOPInstanceUID), frame_number)


def count_frames(ds: Dataset) -> int:
    """Return Number of Frames, 1 where it is absent."""
    numbers = read_numbers(ds, "NumberOfFrames", 1)
    return int(numbers[0]) if numbers else 1


def demand_spacing_mm(place: Dataset) -> tuple[float, float]:
    """Return Pixel Spacing (rows, columns).

    Raises:
        GeometryIrregular: it is missing or not positive.
    """
    rows_mm, columns_mm = demand_geometry(place, "PixelSpacing", 2)
    if min(rows_mm, columns_mm) <= 0:
        raise GeometryIrregular(
            f"PixelSpacing {rows_mm} x {columns_mm} mm is not positive.",
            remedy="Ask the scanner's vendor why.",
            spacing_mm=(rows_mm, columns_mm),
        )
    return rows_mm, columns_mm


def demand_geometry(place: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Return ``count`` numbers.

    Raises:
        GeometryIrregular: they are missing.
        DatasetUnreadable: they are not numbers, or not that many.
    """
    numbers = read_numbers(place, keyword, count)
    if numbers is None:
        raise GeometryIrregular(
            f"{keyword} is missing, so the slices cannot be placed in the patient.",
            remedy="Send a reconstruction with patient geometry.",
            keyword=keyword,
        )
    return numbers


def _read_marks(ds: Dataset, keywords: Sequence[str]) -> dict[str, str]:
    return {keyword: text for keyword in keywords if (text := spell_value(ds, keyword))}


def _read_units(ds: Dataset) -> str:
    return spell_value(ds, "Units").upper()


def _find_time_slot(ds: Dataset) -> dict[str, str]:
    """Image Index (PS3.3 C.8.9.4.1.9) counts the slices of all time slots, one volume after the other."""
    index, slices = read_numbers(ds, "ImageIndex", 1), read_numbers(ds, "NumberOfSlices", 1)
    if index is None or slices is None or slices[0] < 1:
        return {}
    return {"time slot by ImageIndex": str(int((index[0] - 1) // slices[0]) + 1)}


def _refuse_odd_kinds(ds: Dataset) -> None:
    words = {word.upper() for word in spell_value(ds, "ImageType").split("\\")}
    words |= {f"SERIES {word.upper()}" for word in spell_value(ds, "SeriesType").split("\\")[1:]}
    odd = {
        "LOCALIZER": "a localizer",
        "MOSAIC": "a mosaic of many slices in one picture",
        "PROJECTION IMAGE": "a projection",
        "SERIES REPROJECTION": "a projection",
    }
    for word, kind in odd.items():
        if word in words:
            raise SeriesUnsupported(
                f"The series is {kind}, which is no volume as stored.",
                remedy="Exclude it in the pipeline, or send the reconstructed slices.",
                sop_instance_uid=str(ds.SOPInstanceUID),
                image_type=word,
            )
    if count_frames(ds) != 1:
        raise SeriesUnsupported(
            "A classic MR or PET object holds several frames, which its class does not allow.",
            remedy="Send single-frame or enhanced objects.",
            sop_instance_uid=str(ds.SOPInstanceUID),
        )
