"""Pairs of pictures like those of an atlas: a grey slice with folds, and smooth uptake through a rainbow palette."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CORNERS = np.array([[0, 0, 0], [0, 0, 255], [0, 200, 80], [255, 255, 0], [255, 0, 0]])
RAINBOW = np.stack(
    [np.interp(np.linspace(0, 4, 120), range(5), _CORNERS[:, channel]) for channel in range(3)], axis=1
).astype(np.uint8)
"""120 colours: black, blue, green, yellow, red. Its luminance is not monotone, and it turns sharply at its corners."""


def make_grey(rows: int = 64, columns: int = 64, seed: int = 0) -> NDArray[np.uint8]:
    """A bright disc with folds and a little noise, black around it."""
    radius, down, across = _polar(rows, columns)
    folds = 130 + 60 * np.sin(down * 12 + np.cos(across * 5)) + np.random.default_rng(seed).normal(0, 4, radius.shape)
    return np.where(radius < 0.9, np.clip(folds, 1, 250), 0).astype(np.uint8)


def make_uptake(rows: int = 64, columns: int = 64, shift: float = 0.0) -> NDArray[np.float64]:
    """Smooth uptake in [0, 1], 1 at its hottest; ``shift`` moves the hot spot."""
    radius, down, across = _polar(rows, columns)
    spots = np.exp(-((down - 0.3) ** 2 + (across - shift) ** 2) * 8) + 0.5 * np.exp(
        -((down + 0.4) ** 2 + across**2) * 6
    )
    uptake = np.where(radius < 0.85, spots, 0)
    return uptake / uptake.max()


def colour(uptake: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Uptake in [0, 1] through `RAINBOW`, uint8 [..., 3]."""
    return RAINBOW[np.rint(uptake * (len(RAINBOW) - 1)).astype(int)]


def write_pair(folder: Path, name: str, modality: str = "PET", shift: float = 0.0) -> None:
    """Write folder/MRI/name.png and folder/MODALITY/name.png."""
    for kind, picture in (("MRI", make_grey(seed=len(name))), (modality, colour(make_uptake(shift=shift)))):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / kind / f"{name}.png")


def _polar(rows: int, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    down, across = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    return np.hypot(down, across), down, across
