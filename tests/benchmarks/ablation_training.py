"""Variants of Kong's, Gu's and Zhou's networks, and the short training that every variant gets."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fusionnode.fusion.networks.asymmetric_restormer import (
    AsymmetricParts,
    AsymmetricRestormer,
    FeatureFusion,
)
from fusionnode.fusion.networks.dilated_residual_attention import DilatedResidualAttentionNetwork
from fusionnode.fusion.networks.mask_attention import otsu_mask
from fusionnode.fusion.networks.spatial_frequency_experts import ExpertParts, SpatialFrequencyExpertsNetwork
from fusionnode.training.datasets import Batch, Pair, draw_batch
from fusionnode.training.train import TrainingPlan, TrainingState, advance
from fusionnode.training.trainees import Reconstructing, make_trainee
from tests.benchmarks.ablation_scores import FIGURES, Picture, Rows, peak_ratio, render_table, score

EXTRA = ("PSNR", "imbalance", "brightness off")


@dataclass(frozen=True)
class Choice:
    """How a variant differs: its network, and the share of the steps that reconstruct instead of fusing."""

    build: Callable[[int], nn.Module]
    reconstructing: float = 0.0


def _kong(depths: tuple[int, int] = (5, 3), reconstructing: float = 0.0, **parts: Any) -> Choice:
    return Choice(lambda channels: AsymmetricRestormer(channels, depths, AsymmetricParts(**parts)), reconstructing)


def _gu(**parts: bool) -> Choice:
    return Choice(lambda channels: SpatialFrequencyExpertsNetwork(channels, ExpertParts(**parts)))


def _zhou(**changes: Any) -> Choice:
    return Choice(lambda channels: DilatedResidualAttentionNetwork(channels, **changes), 1.0)


CHOICES: Mapping[str, Mapping[str, Choice]] = {
    "asymmetric-restormer": {
        "fusion only, depths 5 and 3": _kong(),
        "a quarter of the steps reconstructing": _kong(reconstructing=0.25),
        "depths 4 and 4": _kong((4, 4)),
        "depths 3 and 5": _kong((3, 5)),
        "shared encoder of depth 4": _kong((4, 4), shared_encoder=True),
        "depths 2 and 2": _kong((2, 2)),
        "depths 1 and 1": _kong((1, 1)),
        "global attention only": _kong(local_attention=False),
        "local attention only": _kong(global_attention=False),
        "no dual attention": _kong(global_attention=False, local_attention=False),
        "features added": _kong(fusion=FeatureFusion.ADDITION),
        "features' maximum": _kong(fusion=FeatureFusion.MAXIMUM),
    },
    "spatial-frequency-experts": {
        "CASF, AFF, SFEF": _gu(),
        "CASF and AFF added": _gu(experts=False),
        "CASF only": _gu(frequency=False, experts=False),
        "AFF only": _gu(spatial=False, experts=False),
        "without CASF": _gu(spatial=False),
        "without AFF": _gu(frequency=False),
        "features added": _gu(spatial=False, frequency=False, experts=False),
    },
    "dilated-residual-attention": {
        "dilations 1, 3, 5": _zhou(),
        "dilations 1, 1, 1": _zhou(dilations=(1, 1, 1)),
        "no attention maps": _zhou(attention=False),
    },
}
"""Card name → variants, the first of which is the whole network."""

CHANNELS: Mapping[str, int] = {
    "asymmetric-restormer": 12,
    "spatial-frequency-experts": 16,
    "dilated-residual-attention": 16,
}


def train_averaged(make: Callable[[], nn.Module], plan: TrainingPlan, learning: Sequence[Pair]) -> nn.Module:
    """Train a trainee for all steps of the plan and return its averaged weights, which are those that ship."""
    trainee = make()
    trainee.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(trainee).eval()
    state = TrainingState(trainee, averaged, torch.optim.Adam(trainee.parameters(), lr=plan.peak_rate))
    while state.step < plan.steps:
        advance(state, plan, draw_batch(learning, (plan.seed, state.step), plan.batch, plan.side))
    return averaged


def measure_choice(
    choice: Choice, plan: TrainingPlan, learning: Sequence[Pair], pictures: Sequence[Picture]
) -> dict[str, Any]:
    """Train and score one variant."""
    begun = time.perf_counter()
    # The plan that is kept is that of all variants; how much of it reconstructs belongs to the choice.
    own = replace(plan, reconstruct_steps=round(choice.reconstructing * plan.steps))
    averaged = train_averaged(lambda: _make(choice, plan), own, learning)
    seconds = time.perf_counter() - begun
    network = averaged.get_submodule("network")
    rows = score(network, pictures)
    for picture in pictures:
        row = rows[picture.name]
        row["imbalance"] = abs(2 * (row["CC"] - row["CCf"]))
        row["PSNR"] = _measure_reconstruction(averaged, picture) if own.reconstruct_steps else 0.0
    return {
        "train_seconds": seconds,
        "parameters": sum(one.numel() for one in network.parameters()),
        "rows": rows,
    }


def render_choices(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Means by set; PSNR is 0 where nothing was trained to reconstruct."""
    rows: dict[str, Rows] = {name: one["rows"] for name, one in measured.items()}
    groups = sorted({name.split("/")[0] for name in next(iter(rows.values()))})
    sizes = ", ".join(f"{name} {one['parameters']}" for name, one in measured.items())
    return f"{render_table(rows, (*FIGURES, *EXTRA), groups)}\n\nparameters: {sizes}"


def _make(choice: Choice, plan: TrainingPlan) -> nn.Module:
    trainee = make_trainee(plan.network, plan.channels, plan.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        trainee.network = choice.build(plan.channels)
    return trainee


def _measure_reconstruction(trainee: nn.Module, picture: Picture) -> float:
    """Mean PSNR in dB of both sources."""
    assert isinstance(trainee, Reconstructing)
    masks = otsu_mask(picture.fixed), otsu_mask(picture.moving)
    with torch.no_grad():
        fixed, moving = trainee.reconstruct(Batch(picture.fixed, picture.moving, *masks))
    return (peak_ratio(fixed, picture.fixed) + peak_ratio(moving, picture.moving)) / 2
