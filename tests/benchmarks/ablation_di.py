"""Di's network with modules taken away: trained at a small budget, scored, and put side by side."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from fusionnode.evaluation.metrics import CLASSIC
from fusionnode.fusion.networks.mask_attention import (
    DecouplingNetwork,
    Feedback,
    MaskAttentionNetwork,
    Parts,
    otsu_mask,
)
from fusionnode.training.datasets import Batch, Pair
from fusionnode.training.train import TrainingPlan
from tests.benchmarks.ablation_scores import (
    FIGURES,
    Picture,
    Rows,
    compare_pictures,
    count_falls,
    peak_ratio,
    render_table,
    score,
    tell,
)
from tests.benchmarks.ablation_training import train_averaged


@dataclass(frozen=True)
class Variant:
    """What is on; the detail preserving module always is."""

    parts: Parts = field(default_factory=Parts)
    decoupling: bool = True
    feedback: Feedback = Feedback.NARROW


_NONE = Parts(masks=False, attention=False, contrast=False)
VARIANTS: Mapping[str, Variant] = {
    "full": Variant(),
    "without mask": Variant(Parts(masks=False)),
    "without attention": Variant(Parts(attention=False)),
    "without contrast": Variant(Parts(contrast=False)),
    "without decoupling": Variant(decoupling=False),
    "none of the four": Variant(_NONE, decoupling=False),
    "mask only": Variant(replace(_NONE, masks=True), decoupling=False),
    "attention only": Variant(replace(_NONE, attention=True), decoupling=False),
    "contrast only": Variant(replace(_NONE, contrast=True), decoupling=False),
    "decoupling only": Variant(_NONE),
    "no feedback": Variant(feedback=Feedback.NONE),
    "full feedback": Variant(feedback=Feedback.FULL),
}
MODULES = ("mask", "attention", "contrast", "decoupling")


class VariantTrainee(nn.Module):
    """A variant as the training loop sees it. Modules that variants share begin with the same weights."""

    def __init__(self, variant: Variant, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            whole = MaskAttentionNetwork(channels).state_dict()
            self.network = MaskAttentionNetwork(channels, variant.parts)
            torch.manual_seed(seed)
            self.decoupling = DecouplingNetwork(channels, variant.feedback) if variant.decoupling else None
        self.network.load_state_dict(whole, strict=False)

    def forward(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """The fused luminance before limiting, and both decoupled sources where there is a decoupling network."""
        composition = self.network.compose(batch.fixed, batch.moving, batch.mask_fixed, batch.mask_moving)
        return composition.fused, self.decoupling(composition) if self.decoupling is not None else None


def measure_variant(
    variant: Variant, plan: TrainingPlan, learning: Sequence[Pair], pictures: Sequence[Picture]
) -> dict[str, Any]:
    """Train and score one; the averaged weights are scored, as those are what ships."""
    begun = time.perf_counter()
    averaged = train_averaged(lambda: VariantTrainee(variant, plan.channels, plan.seed), plan, learning)
    assert isinstance(averaged, VariantTrainee)
    seconds = time.perf_counter() - begun
    return {
        "train_seconds": seconds,
        "parameters": sum(one.numel() for one in averaged.network.parameters()),
        "rows": score(averaged.network, pictures),
        "decoupled": measure_decoupling(averaged.network, averaged.decoupling, pictures)
        if averaged.decoupling is not None
        else None,
    }


def measure_decoupling(
    network: MaskAttentionNetwork, decoupling: DecouplingNetwork, pictures: Sequence[Picture]
) -> dict[str, float]:
    """PSNR of both sources as the decoupling network finds them, and as it finds them in a black image."""
    found: dict[str, list[float]] = {}
    for picture in pictures:
        masks = otsu_mask(picture.fixed), otsu_mask(picture.moving)
        with torch.no_grad():
            composition = network.compose(picture.fixed, picture.moving, *masks)
            blind = replace(composition, fused=torch.zeros_like(composition.fused))
            for ending, seen in (("", composition), (", F zeroed", blind)):
                fixed, moving = decoupling(seen)
                found.setdefault(f"fixed{ending}", []).append(peak_ratio(fixed, picture.fixed))
                found.setdefault(f"moving{ending}", []).append(peak_ratio(moving, picture.moving))
    return {name: sum(values) / len(values) for name, values in found.items()}


def render_di(measured: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of means, what each module brings, and how well the sources are found again."""
    rows: dict[str, Rows] = {name: one["rows"] for name, one in measured.items()}
    groups = sorted({name.split("/")[0] for name in next(iter(rows.values()))})
    extra = (*FIGURES, "gain", "band Qabf", "inside mean", "inside SD")
    lines = [render_table(rows, extra, groups), "", *_render_modules(rows), "", *_render_decoupling(measured)]
    return "\n".join(lines)


def _render_modules(rows: Mapping[str, Rows]) -> list[str]:
    lines = ["| full minus the variant | " + " | ".join(CLASSIC) + " | fall | for certain | rise for certain |"]
    lines.append("|---" * (len(CLASSIC) + 4) + "|")
    pairs = [("full", f"without {module}") for module in MODULES]
    pairs += [(f"{module} only", "none of the four") for module in MODULES]
    for upper, lower in pairs:
        if upper not in rows or lower not in rows:
            continue
        cells = []
        for figure in CLASSIC:
            mean, low, high = compare_pictures(rows[upper], rows[lower], figure)
            cells.append(f"{mean:+.3f}{'*' if low > 0 or high < 0 else ''}")
        cells += [str(value) for value in count_falls(rows[upper], rows[lower]).values()]
        lines.append(f"| {upper} − {lower} | {' | '.join(cells)} |")
    return [*lines, "", "`*` the 95 % interval over pictures is off 0"]


def _render_decoupling(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = ("fixed", "moving", "fixed, F zeroed", "moving, F zeroed")
    lines = ["| decoupled PSNR, dB | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, one in measured.items():
        if one["decoupled"]:
            lines.append(f"| {name} | {' | '.join(tell(one['decoupled'][key]) for key in names)} |")
    return lines
