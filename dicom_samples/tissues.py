"""What each tissue looks like to MR, PET and SPECT, and the canvas it is painted on (pure)."""

from dataclasses import dataclass

import numpy as np

from dicom_samples.shapes import Field, Place

LOW_MM = (-92, -118, -92)
HIGH_MM = (92, 106, 92)
"""First and last lattice point (left, back, up), LPS mm; the lattice has a pitch of one millimetre."""


@dataclass(frozen=True)
class Tissue:
    """T1-weighted signal (fat = 900), and uptake of FDG and of a perfusion tracer relative to grey matter."""

    t1: float
    fdg: float
    perfusion: float


TISSUES = {
    "air": Tissue(0, 0, 0),
    "skin": Tissue(430, 0.10, 0.10),
    "fat": Tissue(900, 0.04, 0.03),
    "muscle": Tissue(330, 0.14, 0.10),
    "bone": Tissue(35, 0.03, 0.02),
    "marrow": Tissue(480, 0.10, 0.06),
    "mucosa": Tissue(300, 0.16, 0.12),
    "vitreous": Tissue(120, 0.02, 0.01),
    "lens": Tissue(330, 0.04, 0.02),
    "csf": Tissue(125, 0.03, 0.02),
    "grey": Tissue(415, 1.00, 1.00),
    "white": Tissue(620, 0.30, 0.27),
    "callosum": Tissue(650, 0.26, 0.22),
    "brainstem": Tissue(570, 0.52, 0.50),
    "striatum": Tissue(455, 1.12, 1.05),
    "pallidum": Tissue(550, 0.70, 0.65),
    "thalamus": Tissue(515, 1.02, 1.02),
    "cerebellar grey": Tissue(430, 0.86, 1.08),
    "blood": Tissue(210, 0.14, 0.20),
    "nodule": Tissue(330, 1.75, 1.60),
}


@dataclass(frozen=True, eq=False)
class Canvas:
    """Three maps of one head on one lattice, each float32 of shape (up, back, left)."""

    place: Place
    t1: Field
    fdg: Field
    perfusion: Field

    @classmethod
    def empty(cls) -> "Canvas":
        """Air everywhere."""
        left, back, up = (np.arange(low, high + 1, dtype=np.float32) for low, high in zip(LOW_MM, HIGH_MM, strict=True))
        place = Place(left[None, None, :], back[None, :, None], up[:, None, None])
        shape = (len(up), len(back), len(left))
        return cls(place, *(np.zeros(shape, dtype=np.float32) for _ in range(3)))

    def crop(self, left_mm: tuple[int, int], back_mm: tuple[int, int], up_mm: tuple[int, int]) -> "Canvas":
        """Return a window onto this canvas; painting it paints this one."""
        spans = [
            slice(max(0, first - low), last + 1 - low)
            for (first, last), low in zip((left_mm, back_mm, up_mm), LOW_MM, strict=True)
        ]
        left, back, up = spans
        place = Place(self.place.left[:, :, left], self.place.back[:, back, :], self.place.up[up])
        return Canvas(place, *(tissue[up, back, left] for tissue in (self.t1, self.fdg, self.perfusion)))

    def paint(self, share: Field, tissue: Tissue) -> None:
        """Cover ``share`` (0 to 1) of every lattice cell with ``tissue``."""
        for values, level in ((self.t1, tissue.t1), (self.fdg, tissue.fdg), (self.perfusion, tissue.perfusion)):
            np.add(values, share * (np.float32(level) - values), out=values)
