"""Zhou's fusion rule beside simpler ones in one trained auto-encoder, and where its time goes."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fusionnode.evaluation.metrics import measure_structural_similarity
from fusionnode.fusion.networks.dilated_residual_attention import (
    DilatedResidualAttentionNetwork,
    NormStatistic,
    nuclear_norms,
    softmax_nuclear_norm_weights,
)
from tests.benchmarks.ablation_scores import Picture, Rows, peak_ratio, score, to_grey

_RUNS = 5


def check_zhou(weights: Mapping[str, Tensor], pictures: Sequence[Picture]) -> dict[str, Any]:
    """Z1 the rule's nature, Z2 rules side by side, Z6 reconstruction, Z7 time."""
    network = DilatedResidualAttentionNetwork.from_weights(weights).eval()
    rows: dict[str, Rows] = {}
    for name, rule in RULES.items():
        rows[name] = score(partial(_fuse, network, rule), pictures)
    claims = {
        "size": _tell_size(network, pictures[0]),
        "Z1 the rule": _tell_rule(network, pictures),
        "Z2 MRI's weight by the maximum, by the mean": _tell_weights(network, pictures),
        "Z6 reconstruction of the MRI": _tell_reconstruction(network, [one.fixed for one in pictures]),
        "Z6 reconstruction of the functional image": _tell_reconstruction(network, [one.moving for one in pictures]),
        "Z7 processor seconds of one thread, medians of 5": _tell_times(network, pictures[0]),
    }
    return {"rows": rows, "claims": claims}


def _weigh(weights: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    first, second = weights.to(fixed.dtype)[:, :, None, None, None].unbind(1)
    return first * fixed + second * moving


def _weigh_by(activity: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A rule that weighs every pixel's features by their activity there, (batch, 1, rows, columns)."""

    def rule(fixed: Tensor, moving: Tensor) -> Tensor:
        first, second = activity(fixed), activity(moving)
        share = first / (first + second).clamp_min(1e-12)
        return share * fixed + (1 - share) * moving

    return rule


RULES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nuclear norm, maximum (paper)": lambda fixed, moving: _weigh(
        softmax_nuclear_norm_weights(fixed, moving, NormStatistic.MAXIMUM), fixed, moving
    ),
    "nuclear norm, mean": lambda fixed, moving: _weigh(
        softmax_nuclear_norm_weights(fixed, moving, NormStatistic.MEAN), fixed, moving
    ),
    "average": lambda fixed, moving: (fixed + moving) / 2,
    "feature maximum": torch.maximum,
    "addition": torch.add,
    "L1 norm, by pixel": _weigh_by(lambda features: features.abs().sum(1, keepdim=True)),
    "energy, by pixel": _weigh_by(lambda features: features.square().sum(1, keepdim=True)),
}
"""Name → what makes one feature map of two."""


def _fuse(
    network: DilatedResidualAttentionNetwork, rule: Callable[[Tensor, Tensor], Tensor], fixed: Tensor, moving: Tensor
) -> Tensor:
    return network.decode(rule(network.encode(fixed), network.encode(moving))).clamp(0, 1)


def _tell_size(network: DilatedResidualAttentionNetwork, picture: Picture) -> str:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.decode(torch.maximum(network.encode(picture.fixed), network.encode(picture.moving)))
    weights = sum(one.numel() for one in network.parameters())
    return f"{weights} parameters, {counter.get_total_flops() / 2e9:.2f} GMAC without the rule"


def _tell_rule(network: DilatedResidualAttentionNetwork, pictures: Sequence[Picture]) -> str:
    """Largest departure from what the rule must be, over all pictures."""
    sums, swaps, repeats, equals = [], [], [], []
    for picture in pictures:
        with torch.no_grad():
            first, second = network.encode(picture.fixed), network.encode(picture.moving)
            weights = softmax_nuclear_norm_weights(first, second)
            sums.append(float((weights.sum(1) - 1).abs()))
            swaps.append(float((softmax_nuclear_norm_weights(second, first).flip(1) - weights).abs().max()))
            repeats.append(float((softmax_nuclear_norm_weights(first, second) - weights).abs().max()))
            equals.append(float((softmax_nuclear_norm_weights(first, first) - 0.5).abs().max()))
    return (
        f"a function without parameters; largest departures: sum from 1 {max(sums):.1e}, "
        f"swapped inputs {max(swaps):.1e}, run again {max(repeats):.1e}, equal inputs from 0.5 {max(equals):.1e}"
    )


def _tell_weights(network: DilatedResidualAttentionNetwork, pictures: Sequence[Picture]) -> str:
    told = []
    for group in sorted({picture.group for picture in pictures}):
        for statistic in NormStatistic:
            found = []
            for picture in pictures:
                if picture.group == group:
                    with torch.no_grad():
                        pair = network.encode(picture.fixed), network.encode(picture.moving)
                        found.append(float(softmax_nuclear_norm_weights(*pair, statistic)[0, 0]))
            told.append(f"{group} {statistic.value} {min(found):.2f} to {max(found):.2f}")
    return ", ".join(told)


def _tell_reconstruction(network: DilatedResidualAttentionNetwork, images: Sequence[Tensor]) -> str:
    with torch.no_grad():
        pairs = [(network.decode(network.encode(image)).clamp(0, 1), image) for image in images]
    ratios = [peak_ratio(*pair) for pair in pairs]
    likeness = statistics.fmean(measure_structural_similarity(to_grey(one), to_grey(other)) for one, other in pairs)
    return f"PSNR {statistics.fmean(ratios):.1f} dB ({min(ratios):.1f} to {max(ratios):.1f}), SSIM {likeness:.4f}"


def _tell_times(network: DilatedResidualAttentionNetwork, picture: Picture) -> str:
    with torch.no_grad():
        first, second = network.encode(picture.fixed), network.encode(picture.moving)
        maps = torch.cat([first, second]).softmax(1)
        gram, plain = nuclear_norms(maps), torch.linalg.svdvals(maps).double().sum(-1)
        seconds = {
            "both encoders": _time(lambda: (network.encode(picture.fixed), network.encode(picture.moving))),
            f"norms of {maps.shape[0] * maps.shape[1]} maps by Gram matrices": _time(lambda: nuclear_norms(maps)),
            "the same by singular values": _time(lambda: torch.linalg.svdvals(maps)),
            "decoder": _time(lambda: network.decode(functional.relu(first))),
        }
    told = ", ".join(f"{name} {value:.3f}" for name, value in seconds.items())
    return f"{told}; norms differ by {float(((gram - plain) / plain).abs().max()):.1e} of themselves"


def _time(work: Callable[[], object]) -> float:
    """Of the processor, not of the clock: other work on the machine then counts less."""
    taken = []
    for _ in range(_RUNS):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken)
