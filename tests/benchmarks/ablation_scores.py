"""Held-out pictures, what a fuser scores on them, and what of that differs from another fuser's.

Scored is the 8-bit fused luminance, not the coloured picture, so that colour plays no part in an ablation.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fusionnode.evaluation.guards import measure_guards
from fusionnode.evaluation.metrics import CLASSIC, _find_edges, _rate_edges, measure_metrics
from fusionnode.fusion.networks.mask_attention import otsu_mask
from fusionnode.training.datasets import Pair

Fuser: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Row: TypeAlias = dict[str, float]
Rows: TypeAlias = dict[str, Row]
"""Picture → figure → value."""

FIGURES = (*CLASSIC, "CCf")
_BAND_PIXELS = 3
_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Picture:
    """Tensors (1, 1, rows, columns) in [0, 1], both on 256 grey levels."""

    name: str
    group: str
    fixed: Tensor
    moving: Tensor


def make_pictures(pairs: Sequence[Pair]) -> list[Picture]:
    """Held-out pairs as they are fused and scored; the functional one is its luminance in 8 bits."""
    return [
        Picture(f"{pair.group}/{pair.name}", pair.group, _to_tensor(pair.fixed), _to_tensor(pair.picture))
        for pair in pairs
    ]


def score(fuse: Fuser, pictures: Sequence[Picture]) -> Rows:
    """Ten metrics, CCf, and what claims ask beside: edges along the masks, brightness and contrast inside them."""
    rows: Rows = {}
    for picture in pictures:
        with torch.no_grad():
            fused = fuse(picture.fixed, picture.moving)
        images = tuple(to_grey(image) for image in (picture.fixed, picture.moving, fused))
        guards = measure_guards(*images)
        figures = measure_metrics(*images) | {name: guards[name] for name in ("CCf", "gain")}
        rows[picture.name] = figures | _measure_masked(picture, images)
    return rows


def average(rows: Rows, group: str | None = None) -> Row:
    """Means over the pictures, of one set or of all."""
    chosen = [row for name, row in rows.items() if group is None or name.startswith(group)]
    return {figure: statistics.fmean(row[figure] for row in chosen) for figure in chosen[0]}


def compare_pictures(one: Rows, other: Rows, figure: str) -> tuple[float, float, float]:
    """Mean paired difference one − other, and the ends of its 95 % bootstrap interval over pictures."""
    differences = np.array([one[name][figure] - other[name][figure] for name in one])
    drawn = np.random.default_rng(0).integers(len(differences), size=(_RESAMPLES, len(differences)))
    low, high = np.quantile(differences[drawn].mean(axis=1), (0.025, 0.975))
    return float(differences.mean()), float(low), float(high)


def count_falls(full: Rows, without: Rows) -> dict[str, int]:
    """Of the ten metrics: how many fall when something is taken away, and how many rise, for certain and by mean."""
    found = [compare_pictures(full, without, figure) for figure in CLASSIC]
    return {
        "fall": sum(mean > 0 for mean, _, _ in found),
        "fall for certain": sum(low > 0 for _, low, _ in found),
        "rise for certain": sum(high < 0 for _, _, high in found),
    }


def join_seeds(runs: Sequence[Rows]) -> Rows:
    """Several seeds' rows as one, each picture the mean of its seeds."""
    return {name: average({str(i): run[name] for i, run in enumerate(runs)}) for name in runs[0]}


def peak_ratio(image: Tensor, source: Tensor) -> float:
    """PSNR in dB of images in [0, 1]; 99 where they are equal."""
    error = functional.mse_loss(image.clamp(0, 1), source).item()
    return 99.0 if error == 0 else -10 * math.log10(error)


def render_table(
    table: Mapping[str, Rows], figures: Sequence[str] = FIGURES, groups: Sequence[str | None] = (None,)
) -> str:
    """A markdown table of means for each set asked for; None is all pictures together."""
    lines = []
    for group in groups:
        lines += [f"\n| {group or 'all pictures'} | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"]
        for name, rows in table.items():
            means = average(rows, group)
            lines.append(f"| {name} | {' | '.join(tell(means[figure]) for figure in figures)} |")
    return "\n".join(lines)


def tell(value: float) -> str:
    """Two digits behind the point from 10 on, else three."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def to_grey(image: Tensor) -> NDArray[np.uint8]:
    """(1, 1, rows, columns) in [0, 1] → uint8 [row, column]."""
    grey: NDArray[np.uint8] = (image[0, 0].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return grey


def _to_tensor(image: NDArray[np.float32]) -> Tensor:
    return ((torch.from_numpy(image)[None, None] * 255).round() / 255).float()


def _measure_masked(picture: Picture, images: tuple[NDArray[np.uint8], ...]) -> Row:
    """Qabf in a band along the edges of both masks, mean and deviation of the result inside the MRI's mask."""
    fixed, moving, fused = images
    masks = [otsu_mask(image) for image in (picture.fixed, picture.moving)]
    band = (_find_border(masks[0]) | _find_border(masks[1]))[0, 0].numpy()
    result = _find_edges(fused)
    kept = weights = 0.0
    for source in (fixed, moving):
        edges = _find_edges(source)
        kept += float((_rate_edges(edges, result) * edges[0])[band].sum())
        weights += float(edges[0][band].sum())
    inside = fused[masks[0][0, 0].numpy() > 0]
    return {
        "band Qabf": kept / weights if weights else 0.0,
        "inside mean": float(inside.mean()) if inside.size else 0.0,
        "inside SD": float(inside.std()) if inside.size else 0.0,
        "brightness off": float(fused.mean()) - (float(fixed.mean()) + float(moving.mean())) / 2,
    }


def _find_border(mask: Tensor) -> Tensor:
    size = 2 * _BAND_PIXELS + 1
    grown = functional.max_pool2d(mask, size, 1, _BAND_PIXELS)
    shrunk = 1 - functional.max_pool2d(1 - mask, size, 1, _BAND_PIXELS)
    return (grown - shrunk) > 0
