"""Figures for claims that need no training: what trained weights do, whole, with a part switched off, or by halves."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fusionnode.evaluation.metrics import measure_structural_similarity
from fusionnode.fusion.classical import RULES
from fusionnode.fusion.networks.asymmetric_restormer import (
    AsymmetricParts,
    AsymmetricRestormer,
    FeatureFusion,
    Modality,
)
from fusionnode.fusion.networks.mask_attention import DecouplingNetwork, MaskAttentionNetwork, Parts, local_contrast
from fusionnode.fusion.networks.spatial_frequency_experts import (
    SpatialFrequencyExpertFusion,
    SpatialFrequencyExpertsNetwork,
)
from tests.benchmarks.ablation_di import measure_decoupling
from tests.benchmarks.ablation_scores import Fuser, Picture, Rows, average, peak_ratio, score, tell, to_grey
from tests.benchmarks.ablation_zhou import check_zhou

Found = dict[str, Any]
_BESIDE = "decoupling."
_EXPERTS = 4
_SIZES = ((200, 170), (256, 256), (320, 288))


def check_di(weights: Mapping[str, Tensor], pictures: Sequence[Picture]) -> Found:
    """D3 size, D4 any size, D5 masks in a trained network, D6 decoupling where a checkpoint is given, D8."""
    beside = {name.removeprefix(_BESIDE): one for name, one in weights.items() if name.startswith(_BESIDE)}
    weights = {name: one for name, one in weights.items() if not name.startswith(_BESIDE)}
    network = MaskAttentionNetwork.from_weights(weights).eval()
    blind = MaskAttentionNetwork.from_weights(weights, Parts(masks=False)).eval()
    rows = {"as trained": score(network, pictures), "masks zeroed": score(blind, pictures)}
    rows |= {name: score(rule, pictures) for name, rule in RULES.items()}
    bands = [tell(average(rows[name])["band Qabf"]) for name in ("as trained", "masks zeroed")]
    claims = {"D2 " + key: value for key, value in _tell_lifts(rows).items()}
    claims["D3 size"] = _tell_size(network, pictures[0])
    claims["D4 any size"] = _tell_sizes(network, pictures[0])
    claims["D4 tiles"] = _tell_tiles(network, pictures)
    claims["D5 Qabf within 3 pixels of a mask's edge, as trained and masks zeroed"] = ", ".join(bands)
    claims["D8 eq. 7, largest difference of the box form from the window's own deviation"] = _tell_contrast(pictures[0])
    if beside:
        decoupling = DecouplingNetwork(weights["path_both.0.0.weight"].shape[0])
        decoupling.load_state_dict(beside)
        found = measure_decoupling(network, decoupling, pictures)
        claims["D6 decoupled PSNR in dB"] = ", ".join(f"{name} {tell(value)}" for name, value in found.items())
    return {"rows": rows, "claims": claims}


def check_kong(weights: Mapping[str, Tensor], pictures: Sequence[Picture]) -> Found:
    """K1 reconstruction, K3 and K6 by switching off in the trained network, K7 balance of both sources."""
    choices = {
        "as trained": AsymmetricParts(),
        "global attention off": AsymmetricParts(global_attention=False),
        "local attention off": AsymmetricParts(local_attention=False),
        "both attentions off": AsymmetricParts(global_attention=False, local_attention=False),
        "features added": AsymmetricParts(fusion=FeatureFusion.ADDITION),
        "features' maximum": AsymmetricParts(fusion=FeatureFusion.MAXIMUM),
    }
    rows = {
        name: score(AsymmetricRestormer.from_weights(weights, parts).eval(), pictures)
        for name, parts in choices.items()
    }
    network = AsymmetricRestormer.from_weights(weights).eval()
    claims = {"size": _tell_size(network, pictures[0])}
    for modality, key in ((Modality.FIXED, "MRI"), (Modality.MOVING, "functional")):
        claims[f"K1 reconstruction of the {key} image"] = _tell_reconstruction(
            partial(network.reconstruct, modality=modality),
            [picture.fixed if modality is Modality.FIXED else picture.moving for picture in pictures],
        )
    claims["K3 learnt strengths of global and local attention, MRI then functional"] = ", ".join(
        tell(float(one)) for name in ("fixed", "moving") for one in weights[f"encoder_{name}.attention.strengths"]
    )
    claims["K7 mean |r(MRI, F) − r(functional, F)|"] = tell(measure_imbalance(rows["as trained"]))
    return {"rows": rows, "claims": claims}


def check_gu(weights: Mapping[str, Tensor], pictures: Sequence[Picture]) -> Found:
    """G1 by switching off in the trained network and by what the experts are given, G2 brightness, G3 detail."""
    rows = {"as trained": score(_without(weights), pictures)}
    for part in ("spatial", "frequency", "experts"):
        rows[f"{part} off"] = score(_without(weights, part), pictures)
    brightness = [tell(average(rows[name])["brightness off"]) for name in ("as trained", "frequency off")]
    detail = [tell(average(rows[name])[figure]) for figure in ("AG", "Qabf") for name in ("as trained", "spatial off")]
    network = _without(weights)
    claims = {
        "size": _tell_size(network, pictures[0]),
        **_tell_experts(network, pictures),
        "G2 mean brightness above the sources' mean, grey levels, as trained and AFF off": ", ".join(brightness),
        "G3 AG and Qabf, each as trained and CASF off": ", ".join(detail),
    }
    return {"rows": rows, "claims": claims}


CHECKS: Mapping[str, Callable[[Mapping[str, Tensor], Sequence[Picture]], Found]] = {
    "mask-attention": check_di,
    "dilated-residual-attention": check_zhou,
    "asymmetric-restormer": check_kong,
    "spatial-frequency-experts": check_gu,
}
"""Card name → what measures its weights."""


def measure_imbalance(rows: Rows) -> float:
    """Mean over pictures of how much better the result correlates with one source than with the other."""
    # CC is the mean of both correlations and CCf one of them.
    return statistics.fmean(abs(2 * (row["CC"] - row["CCf"])) for row in rows.values())


def _tell_lifts(rows: Mapping[str, Rows]) -> dict[str, str]:
    figures = ("AG", "EN", "SF", "MI", "CC", "SD", "SCD")
    ours = average(rows["as trained"])
    others = [average(rows[name]) for name in RULES]
    lifts = {name: ours[name] / statistics.fmean(one[name] for one in others) - 1 for name in figures}
    told = ", ".join(f"{name} {lift:+.1%}" for name, lift in lifts.items())
    return {"lift over the mean of average, maximum and laplacian": told}


def _tell_size(network: nn.Module, picture: Picture) -> str:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(picture.fixed, picture.moving)
    weights = sum(one.numel() for one in network.parameters())
    rows, columns = picture.fixed.shape[-2:]
    return f"{weights} parameters, {counter.get_total_flops() / 2e9:.2f} GMAC at {rows}×{columns}"


def _tell_sizes(fuse: Fuser, picture: Picture) -> str:
    """Output sizes, and how far a picture's result moves when black margins are put around it."""
    told = []
    for rows, columns in _SIZES:
        native = [_cut(image, rows, columns) for image in (picture.fixed, picture.moving)]
        margin = (0, 32, 0, 32)
        with torch.no_grad():
            plain = fuse(native[0], native[1])
            padded = fuse(*(functional.pad(image, margin) for image in native))[..., :rows, :columns]
        assert plain.shape == native[0].shape
        told.append(f"{rows}×{columns} in and out, with 32 black rows and columns more {_tell_gap(plain, padded)}")
    return "; ".join(told)


def _tell_tiles(fuse: Fuser, pictures: Sequence[Picture]) -> str:
    gaps = []
    for picture in pictures[::4]:
        with torch.no_grad():
            whole = fuse(picture.fixed, picture.moving)
            rows, columns = (size // 2 for size in whole.shape[-2:])
            parts = [
                fuse(
                    *(image[..., top : top + rows, left : left + columns] for image in (picture.fixed, picture.moving))
                )
                for top in (0, rows)
                for left in (0, columns)
            ]
        tiled = torch.cat([torch.cat(parts[:2], -1), torch.cat(parts[2:], -1)], -2)
        gaps.append(float((whole - tiled).abs().mean()) * 255)
    return f"whole against four quarters by themselves: mean difference {statistics.fmean(gaps):.2f} grey levels"


def _tell_gap(one: Tensor, other: Tensor) -> str:
    gap = (one - other).abs() * 255
    return f"{float(gap.max()):.2f} grey levels at most, {float(gap.mean()):.3f} in the mean"


def _cut(image: Tensor, rows: int, columns: int) -> Tensor:
    """The middle, or the whole with black around it."""
    spare = [(wanted - now) for wanted, now in zip((rows, columns), image.shape[-2:], strict=True)]
    (top, bottom), (left, right) = ((one // 2, one - one // 2) for one in spare)
    return functional.pad(image, (left, right, top, bottom))


def _tell_contrast(picture: Picture, radius: int = 2) -> str:
    size = 2 * radius + 1
    windows = picture.fixed.double().unfold(2, size, 1).unfold(3, size, 1)
    own = windows.flatten(-2).var(-1, unbiased=False)
    inside = slice(radius, -radius)
    told = []
    for kind in (torch.float32, torch.float64):
        box = _box_deviation(picture.fixed.to(kind), size)
        told.append(f"{float((box - own.sqrt()).abs().max()):.1e} in {str(kind).removeprefix('torch.')}")
    shipped = local_contrast(picture.fixed, radius)[..., inside, inside]
    told.append(f"{float((shipped - (own + 1e-6).sqrt()).abs().max()):.1e} as shipped, with its 1e-6 under the root")
    return ", ".join(told)


def _box_deviation(image: Tensor, size: int) -> Tensor:
    mean, power = functional.avg_pool2d(image, size, 1), functional.avg_pool2d(image * image, size, 1)
    return (power - mean * mean).clamp_min(0).sqrt().double()


def _tell_reconstruction(reconstruct: Callable[[Tensor], Tensor], images: Sequence[Tensor]) -> str:
    with torch.no_grad():
        pairs = [(reconstruct(image).clamp(0, 1), image) for image in images]
    ratio = statistics.fmean(peak_ratio(*pair) for pair in pairs)
    likeness = statistics.fmean(measure_structural_similarity(to_grey(one), to_grey(other)) for one, other in pairs)
    return f"PSNR {ratio:.1f} dB, SSIM {likeness:.4f}"


def _without(weights: Mapping[str, Tensor], part: str = "") -> SpatialFrequencyExpertsNetwork:
    network = SpatialFrequencyExpertsNetwork.from_weights(weights).eval()
    for level in network.fusions:
        if part:
            setattr(level, part, None)
    return network


def _tell_experts(network: SpatialFrequencyExpertsNetwork, pictures: Sequence[Picture]) -> dict[str, str]:
    """How an expert's share of a pixel varies, and what it goes with, at the finest level."""
    experts = network.fusions[0].get_submodule("experts")
    assert isinstance(experts, SpatialFrequencyExpertFusion)
    shares: list[np.ndarray[Any, np.dtype[np.float64]]] = []
    plain = experts.weigh

    def listen(tokens: Tensor) -> tuple[Tensor, Tensor]:
        dispatch, combine = plain(tokens)
        shares.append(combine[0].reshape(combine.shape[1], _EXPERTS, -1).sum(-1).double().numpy())
        return dispatch, combine

    experts.weigh = listen  # type: ignore[method-assign]
    detail = []
    with torch.no_grad():
        for picture in pictures:
            network(picture.fixed, picture.moving)
            detail.append(local_contrast(torch.maximum(picture.fixed, picture.moving))[0, 0].flatten().double().numpy())
    del experts.weigh
    within = np.stack([one.std(axis=0) for one in shares]).mean(axis=0)
    between = np.stack([one.mean(axis=0) for one in shares]).std(axis=0)
    going = [
        [np.corrcoef(one[:, i], fine)[0, 1] for i in range(_EXPERTS)] for one, fine in zip(shares, detail, strict=True)
    ]
    return {
        "G1 experts' mean shares": _tell_all(np.stack([one.mean(axis=0) for one in shares]).mean(axis=0)),
        "G1 deviation of a share over the pixels of a picture": _tell_all(within),
        "G1 deviation of a picture's mean share between pictures": _tell_all(between),
        "G1 correlation of a share with local contrast": _tell_all(np.array(going).mean(axis=0)),
    }


def _tell_all(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
