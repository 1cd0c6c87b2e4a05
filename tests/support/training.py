"""Small folders of picture pairs: a bright textured disc in both, the functional half through hot iron."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats

from fusionnode.pipeline.palettes import palette_table
from fusionnode.pipeline.schema import Palette

CASES = {"PET-MRI": ("2", "41"), "SPECT-MRI": ("3", "15")}
"""Of each set one case to train on and one that is held out."""

HOT_IRON = np.rint(palette_table(Palette.HOT_IRON) * 255).astype(np.uint8)
_ROWS, _COLUMNS = 64, 72


def write_picture_sets(folder: Path) -> Path:
    """Write two slices of every case of `CASES` and a picture of another size; returns the folder."""
    for group, cases in CASES.items():
        kind = group.split("-")[0]
        for half in ("MRI", kind):
            (folder / group / half).mkdir(parents=True)
        for case in cases:
            for index in (7, 8):
                fixed, uptake = draw_pair(int(case) * 100 + index)
                name = f"{case}{index:03d}.png"
                Image.fromarray(fixed).save(folder / group / "MRI" / name)
                Image.fromarray(HOT_IRON[uptake]).save(folder / group / kind / name)
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "small.png")
    return folder


def draw_pair(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Anatomy and uptake, uint8 [row, column]: fine and coarse texture in the same disc, black around it."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:_ROWS, :_COLUMNS]
    disc = np.hypot(rows - _ROWS / 2, columns - _COLUMNS / 2) < 27
    halves = []
    for sigma in (1.0, 4.0):
        texture = ndimage.gaussian_filter(rng.random((_ROWS, _COLUMNS)), sigma)
        # Every brightness equally often, so that no gap hides the order of the palette.
        texture = stats.rankdata(texture).reshape(texture.shape) / texture.size
        halves.append(np.where(disc, 30 + 225 * texture, 0).astype(np.uint8))
    return halves[0], halves[1]
