"""A pipeline: *what* is fused with what, and how it shall look. Never hosts, ports, paths or secrets."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=48)]
Keyword = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*$", max_length=64)]


class Palette(StrEnum):
    """The Standard's well-known colour palettes (PS3.6 annex B) that suit uptake, and plain grey."""

    PET = "PET"
    HOT_IRON = "HOT_IRON"
    HOT_METAL_BLUE = "HOT_METAL_BLUE"
    PET_20_STEP = "PET_20_STEP"
    GREY = "GREY"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Condition(_Strict):
    """One test on one attribute of a series, by DICOM keyword; matched case-insensitively as a regular expression."""

    attribute: Keyword
    matches: str | None = None
    excludes: str | None = None


class SeriesRule(_Strict):
    """What fits a role: every condition in ``where`` must hold; each one in ``prefer`` that holds adds to the score."""

    modality: tuple[Literal["MR", "PT", "NM"], ...] = Field(min_length=1)
    min_slices: int = Field(default=8, ge=1)
    where: tuple[Condition, ...] = ()
    prefer: tuple[Condition, ...] = ()


class Pairing(_Strict):
    """When two series of one patient belong together (dicom.md section 3)."""

    window_days: float = Field(default=30, ge=0)
    hold_hours: float = Field(default=24, gt=0)


class Registration(_Strict):
    """Which preset estimates the motion, and what is still believed of its answer."""

    preset: Literal["brain-rigid"] = "brain-rigid"
    max_rotation_deg: float = Field(default=45, gt=0, le=180)
    max_displacement_mm: float = Field(default=150, gt=0)
    min_overlap: float = Field(default=0.3, ge=0, le=1)


class PercentileWindow(_Strict):
    """A display window from percentiles of the foreground of the whole volume."""

    low: float = Field(default=0.0, ge=0, lt=100)
    high: float = Field(default=99.8, gt=0, le=100)


class Fusion(_Strict):
    """Which fuser runs, on what."""

    model: str = Field(default="laplacian", min_length=1)
    fixed_window: PercentileWindow = PercentileWindow(low=1.0, high=99.5)
    moving_window: PercentileWindow = PercentileWindow(low=0.0, high=99.8)
    palette: Palette = Palette.HOT_IRON


class Output(_Strict):
    """The words on the fused series."""

    series_description: Annotated[str, StringConstraints(max_length=64)]
    series_number: int = Field(default=9001, ge=1, le=99999)


class Pipeline(_Strict):
    """One declarative file in ``pipelines/``."""

    name: Name
    version: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]
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
