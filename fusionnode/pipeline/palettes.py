"""The colours of the Standard's well-known palettes (PS3.6 annex B), as pydicom brings them."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from fusionnode.pipeline.schema import Palette

WELL_KNOWN_UIDS = {
    Palette.HOT_IRON: "1.2.840.10008.1.5.1",
    Palette.PET: "1.2.840.10008.1.5.2",
    Palette.HOT_METAL_BLUE: "1.2.840.10008.1.5.3",
    Palette.PET_20_STEP: "1.2.840.10008.1.5.4",
}
"""Plain grey is none of them."""


@cache
def palette_table(palette: Palette) -> NDArray[np.float64]:
    """The 256 colours of a palette, float64 [256, 3] in [0, 1], read-only."""
    ramp = np.arange(256, dtype=np.uint8)
    uid = WELL_KNOWN_UIDS.get(palette)
    colours = np.stack([ramp] * 3, axis=1) if uid is None else apply_color_lut(ramp, palette=uid)
    table: NDArray[np.float64] = colours / 255.0
    table.setflags(write=False)
    return table
