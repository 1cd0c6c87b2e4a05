"""Reading uptake back from a displayed picture (middle): what a reader with a perfect eye could tell. numpy only.

`fusionnode.fusion.colour` shows uptake as hue at a luminance that belongs to the fused image. How much of the uptake
is still there is measured by turning that around: at the luminance of a pixel, which uptake would look like this?
"""

import numpy as np
from numpy.typing import NDArray

from fusionnode.domain.images import RgbStack
from fusionnode.fusion.colour import chroma_of, luminance, pale

_MOST_COLOURS = 256
_WIDEST_STEP = 80
"""Between neighbouring colours of a palette, of 441 from black to white. With wider gaps the order is a guess."""

_TIE = 1e-6
"""Squared distance below which colours are the same; half a grey level is four times that."""


def read_uptake(rgb: RgbStack, chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """The uptake that each displayed pixel looks like most; the lowest one where several look the same.

    Args:
        rgb: displayed picture or pictures, uint8 [..., 3].
        chroma: of each palette entry, lowest uptake first, float32 [entry, 3]: `fusionnode.fusion.colour.chroma_table`,
            or `chroma_of` a traced palette.

    Returns:
        float32 [...] in [0, 1].
    """
    codes, places = np.unique(_pack(rgb), return_inverse=True)
    colours = np.stack((codes >> 16, codes >> 8 & 255, codes & 255), axis=-1).astype(np.uint8)
    entries = _find_nearest_entries(colours, chroma)
    return _to_uptake(entries[places.reshape(rgb.shape[:-1])], len(chroma))


def trace_palette(coloured: RgbStack) -> NDArray[np.uint8] | None:
    """The palette behind pseudo-colour pictures, from their own colours.

    A palette is a curve through colour space, so its colours in order make the shortest path starting at the darkest.

    Args:
        coloured: uint8 [slice, row, column, 3], all through one palette.

    Returns:
        uint8 [entry, 3], lowest uptake first; or None where there is no telling: a single colour, more of them than a
        palette has, or gaps between them so wide that their order would be a guess.
    """
    codes = np.unique(_pack(coloured))
    if not 1 < codes.size <= _MOST_COLOURS:
        return None
    colours = np.stack((codes >> 16, codes >> 8 & 255, codes & 255), axis=-1).astype(np.uint8)
    distances = np.linalg.norm(colours[:, None] - colours[None].astype(np.float64), axis=-1)
    path = _shorten(_chain(distances, int(np.argmin(luminance(colours)))), distances)
    if distances[path[:-1], path[1:]].max() > _WIDEST_STEP:
        return None
    ordered: NDArray[np.uint8] = colours[path]
    return ordered


def locate_uptake(coloured: RgbStack, palette: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The uptake behind each pixel of pseudo-colour pictures, as its place in their palette.

    Args:
        coloured: uint8 [..., 3].
        palette: of `trace_palette`, from pictures that have every colour of these.

    Returns:
        float32 [...] in [0, 1].

    Raises:
        ValueError: a colour is not in the palette.
    """
    wanted, known = _pack(coloured), _pack(palette)
    order = np.argsort(known)
    entries = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
    if (known[entries] != wanted).any():
        raise ValueError("a picture holds a colour that is not in the palette")
    return _to_uptake(entries, len(palette))


def _pack(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    wide = colours.astype(np.int64)
    packed: NDArray[np.int64] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _find_nearest_entries(colours: NDArray[np.uint8], chroma: NDArray[np.float32]) -> NDArray[np.int64]:
    levels = np.rint(luminance(colours) * 255).astype(np.int64)
    seen = chroma_of(colours / 255)
    entries = np.zeros(len(colours), np.int64)
    for level in np.unique(levels):
        here = levels == level
        shown = pale(np.full(len(chroma), level / 255, np.float32), chroma)
        # Squared distances, less what is the same for all entries.
        distances = (shown * shown).sum(axis=1) - 2 * seen[here] @ shown.T
        # The first of those that tie, and float rounding must not break a tie.
        entries[here] = (distances <= distances.min(axis=1, keepdims=True) + _TIE).argmax(axis=1)
    return entries


def _to_uptake(entries: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    uptake: NDArray[np.float32] = (entries / max(1, count - 1)).astype(np.float32)
    return uptake


def _chain(distances: NDArray[np.float64], start: int) -> NDArray[np.int64]:
    """From the start always on to the nearest colour not yet visited."""
    path, ahead = [start], np.ones(len(distances), np.bool_)
    while ahead[path[-1]] and len(path) < len(distances):
        ahead[path[-1]] = False
        path.append(int(np.where(ahead, distances[path[-1]], np.inf).argmin()))
    return np.array(path)


def _shorten(path: NDArray[np.int64], distances: NDArray[np.float64]) -> NDArray[np.int64]:
    """Move single colours to where they lengthen the path least, as the chain passes by one that lies in a corner."""
    while True:
        place, target, saved = _find_best_move(path, distances)
        if saved < 1e-6:
            return path
        moved, rest = path[place], np.delete(path, place)
        path = np.insert(rest, target + 1 if target < place else target, moved)


def _find_best_move(path: NDArray[np.int64], distances: NDArray[np.float64]) -> tuple[int, int, float]:
    """The place to empty, the place to insert after, and what it saves; the first place always stays."""
    along = distances[np.ix_(path, path)]
    steps = np.append(np.diagonal(along, 1), 0)
    bridged = np.append(np.diagonal(along, 2), 0)
    removal = steps[:-1] + steps[1:] - bridged
    # insertion[i, j]: the path's i-th colour between the j-th and the next, or after the last.
    insertion = along + np.pad(along[:, 1:], ((0, 0), (0, 1))) - steps
    saved = removal[:, None] - insertion[1:]
    for offset in (0, 1):
        saved[np.arange(len(saved)), np.arange(len(saved)) + offset] = -np.inf
    place, target = np.unravel_index(saved.argmax(), saved.shape)
    return int(place) + 1, int(target), float(saved[place, target])
