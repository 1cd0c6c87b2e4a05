"""A pipeline: *what* is fused with what, and how it shall look. Never hosts, ports, paths or secrets."""

import hashlib
import json
import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fusionnode.domain.series import DERIVED_ATTRIBUTES, GATHERED_ATTRIBUTES, INDEXED_ATTRIBUTES

_WHAT_IS_MADE = {"registration", "fusion", "output"}

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=48)]

# With the longest name and the sign between them 64 characters: Software Versions of what was made is a Long String.
Version = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$", max_length=15)]


def _check_keyword(keyword: str) -> str:
    known = INDEXED_ATTRIBUTES | GATHERED_ATTRIBUTES | DERIVED_ATTRIBUTES
    if keyword not in known:
        raise ValueError(f"not an indexed attribute; one of {', '.join(sorted(known))}")
    return keyword


def _check_expression(expression: str) -> str:
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from None
    return expression


Keyword = Annotated[str, AfterValidator(_check_keyword)]
Expression = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_check_expression)]
# Printable ASCII without the backslash: a valid LO value under every Specific Character Set a source may have.
Description = Annotated[str, StringConstraints(pattern=r"^[ -\[\]-~]+$", max_length=64)]


class Palette(StrEnum):
    """The Standard's well-known colour palettes (PS3.6 annex B) that suit uptake, and plain grey."""

    PET = "PET"
    HOT_IRON = "HOT_IRON"
    HOT_METAL_BLUE = "HOT_METAL_BLUE"
    PET_20_STEP = "PET_20_STEP"
    GREY = "GREY"


class Compression(StrEnum):
    """How the pixels of the objects are written: plainly, or without loss in one of three transfer syntaxes."""

    NONE = "none"
    RLE = "rle"
    JPEG2000 = "jpeg2000"
    JPEGLS = "jpegls"


class Sheet(StrEnum):
    """The quality sheet: none, a page as encapsulated PDF, or the same page as a picture."""

    NONE = "none"
    PDF = "pdf"
    IMAGE = "image"


class OutputGrid(StrEnum):
    """Where the voxels of the pictures lie: on the MRI's own, or on cubes of its finest spacing."""

    MRI = "mri"
    ISOTROPIC = "isotropic"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Condition(_Strict):
    """One test on one attribute of a series, by DICOM keyword.

    The expressions are searched for anywhere in the value, whatever the case; values of a multi-valued attribute are
    joined with a backslash and an absent attribute reads as empty text. ``matches`` must be found in every instance of
    the series, ``excludes`` in none, and ``excludes_if_all`` not in every one: a magnitude may share its series with
    the phase, which alone is no picture. ``because`` is what an operator reads where the condition decided.
    """

    attribute: Keyword
    matches: Expression | None = None
    excludes: Expression | None = None
    excludes_if_all: Expression | None = None
    because: Annotated[str, StringConstraints(max_length=120)] = ""

    @model_validator(mode="after")
    def _require_a_test(self) -> Self:
        if self.matches is None and self.excludes is None and self.excludes_if_all is None:
            raise ValueError("a condition needs `matches`, `excludes` or `excludes_if_all`")
        return self


class Preference(Condition):
    """A condition that need not hold; where it does, ``weight`` is added to the score."""

    weight: float = Field(default=1, gt=0, le=10)


class SeriesRule(_Strict):
    """What fits a role: every condition in ``where`` must hold; each one in ``prefer`` that holds adds to the score."""

    modality: tuple[Literal["MR", "PT", "NM"], ...] = Field(min_length=1)
    min_slices: int = Field(default=8, ge=1)
    where: tuple[Condition, ...] = ()
    prefer: tuple[Preference, ...] = Field(default=(), max_length=32)


class Pairing(_Strict):
    """When two series of one patient belong together (same patient first, then frame, study or date).

    ``day_weight`` is what each whole day between two acquisitions takes off the score of their pair.
    """

    window_days: float = Field(default=30, ge=0, le=3660)
    day_weight: float = Field(default=0.1, ge=0, le=1)
    hold_hours: float = Field(default=24, gt=0, le=8784)


class Registration(_Strict):
    """Which preset estimates the motion, and what is still believed of its answer.

    ``where`` must hold for both series of a pair without a shared frame of reference, because only then is a motion
    estimated: it keeps a preset away from anatomy it was not made for. ``doubt`` says what becomes of a motion whose
    figures cannot tell a right pair from a wrong one; what is plainly wrong is refused all the same.
    ``max_centre_distance_mm`` limits how far apart the two heads' centres may lie once the motion is applied, not how
    far it carries them in scanner coordinates, whose origins are arbitrary.
    """

    preset: Literal["brain-rigid"] = "brain-rigid"
    where: tuple[Condition, ...] = ()
    max_rotation_deg: float = Field(default=45, gt=0, le=180)
    max_centre_distance_mm: float = Field(default=75, gt=0)
    min_overlap: float = Field(default=0.3, ge=0, le=1)
    doubt: Literal["refuse", "warn"] = "refuse"


class PercentileWindow(_Strict):
    """A display window from percentiles of the foreground of a volume."""

    low: float = Field(default=0.0, ge=0, lt=100)
    high: float = Field(default=99.8, gt=0, le=100)

    @model_validator(mode="after")
    def _require_an_extent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` must lie below `high`, not {self.low:g} and {self.high:g}")
        return self


class SuvWindow(_Strict):
    """A display window with both ends given, in SUVbw (g/ml)."""

    low: float = Field(default=0.0, ge=0)
    high: float = Field(gt=0, le=1000)

    @model_validator(mode="after")
    def _require_an_extent(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`low` must lie below `high`, not {self.low:g} and {self.high:g}")
        return self


class UptakeWindow(PercentileWindow):
    """The same of the uptake that lies within the MRI; see `PercentileWindow`.

    ``floor_suv`` is the least value of the high end where the uptake is in SUVbw, so that the faint uptake of a limb is
    not spread over the whole palette. ``suv`` is used instead of percentiles there. Neither does anything in any other
    unit.
    """

    floor_suv: float = Field(default=0.0, ge=0)
    suv: SuvWindow | None = None


class Fusion(_Strict):
    """Which fuser runs, on what."""

    model: str = Field(default="mask-attention", min_length=1)
    fixed_window: PercentileWindow = PercentileWindow(low=1.0, high=99.5)
    moving_window: UptakeWindow = UptakeWindow(low=0.0, high=99.8)
    palette: Palette = Palette.HOT_METAL_BLUE


class Output(_Strict):
    """What is written, and the words on the fused series.

    ``opacity`` is that of the functional series over the MRI in the presentation state; of neither 0 nor 1, which would
    show one series alone.
    """

    series_description: Description
    series_number: int = Field(default=9001, ge=1, le=99999)
    compression: Compression = Compression.NONE
    grid: OutputGrid = OutputGrid.MRI
    multiframe: bool = False
    colour_bar: bool = False
    resampled: bool = False
    sheet: Sheet = Sheet.NONE
    blending: bool = False
    opacity: float = Field(default=0.5, gt=0, lt=1)


class Pipeline(_Strict):
    """One declarative file in ``pipelines/``."""

    name: Name
    version: Version
    summary: str = ""
    fixed: SeriesRule
    moving: SeriesRule
    pairing: Pairing = Pairing()
    registration: Registration = Registration()
    fusion: Fusion = Fusion()
    output: Output
    destinations: tuple[Name, ...] = ()

    @property
    def identifier(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def edition(self) -> str:
        """``version+digest``, the digest being of what is made of a pair: ``registration``, ``fusion`` and ``output``.

        So nobody has to raise the version for a changed option to count. What has its default is no part of it: a key
        that a newer program adds changes no edition. Which series pair and where the result goes is none of it either.
        """
        made = self.model_dump(mode="json", include=_WHAT_IS_MADE, exclude_defaults=True)
        digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        return f"{self.version}+{digest[:12]}"
