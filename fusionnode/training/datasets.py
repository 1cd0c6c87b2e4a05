"""Picture pairs to train on (edge): folders of PNG files in, batches of crops out.

A folder is laid out as SET/MRI/NAME.png beside SET/PET/NAME.png or SET/SPECT/NAME.png; a name is a case and three
digits of a slice. The functional picture is in pseudo-colour. A network must not depend on one palette, so it is
shown the picture's luminance at times, at other times the uptake recovered from the colours, and the luminance of
other palettes. A batch depends on the seed and the step alone, so a resumed run draws what it would have drawn.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fusionnode.errors import PicturesUnusable
from fusionnode.fusion.colour import luminance
from fusionnode.fusion.networks.mask_attention import otsu_mask
from fusionnode.fusion.readback import locate_uptake, trace_palette
from fusionnode.pipeline.palettes import palette_table
from fusionnode.pipeline.schema import Palette

VALIDATION_CASES: Mapping[str, frozenset[str]] = {
    "PET-MRI": frozenset({"41"}),
    "SPECT-MRI": frozenset({"4", "15", "21", "28", "29"}),
}
"""Never trained on, but looked at while losses and weights are chosen. The one PET subject comes in three planes, and
41 is the axial one; SPECT has fifteen cases."""

TEST_CASES: Mapping[str, frozenset[str]] = {"SPECT-MRI": frozenset({"11", "22", "35"})}
"""Neither trained on nor looked at before the weights are final. PET has no second subject to put here."""

_SLICE_DIGITS = 3
_FOREGROUND = 8
_BLANK_SHARE = 0.04
_ZOOM = (0.7, 1.3)
_FOCI = 3
"""At most, of a pair; half the pairs have some."""
_PALETTES = (Palette.HOT_IRON, Palette.PET, Palette.HOT_METAL_BLUE)
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, eq=False)
class Pair:
    """One slice of both images; ``picture`` is the functional one's luminance, ``uptake`` what its colours stand for.

    All float32 [row, column] in [0, 1].
    """

    group: str
    case: str
    name: str
    fixed: NDArray[np.float32]
    picture: NDArray[np.float32]
    uptake: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Batch:
    """Four tensors (batch, 1, rows, columns); the masks were made before cropping."""

    fixed: Tensor
    moving: Tensor
    mask_fixed: Tensor
    mask_moving: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device."""
        return Batch(*(image.to(device) for image in (self.fixed, self.moving, self.mask_fixed, self.mask_moving)))


def load_pairs(folder: Path) -> list[Pair]:
    """Read every pair of a folder, in order of set and name.

    Raises:
        PicturesUnusable: there is none, or a picture lacks its other half or is of another size.
    """
    pairs = [pair for group in sorted(folder.glob("*/MRI")) for pair in _load_group(group.parent)]
    if not pairs:
        raise PicturesUnusable(
            f"{folder} holds no picture pairs.", remedy="Name a folder with SET/MRI and SET/PET or SET/SPECT in it."
        )
    return pairs


@dataclass(frozen=True, eq=False)
class Split:
    """Pairs divided by case: no case is on two sides."""

    training: list[Pair]
    validation: list[Pair]
    test: list[Pair]


def split_pairs(
    pairs: Iterable[Pair],
    validation: Mapping[str, frozenset[str]] = VALIDATION_CASES,
    test: Mapping[str, frozenset[str]] = TEST_CASES,
) -> Split:
    """Divide pairs by case; one that is named for both is for the test."""
    split = Split([], [], [])
    for pair in pairs:
        if pair.case in test.get(pair.group, ()):
            split.test.append(pair)
        elif pair.case in validation.get(pair.group, ()):
            split.validation.append(pair)
        else:
            split.training.append(pair)
    return split


def draw_batch(pairs: Sequence[Pair], moment: tuple[int, int], count: int, side: int) -> Batch:
    """Draw crops, every set and every case in it equally often.

    Args:
        pairs: to draw from.
        moment: seed and step, on which everything drawn depends.
        count: images.
        side: rows and columns of a crop, at most the pictures' own.
    """
    rng = np.random.default_rng(moment)
    cases = _cases_by_group(pairs)
    groups = sorted(cases)
    chosen = []
    for index in range(count):
        of_group = cases[groups[(index + moment[1]) % len(groups)]]
        of_case = of_group[sorted(of_group)[rng.integers(len(of_group))]]
        chosen.append(_draw_crop(of_case[rng.integers(len(of_case))], rng, side))
    return Batch(*(torch.from_numpy(np.stack(images)[:, None]) for images in zip(*chosen, strict=True)))


def whole_pair(pair: Pair) -> Batch:
    """One uncropped pair with the picture's luminance, as the published figures are made."""
    fixed, moving = (torch.from_numpy(image)[None, None] for image in (pair.fixed, pair.picture))
    return Batch(fixed, moving, otsu_mask(fixed), otsu_mask(moving))


def _load_group(folder: Path) -> list[Pair]:
    functional = next((folder / kind for kind in ("PET", "SPECT") if (folder / kind).is_dir()), None)
    if functional is None:
        raise PicturesUnusable(f"{folder} has MRI and neither PET nor SPECT.", remedy="Add the functional pictures.")
    paths = sorted((folder / "MRI").glob("*.png"))
    fixed = [_read(path, "L") for path in paths]
    moving = [_read(functional / path.name, "RGB") for path in paths]
    for path, one, other in zip(paths, fixed, moving, strict=True):
        if one.shape != other.shape[:2]:
            raise PicturesUnusable(f"{path} and its other half differ in size.", remedy="Replace the pair.")
    palette = trace_palette(np.concatenate([picture.reshape(1, -1, 3) for picture in moving], axis=1))
    if palette is None:
        raise PicturesUnusable(
            f"The colours under {functional} do not tell their palette.",
            remedy="Give the functional pictures of a set one palette of at most 256 colours, without gaps.",
        )
    return [
        Pair(
            group=folder.name,
            case=path.stem[:-_SLICE_DIGITS],
            name=path.stem,
            fixed=(one / 255).astype(np.float32),
            picture=luminance(other),
            uptake=locate_uptake(other, palette),
        )
        for path, one, other in zip(paths, fixed, moving, strict=True)
    ]


def _read(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except OSError as cause:
        raise PicturesUnusable(f"{path} is missing or no picture.", remedy="Complete the data folder.") from cause


def _cases_by_group(pairs: Sequence[Pair]) -> dict[str, dict[str, list[Pair]]]:
    cases: dict[str, dict[str, list[Pair]]] = {}
    for pair in pairs:
        cases.setdefault(pair.group, {}).setdefault(pair.case, []).append(pair)
    return cases


def _draw_crop(pair: Pair, rng: np.random.Generator, side: int) -> list[NDArray[np.float32]]:
    fixed = _vary_grey(pair.fixed, rng)
    moving = _add_foci(_draw_functional(pair, rng), _draw_centres(pair, rng), rng)
    # The masks belong to the whole picture, where a crop would move the threshold.
    masks = [otsu_mask(torch.from_numpy(image)[None, None])[0, 0].numpy() for image in (fixed, moving)]
    # Other pixel sizes, half of the time: a wider or narrower crop brought to the same size.
    seen = min(round(side * rng.uniform(*_ZOOM)), *pair.fixed.shape) if rng.random() < 0.5 else side
    top, left = _choose_corner(pair, rng, seen)
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    crops = np.stack([image[top : top + seen, left : left + seen] for image in (fixed, moving, *masks)])
    if seen != side:
        crops = _resize(crops, side)
    crops = np.rot90(crops[..., ::-1] if mirrored else crops, turns, axes=(1, 2))
    return [np.ascontiguousarray(crop) for crop in crops]


def _resize(crops: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Fixed, moving and both masks to another size; the masks stay 0 or 1."""
    resized = functional.interpolate(
        torch.from_numpy(crops)[None], size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )[0].clamp(0, 1)
    resized[2:] = (resized[2:] > 0.5).to(resized.dtype)
    images: NDArray[np.float32] = resized.numpy()
    return images


def _vary_grey(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Half the time another brightness curve and window, as other scanners and sites have."""
    if rng.random() < 0.5:
        return image
    curved: NDArray[np.float32] = image ** np.float32(rng.uniform(0.7, 1.4)) * np.float32(rng.uniform(0.75, 1.0))
    return curved


def _draw_functional(pair: Pair, rng: np.random.Generator) -> NDArray[np.float32]:
    """The picture's luminance (half), plain uptake under several curves, or another palette's luminance of it."""
    choice = rng.random()
    if choice < _BLANK_SHARE:
        return np.zeros_like(pair.picture)
    if choice < 0.5:
        return pair.picture
    uptake = pair.uptake ** np.float32(rng.uniform(0.6, 1.8)) * np.float32(rng.uniform(0.7, 1.0))
    if choice < 0.8:
        return uptake
    table = palette_table(_PALETTES[rng.integers(len(_PALETTES))]) @ _LUMA
    shown: NDArray[np.float32] = table[np.rint(uptake * 255).astype(int)].astype(np.float32)
    return shown


def _draw_centres(pair: Pair, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where foci shall be: [focus, row or column], none half the time, and all in the foreground."""
    foreground = _find_foreground(pair)
    count = int(rng.integers(1, _FOCI + 1)) if rng.random() < 0.5 and len(foreground) else 0
    return foreground[rng.integers(max(len(foreground), 1), size=count)]


def _add_foci(image: NDArray[np.float32], centres: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Simulate lesions, which the pictures hardly have: hot or cold spots that no anatomy explains.

    An image without any uptake stays so.
    """
    if not image.any():
        return image
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    for row, column in centres:
        radius, edge = rng.uniform(2.5, 10), rng.uniform(0.7, 2.5)
        level = rng.uniform(0.85, 1.0) if rng.random() < 0.7 else rng.uniform(0.0, 0.2)
        share = 1 / (1 + np.exp((np.hypot(rows - row, columns - column) - radius) / edge))
        # Cut off, so that what is black around the head stays black.
        image = np.where(share > 0.02, image + share * (level - image), image).astype(np.float32)
    return image


def _choose_corner(pair: Pair, rng: np.random.Generator, side: int) -> tuple[int, int]:
    """Centre the crop on a random pixel that is not background, as far as the border allows."""
    foreground = _find_foreground(pair)
    centre = foreground[rng.integers(len(foreground))] if len(foreground) else np.array(pair.fixed.shape) // 2
    top, left = np.clip(centre - side // 2, 0, np.maximum(np.array(pair.fixed.shape) - side, 0))
    return int(top), int(left)


def _find_foreground(pair: Pair) -> NDArray[np.int64]:
    return np.argwhere((pair.fixed + pair.picture) * 255 > _FOREGROUND)
