"""Pictures to look at: MRI, uptake and fusion side by side, and how the two lie on each other, in three planes."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fusionnode.capture.describe import describe_limits
from fusionnode.capture.sheet import ColourBar, SheetRow, draw_outline, lay_checkerboard, render_contact_sheet
from fusionnode.domain.images import FusedStack, PreparedPair, RgbStack, SliceStack
from fusionnode.fusion.colour import show_uptake
from fusionnode.pipeline.schema import Palette
from fusionnode.slices.cut import cut_planes

Pixel = TypeVar("Pixel", np.uint8, np.bool_)

# Plane and the patient directions at its left and right edges, as `cut_planes` turns them.
PLANES = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))

_PANEL_PIXELS = 480
_ALL_COVERED = 0.999
FIELDS = 8


def render_preview(prepared: PreparedPair, fused: FusedStack, palette: Palette, modality: str) -> NDArray[np.uint8]:
    """Return a contact sheet, uint8 [row, column, 3]: a row per plane, a column per picture.

    Below stand what the colours of the uptake mean, and everything the estimate and the volumes warn of.

    ``modality`` is the functional one, for the column's title.
    """
    stacks = (show_grey(prepared.fixed), show_uptake(prepared.moving, palette), fused.rgb)
    cuts = [tuple(map(_enlarge, cut_planes(stack, prepared.grid))) for stack in stacks]
    rows = [
        SheetRow(plane, tuple(cut[index] for cut in cuts), left, right)
        for index, (plane, left, right) in enumerate(PLANES)
    ]
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, None]
    bar = ColourBar(show_uptake(ramp, palette)[0, 0], describe_limits(prepared.moving_window), column=1)
    warnings = (*prepared.estimate.warnings, *prepared.notes)
    return render_contact_sheet(rows, ("MRI", modality, f"fused: {fused.model}"), bar, warnings)


def render_alignment(prepared: PreparedPair, palette: Palette, modality: str) -> NDArray[np.uint8]:
    """Return a sheet to judge the alignment by, uint8 [row, column, 3]: a row per plane, a column per picture.

    First MRI and uptake as a checkerboard, then the outline of each on the other: wherever one of them passes half of
    what its bright part has on average; where the functional series ends is no outline. Below stands everything the
    estimate warns of.
    """
    halves = [find_half(stack) for stack in (prepared.fixed, prepared.moving)]
    stacks = [cut_planes(stack, prepared.grid) for stack in (prepared.fixed, prepared.moving)]
    rows = []
    for fixed, moving, known, (plane, left, right) in zip(*stacks, cut_covered(prepared), PLANES, strict=True):
        grey, colour = _enlarge(show_grey(fixed)), _enlarge(show_uptake(moving[None], palette)[0])
        panels = (
            lay_checkerboard(grey, colour, max(1, max(grey.shape[:2]) // FIELDS)),
            draw_outline(colour, _enlarge(fixed > halves[0])),
            draw_outline(grey, _enlarge(moving > halves[1]), _enlarge(known)),
        )
        rows.append(SheetRow(plane, panels, left, right))
    titles = (f"MRI and {modality}", f"outline of the MRI on the {modality}", f"outline of the {modality} on the MRI")
    return render_contact_sheet(rows, titles, footnotes=prepared.estimate.warnings)


def cut_covered(prepared: PreparedPair, at: tuple[int, int, int] | None = None) -> tuple[NDArray[np.bool_], ...]:
    """Return where the planes through ``at`` show the functional series and nothing of where it has no voxels."""
    planes = cut_planes(prepared.covered.astype(np.float32), prepared.grid, at)
    return tuple(plane > _ALL_COVERED for plane in planes)


def find_half(stack: SliceStack) -> float:
    """Half the mean of what is brighter than the mean; what is black everywhere has no outline."""
    bright = stack[stack > stack.mean()]
    return float(bright.mean()) / 2 if bright.size else 1.0


def _enlarge(panel: NDArray[Pixel]) -> NDArray[Pixel]:
    """Repeat pixels, so that a small matrix fills the cell and each of its pixels stays what it is."""
    factor = max(1, _PANEL_PIXELS // max(panel.shape[:2]))
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)


def show_grey(stack: SliceStack) -> RgbStack:
    """A stack or a single picture."""
    grey = np.rint(stack * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
