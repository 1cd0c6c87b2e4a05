"""A picture to look at: MRI, uptake and fusion side by side, in three planes."""

import numpy as np
from numpy.typing import NDArray

from fusionnode.capture.describe import describe_limits
from fusionnode.capture.sheet import ColourBar, SheetRow, render_contact_sheet
from fusionnode.domain.images import FusedStack, PreparedPair, RgbStack, SliceStack
from fusionnode.fusion.colour import show_uptake
from fusionnode.pipeline.schema import Palette
from fusionnode.slices.cut import cut_planes

# Plane and the patient directions at its left and right edges, as `cut_planes` turns them.
_PLANES = (("axial", "R", "L"), ("coronal", "R", "L"), ("sagittal", "A", "P"))

_PANEL_PIXELS = 480


def render_preview(prepared: PreparedPair, fused: FusedStack, palette: Palette, modality: str) -> NDArray[np.uint8]:
    """Return a contact sheet, uint8 [row, column, 3]: a row per plane, a column per picture.

    Below stand what the colours of the uptake mean, and everything the estimate and the volumes warn of.

    ``modality`` is the functional one, for the column's title.
    """
    stacks = (_show_grey(prepared.fixed), show_uptake(prepared.moving, palette), fused.rgb)
    cuts = [tuple(map(_enlarge, cut_planes(stack, prepared.grid))) for stack in stacks]
    rows = [
        SheetRow(plane, tuple(cut[index] for cut in cuts), left, right)
        for index, (plane, left, right) in enumerate(_PLANES)
    ]
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, None]
    bar = ColourBar(show_uptake(ramp, palette)[0, 0], describe_limits(prepared.moving_window), column=1)
    warnings = (*prepared.estimate.warnings, *prepared.notes)
    return render_contact_sheet(rows, ("MRI", modality, f"fused: {fused.model}"), bar, warnings)


def _enlarge(panel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat pixels, so that a small matrix fills the cell and each of its pixels stays what it is."""
    factor = max(1, _PANEL_PIXELS // max(panel.shape[:2]))
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)


def _show_grey(stack: SliceStack) -> RgbStack:
    grey = np.rint(stack * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
