"""Folders of PNG pairs (edge): SET/MRI/NAME.png beside SET/PET/NAME.png or SET/SPECT/NAME.png.

A name is its case followed by three digits of the slice, as in 25016; other names are each a case of one picture.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fusionnode.domain.images import RgbStack
from fusionnode.errors import PicturesUnusable
from fusionnode.evaluation.metrics import SMALLEST, Picture
from fusionnode.fusion.colour import luminance

_FUNCTIONAL = ("PET", "SPECT")
_NAME = re.compile(r"(.+)(\d{3})")
_MODES = ("L", "P", "RGB", "RGBA")


@dataclass(frozen=True)
class PairName:
    """One pair, before it is read. ``slice_number`` is None where the name has none."""

    collection: str
    modality: str
    case: str
    slice_number: int | None
    name: str
    fixed: Path
    moving: Path


@dataclass(frozen=True, eq=False)
class PicturePair:
    """One pair.

    Attributes:
        fixed: luminance of the MRI, uint8 [row, column].
        coloured: the functional picture in its pseudo-colours, uint8 [row, column, 3].
        moving: the luminance of ``coloured``, uint8 [row, column].
    """

    name: PairName
    fixed: Picture
    coloured: RgbStack
    moving: Picture


def list_pairs(folder: Path, cases: Collection[str] = ()) -> list[PairName]:
    """Name the pairs under ``folder``, set by set, case by case, slice by slice.

    Args:
        folder: holds the sets.
        cases: only these, each as CASE or as SET/CASE; all when empty.

    Raises:
        PicturesUnusable: there is no set, a picture has no partner, or a case is not there.
    """
    collections = sorted(path for path in folder.iterdir() if (path / "MRI").is_dir()) if folder.is_dir() else []
    pairs = [pair for collection in collections for pair in _list_collection(collection)]
    if not pairs:
        raise PicturesUnusable(
            f"{folder} holds no pairs of pictures.",
            remedy="Name a folder that holds SET/MRI/NAME.png and SET/PET/NAME.png or SET/SPECT/NAME.png.",
        )
    known = {pair.case for pair in pairs} | {f"{pair.collection}/{pair.case}" for pair in pairs}
    if missing := [case for case in cases if case not in known]:
        cases_here = ", ".join(sorted(case for case in known if "/" in case))
        raise PicturesUnusable(f"{folder} has no case {', '.join(missing)}.", remedy=f"It has {cases_here}.")
    return [pair for pair in pairs if not cases or {pair.case, f"{pair.collection}/{pair.case}"} & set(cases)]


def read_pair(name: PairName) -> PicturePair:
    """Read both pictures of a pair.

    Raises:
        PicturesUnusable: a picture cannot be read, is all one grey, is too small, or its partner has another size.
    """
    fixed, coloured = measure_luminance(_read_rgb(name.fixed)), _read_rgb(name.moving)
    if fixed.shape != coloured.shape[:2]:
        raise PicturesUnusable(
            f"{name.fixed} is {_tell_size(fixed)} and {name.moving} is {_tell_size(coloured)}.",
            remedy="Bring both to one size.",
        )
    moving = measure_luminance(coloured)
    for path, picture in ((name.fixed, fixed), (name.moving, moving)):
        if min(picture.shape) < SMALLEST:
            raise PicturesUnusable(
                f"{path} is {_tell_size(picture)}.", remedy=f"The metrics need {SMALLEST} rows and columns."
            )
        if picture.min() == picture.max():
            raise PicturesUnusable(f"{path} is all one grey.", remedy="Take the pair out; it shows nothing to fuse.")
    return PicturePair(name, fixed, coloured, moving)


def measure_luminance(rgb: RgbStack) -> Picture:
    """The luminance of uint8 [row, column, 3] in whole grey levels, uint8 [row, column]."""
    levels: Picture = np.rint(luminance(rgb) * 255).astype(np.uint8)
    return levels


def _list_collection(folder: Path) -> list[PairName]:
    modalities = [name for name in _FUNCTIONAL if (folder / name).is_dir()]
    if len(modalities) != 1:
        raise PicturesUnusable(
            f"{folder} has MRI but {' and '.join(modalities) or 'neither PET nor SPECT'} beside it.",
            remedy="A set holds MRI and one of the two.",
        )
    fixed = {path.stem: path for path in (folder / "MRI").glob("*.png")}
    moving = {path.stem: path for path in (folder / modalities[0]).glob("*.png")}
    if alone := sorted(fixed.keys() ^ moving.keys()):
        raise PicturesUnusable(
            f"{folder} has {len(alone)} pictures without a partner, the first is {alone[0]}.",
            remedy=f"Each needs a file of the same name in both MRI and {modalities[0]}.",
        )
    pairs = [_name_pair(folder.name, modalities[0], path, moving[stem]) for stem, path in fixed.items()]
    return sorted(pairs, key=_place)


def _name_pair(collection: str, modality: str, fixed: Path, moving: Path) -> PairName:
    parts = _NAME.fullmatch(fixed.stem)
    case, number = (parts[1], int(parts[2])) if parts else (fixed.stem, None)
    return PairName(collection, modality, case, number, fixed.stem, fixed, moving)


def _place(pair: PairName) -> tuple[int, str, int, str]:
    return len(pair.case), pair.case, pair.slice_number or 0, pair.name


def _read_rgb(path: Path) -> RgbStack:
    try:
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise PicturesUnusable(f"{path} has pixels of kind {image.mode}.", remedy="Save it with 8 bits.")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as cause:
        # A PNG with a broken chunk is a SyntaxError to Pillow.
        raise PicturesUnusable(f"{path} cannot be read: {cause}", remedy="Replace the file or take it out.") from cause


def _tell_size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[0]} by {picture.shape[1]}"
