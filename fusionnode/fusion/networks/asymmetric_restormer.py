"""Asymmetric Restormer with dual attention (middle), after Kong et al. 2025.

Each modality has an encoder of its own, with more transformer blocks for the MRI than for the functional image; dual
attention, global by channel and local by place, follows each; what is fused is learned. It is trained in two stages:
first every source is reconstructed from its own features, then both are fused. With C channels:

==================  ================================================  =============
block               shape                                             at resolution
==================  ================================================  =============
stem                (batch, 1, r, c) → (batch, C/2, r, c)             full
encoder             → (batch, C, r/2, c/2), M or P Restormer blocks   half
fusion              two of (batch, C, r/2, c/2) → one                 half
decoder             → (batch, C/2, r, c), beside the fused stems      full
==================  ================================================  =============

Restormer blocks are those of Zamir et al. 2022: multi-Dconv head transposed attention (MDTA) and gated-Dconv
feed-forward network (GDFN). The paper's best depths (M, P) are (50, 30); ours are (5, 3), their ratio: its own study
of depths has (6, 6) within a tenth of the best in sharpness. Widths, the form of dual attention and the head are not in
what of the paper could be read. The head gives every pixel a gain for each source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusionnode.fusion.networks.blocks import pad_to_multiple, weigh_sources

COMPACT_CHANNELS = 24
COMPACT_DEPTHS = (5, 3)
_DECODER_DEPTH = 2
_HEADS = 4
_EXPANSION = 2


class FeatureFusion(StrEnum):
    """How two feature maps become one; ``LEARNED`` is the paper's, the others are for the ablation."""

    LEARNED = "learned"
    ADDITION = "addition"
    MAXIMUM = "maximum"


class Modality(StrEnum):
    """Which encoder: that of the fixed image (MRI) or of the moving one (PET, SPECT)."""

    FIXED = "fixed"
    MOVING = "moving"


@dataclass(frozen=True)
class AsymmetricParts:
    """Which modules are on.

    Attributes:
        global_attention: by channel, of the dual attention.
        local_attention: by place, of the dual attention.
        shared_encoder: both modalities pass the fixed image's encoder.
        fusion: of the features at half resolution.
    """

    global_attention: bool = True
    local_attention: bool = True
    shared_encoder: bool = False
    fusion: FeatureFusion = FeatureFusion.LEARNED


class AsymmetricRestormer(nn.Module):
    """The fusion network.

    Args:
        channels: C, divisible by 4.
        depths: Restormer blocks (M, P) of the fixed image's encoder and of the moving one's.
        parts: for the ablation.
    """

    def __init__(
        self,
        channels: int = COMPACT_CHANNELS,
        depths: tuple[int, int] = COMPACT_DEPTHS,
        parts: AsymmetricParts | None = None,
    ) -> None:
        super().__init__()
        self.parts = parts or AsymmetricParts()
        self.encoder_fixed = Encoder(channels, depths[0], self.parts)
        self.encoder_moving = (
            self.encoder_fixed if self.parts.shared_encoder else Encoder(channels, depths[1], self.parts)
        )
        self.fusion = Fusion(channels, self.parts.fusion)
        self.decoder = Decoder(channels)
        self.image = nn.Conv2d(channels // 2, 1, 3, padding=1)
        self.gains = nn.Conv2d(channels // 2, 2, 3, padding=1)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], parts: AsymmetricParts | None = None) -> Self:
        """The network these weights belong to; its width and depths are read from them.

        Raises:
            KeyError, RuntimeError: they belong to another network.
        """
        channels = weights["encoder_fixed.halve.weight"].shape[0]
        depths = (_count_blocks(weights, "encoder_fixed"), _count_blocks(weights, "encoder_moving"))
        network = cls(channels, depths, parts)
        network.load_state_dict(weights)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two images (batch, 1, rows, columns) in [0, 1] → the fused luminance, same shape and range."""
        return self.compose(fixed, moving).clamp(0, 1)

    def compose(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Stage 2: the same before it is limited to [0, 1], for the loss to charge what is beyond."""
        stem_fixed, deep_fixed = self.encoder_fixed(pad_to_multiple(fixed, 2))
        stem_moving, deep_moving = self.encoder_moving(pad_to_multiple(moving, 2))
        decoded = self.decoder(self.fusion(deep_fixed, deep_moving), stem_fixed, stem_moving)
        return weigh_sources(self.gains(decoded), fixed, moving)

    def reconstruct(self, source: Tensor, modality: Modality) -> Tensor:
        """Stage 1: one source through its own encoder, in both places of the fusion, and back.

        Returns:
            (batch, 1, rows, columns) in [0, 1].
        """
        encoder = self.encoder_fixed if modality is Modality.FIXED else self.encoder_moving
        stem, deep = encoder(pad_to_multiple(source, 2))
        decoded = self.decoder(self.fusion(deep, deep), stem, stem)
        rows, columns = source.shape[-2:]
        return torch.sigmoid(self.image(decoded).float())[..., :rows, :columns]


class Encoder(nn.Module):
    """Stem, stride-2 convolution, Restormer blocks, dual attention.

    (batch, 1, rows, columns), both even → (batch, C/2, rows, columns) and (batch, C, rows/2, columns/2).
    """

    def __init__(self, channels: int, depth: int, parts: AsymmetricParts) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels // 2, 3, padding=1), nn.GELU())
        self.halve = nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(RestormerBlock(channels) for _ in range(depth)))
        self.attention = DualAttention(channels, parts)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The stem's features and the deep ones."""
        stem = self.stem(image)
        return stem, self.attention(self.blocks(_order(self.halve(stem))))


class RestormerBlock(nn.Module):
    """MDTA and GDFN, each on normalised features and added to its input: (batch, C, rows, columns) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.attention = MultiDconvTransposedAttention(channels)
        self.feed_forward = GatedDconvFeedForward(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        features = features + self.attention(_normalise(self.norms[0], features))
        grown: Tensor = features + self.feed_forward(_normalise(self.norms[1], features))
        return grown


class MultiDconvTransposedAttention(nn.Module):
    """MDTA: attention among channels over all pixels, so its cost grows with the pixels and not with their square."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(_HEADS, 1, 1))
        self.queries_keys_values = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.mix = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        batch, channels, rows, columns = features.shape
        mixed = self.mix(self.queries_keys_values(features))
        pixels = mixed.permute(0, 2, 3, 1).reshape(batch, rows * columns, 3, _HEADS, channels // _HEADS)
        # (batch, head, channel of the head, pixel): a softmax of sums over all pixels needs the digits of float32.
        queries, keys, values = pixels.permute(2, 0, 3, 4, 1)
        queries, keys = functional.normalize(queries.float(), dim=-1), functional.normalize(keys.float(), dim=-1)
        with torch.autocast(features.device.type, enabled=False):
            attention = ((queries @ keys.mT) * self.temperature).softmax(-1)
        attended = (attention.to(values.dtype) @ values).permute(0, 3, 1, 2).reshape(batch, rows, columns, channels)
        projected: Tensor = self.project(attended.permute(0, 3, 1, 2))
        return projected


class GatedDconvFeedForward(nn.Module):
    """GDFN: half of the widened features gates the other half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * _EXPANSION * channels
        self.widen = nn.Conv2d(channels, wide, 1, bias=False)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False)
        self.project = nn.Conv2d(wide // 2, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        gate, gated = self.mix(self.widen(features)).chunk(2, dim=1)
        projected: Tensor = self.project(functional.gelu(gate) * gated)
        return projected


class DualAttention(nn.Module):
    """Global attention by channel and local attention by place, added to what they weigh.

    Both begin without effect, so that the first stage begins with plain features.
    """

    def __init__(self, channels: int, parts: AsymmetricParts) -> None:
        super().__init__()
        self.parts = parts
        self.channel = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1), nn.GELU(), nn.Conv2d(channels // 4, channels, 1)
        )
        self.place = nn.Conv2d(2, 1, 7, padding=3)
        self.strengths = nn.Parameter(torch.zeros(2))

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        attended = features
        if self.parts.global_attention:
            mean, peak = features.mean((-2, -1), keepdim=True), features.amax((-2, -1), keepdim=True)
            weight = torch.sigmoid(self.channel(mean) + self.channel(peak))
            attended = attended + self.strengths[0] * weight * features
        if self.parts.local_attention:
            maps = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
            attended = attended + self.strengths[1] * torch.sigmoid(self.place(maps)) * features
        return attended


class Fusion(nn.Module):
    """Two feature maps → one: a learned 1×1 mixture and a Restormer block, or a fixed rule."""

    def __init__(self, channels: int, kind: FeatureFusion) -> None:
        super().__init__()
        self.kind = kind
        self.merge = nn.Conv2d(2 * channels, channels, 1)
        self.block = RestormerBlock(channels)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two of (batch, C, rows, columns) → one."""
        if self.kind is FeatureFusion.ADDITION:
            return fixed + moving
        if self.kind is FeatureFusion.MAXIMUM:
            return torch.maximum(fixed, moving)
        fused: Tensor = self.block(_order(self.merge(torch.cat([fixed, moving], dim=1))))
        return fused


class Decoder(nn.Module):
    """Restormer blocks, pixel shuffle to full resolution, and the stems' detail: → (batch, C/2, rows, columns)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.blocks = nn.Sequential(*(RestormerBlock(channels) for _ in range(_DECODER_DEPTH)))
        self.enlarge = nn.Sequential(nn.Conv2d(channels, 4 * half, 1), nn.PixelShuffle(2))
        self.detail = nn.Conv2d(2 * half, half, 1)
        self.refine = nn.Sequential(nn.Conv2d(2 * half, half, 3, padding=1), nn.GELU())

    def forward(self, deep: Tensor, stem_fixed: Tensor, stem_moving: Tensor) -> Tensor:
        """Features at half resolution and both stems → features at full resolution."""
        grown = self.enlarge(self.blocks(deep))
        detail = self.detail(torch.cat([stem_fixed, stem_moving], dim=1))
        refined: Tensor = self.refine(_order(torch.cat([grown, detail], dim=1)))
        return refined


def _normalise(norm: nn.Module, features: Tensor) -> Tensor:
    """Layer normalisation over the channels of each pixel; both permutations are views."""
    normalised: Tensor = norm(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return normalised


def _order(features: Tensor) -> Tensor:
    return features.contiguous(memory_format=torch.channels_last)


def _count_blocks(weights: Mapping[str, Tensor], encoder: str) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith(f"{encoder}.blocks.")})
