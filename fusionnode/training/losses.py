"""What the networks are trained to make small (middle).

``paper`` is the loss of Di et al. 2025; ``balanced`` trades off the measures themselves, so that no one of them is
bought with the others. Luminances are (batch, 1, rows, columns) in [0, 1]; the fused one may leave that range here,
and is charged for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from fusionnode.training.datasets import Batch
from fusionnode.training.measures import (
    average_gradient,
    correlate,
    correlate_differences,
    measure_edges,
    measure_information,
    measure_structure,
    smooth_luminance,
    sobel_edges,
)


@dataclass(frozen=True)
class PaperWeights:
    """Gradient : intensity : decoupling = 10 : 1 : 1 as printed; the intensity's shares are SDNet's."""

    gradient: float = 10.0
    decoupling: float = 1.0
    fixed: float = 0.5
    moving: float = 1.0


@dataclass(frozen=True)
class BalancedWeights:
    """Weights of what is wanted, then of what is charged.

    Where to look was found by optimising pixels instead of a network; how much of each, by short runs.
    """

    edges: float = 2.4
    information: float = 0.35
    structure: float = 1.0
    differences: float = 0.1
    correlation: float = 2.5
    uptake: float = 0.8
    gain: float = 2.0
    clipping: float = 20.0
    overshoot: float = 40.0
    alone: float = 40.0
    dulling: float = 6.0
    decoupling: float = 0.5


GAIN = (0.93, 1.0)
"""Average gradient of the result over the sharper source's, free of charge."""

ENOUGH_INFORMATION, ENOUGH_DIFFERENCES = 0.9, 1.6
"""A sum of both sources has the best correlation of differences and no colour left; beyond these nothing is gained."""

SHORT_OF_MEAN = {"correlation": 0.02, "uptake": 0.10}
"""The mean of both sources correlates best with them and shows the least. This much below it nothing is gained either,
so that a pair whose sources agree leaves room for its edges."""

_ENOUGH_BRIGHTNESS = 0.93
"""Of a hot place's own; the rest is left to the detail that lies over it."""

_LEAST_SHARE = 20.0
"""Pixels; keeps a pair with next to no such place from being all about it."""

Decoupled: TypeAlias = tuple[Tensor, Tensor] | None
"""Both sources as a decoupling network found them; None of a network that has none."""

Loss: TypeAlias = Callable[[Tensor, Decoupled, Batch], Tensor]
"""The fused luminance before limiting, both decoupled sources, and what they were made from → a scalar."""


def paper_loss(fused: Tensor, decoupled: Decoupled, batch: Batch, weights: PaperWeights | None = None) -> Tensor:
    """Di et al. 2025, eqs (8) to (13): fusion and decoupling loss, fusion being gradient and intensity loss."""
    weights = weights or PaperWeights()
    gradient = adaptive_gradient_loss(fused, batch.fixed, batch.moving)
    intensity = weights.fixed * functional.mse_loss(fused, batch.fixed)
    intensity = intensity + weights.moving * functional.mse_loss(fused, batch.moving)
    return weights.gradient * gradient + intensity + weights.decoupling * decoupling_loss(decoupled, batch)


def adaptive_gradient_loss(fused: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    """Squared distance to the gradient of whichever smoothed source has the stronger one, the functional if equal."""
    target = torch.where(_smooth_strength(fixed) > _smooth_strength(moving), sobel_edges(fixed), sobel_edges(moving))
    return (sobel_edges(fused) - target).square().sum(1).mean()


def decoupling_loss(decoupled: Decoupled, batch: Batch) -> Tensor:
    """Squared distance of what the decoupling network found to the sources; 0 where there is none."""
    if decoupled is None:
        return batch.fixed.new_zeros(())
    return functional.mse_loss(decoupled[0], batch.fixed) + functional.mse_loss(decoupled[1], batch.moving)


def balanced_loss(fused: Tensor, decoupled: Decoupled, batch: Batch, weights: BalancedWeights | None = None) -> Tensor:
    """The weighted measures, negative, with charges for a gain or a brightness beyond the sources'.

    A pair whose functional image is black has nothing to balance; its result should be the anatomy as it is.
    """
    weights = weights or BalancedWeights()
    terms = measure_balance(fused, batch)
    enough = _correlations((batch.fixed + batch.moving) / 2, batch)
    enough = {name: value - SHORT_OF_MEAN[name] for name, value in enough.items()}
    gain = terms["gain"]
    charge = (gain - GAIN[1]).clamp_min(0) + (GAIN[0] - gain).clamp_min(0)
    clipped = (fused - 1).clamp_min(0).mean((1, 2, 3))
    overshoot = (fused - torch.maximum(batch.fixed, batch.moving)).clamp_min(0).square().mean((1, 2, 3))
    merit = (
        weights.edges * terms["edges"]
        + weights.information * terms["information"].clamp_max(ENOUGH_INFORMATION)
        + weights.structure * terms["structure"]
        + weights.differences * terms["differences"].clamp_max(ENOUGH_DIFFERENCES)
        + weights.correlation * torch.minimum(terms["correlation"], enough["correlation"])
        + weights.uptake * torch.minimum(terms["uptake"], enough["uptake"])
    )
    charges = weights.gain * charge + weights.clipping * clipped + weights.overshoot * overshoot
    charges = charges + weights.dulling * _measure_dulling(fused, batch)
    alone = weights.alone * (fused - batch.fixed).abs().mean((1, 2, 3))
    loss = torch.where(batch.moving.amax((1, 2, 3)) > 0, charges - merit, alone)
    return loss.mean() + weights.decoupling * decoupling_loss(decoupled, batch)


def measure_balance(fused: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The measures of the balanced goal, one value per image, by name."""
    fixed, moving = batch.fixed, batch.moving
    sharper = torch.maximum(average_gradient(fixed), average_gradient(moving))
    return {
        "edges": measure_edges(fused, fixed, moving),
        "information": measure_information(fused, fixed, moving),
        "structure": measure_structure(fused, fixed, moving),
        "differences": correlate_differences(fused, fixed, moving),
        **_correlations(fused, batch),
        "gain": average_gradient(fused) / sharper.clamp_min(1e-3),
    }


def stronger_loss(fused: Tensor, decoupled: Decoupled, batch: Batch) -> Tensor:
    """Second stage of Kong et al. 2025: distance to the brighter source, to the stronger edge, and 1 − SSIM to both.

    The paper's loss could not be read; the first two terms and their weights 1 : 10 are those of CDDFuse.
    """
    fixed, moving = batch.fixed, batch.moving
    brightness = functional.l1_loss(fused, torch.maximum(fixed, moving))
    strongest = torch.maximum(sobel_edges(fixed).abs(), sobel_edges(moving).abs())
    edges = functional.l1_loss(sobel_edges(fused).abs(), strongest)
    return brightness + 10 * edges + 2 * (1 - measure_structure(fused, fixed, moving).mean())


def content_loss(fused: Tensor, decoupled: Decoupled, batch: Batch) -> Tensor:
    """Gu et al. 2024: 0.5 content, 0.5 log(1 + structure) and SSIM, all of them per pixel and with a gradient.

    Content is the distance to the mean of both weighted by their local energy, as the plain mean halves the contrast;
    structure is the Frobenius distance of the structure tensor to the sum of the sources'.
    """
    fixed, moving = batch.fixed, batch.moving
    energies = [functional.avg_pool2d(image.square(), 7, 1, 3) + 1e-6 for image in (fixed, moving)]
    target = (energies[0] * fixed + energies[1] * moving) / (energies[0] + energies[1])
    tensor = structure_tensor(fused) - structure_tensor(fixed) - structure_tensor(moving)
    structure = tensor.square().sum(1).add(1e-12).sqrt().mean()
    content = functional.mse_loss(fused, target).add(1e-12).sqrt()
    return 0.5 * content + 0.5 * torch.log1p(structure) + 2 * (1 - measure_structure(fused, fixed, moving).mean())


def structure_tensor(image: Tensor) -> Tensor:
    """(batch, 1, r, c) → (batch, 4, r − 1, c − 1): gx², gx gy, gx gy, gy² of forward differences."""
    across, down = image[..., :-1, 1:] - image[..., :-1, :-1], image[..., 1:, :-1] - image[..., :-1, :-1]
    return torch.cat([across * across, across * down, across * down, down * down], dim=1)


LOSSES: Mapping[str, Loss] = {
    "paper": paper_loss,
    "balanced": balanced_loss,
    "stronger": stronger_loss,
    "content": content_loss,
}
"""Name → loss, as `fusionnode train --loss` takes it."""


def _measure_dulling(fused: Tensor, batch: Batch) -> Tensor:
    """How far places hotter than their anatomy is bright fall short of their own brightness, apart from fine detail.

    The measures alone are content with a hot spot that has bright edges and a dull middle. The mean is taken over such
    places, so that a small spot in a pair that has nothing else counts for as much as a whole cortex.
    """
    hot, cold, shown = (smooth_luminance(image) for image in (batch.moving, batch.fixed, fused))
    missing = (_ENOUGH_BRIGHTNESS * hot - shown).clamp_min(0)
    share = (hot - cold).clamp_min(0) * hot
    return (share * missing).sum((1, 2, 3)) / (share.sum((1, 2, 3)) + _LEAST_SHARE)


def _correlations(image: Tensor, batch: Batch) -> dict[str, Tensor]:
    uptake = correlate(image, batch.moving)
    return {"correlation": (correlate(image, batch.fixed) + uptake) / 2, "uptake": uptake}


def _smooth_strength(image: Tensor) -> Tensor:
    """Gradient magnitude after the 3×3 low-pass of SDNet, which the paper's weights are taken from."""
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    edge, corner, middle = 0.1183, 0.0947, 0.1478
    kernel = image.new_tensor([[corner, edge, corner], [edge, middle, edge], [corner, edge, corner]])[None, None]
    return sobel_edges(functional.conv2d(padded, kernel)).square().sum(1, keepdim=True)
