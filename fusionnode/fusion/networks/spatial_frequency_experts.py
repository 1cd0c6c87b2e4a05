"""Spatial and frequency experts (middle): adaptive fusion after Gu et al. 2024 (ASFE-Fusion).

One encoder for both modalities makes feature maps at four levels. At each, cross attention sees what belongs together
in space (CASF), an attention in the Fourier domain sees what the whole image is made of (AFF), and a soft mixture of
experts (SFEF) weighs the two pixel by pixel. A decoder goes back from the coarsest level to the finest:

==================  ================================================  ==========================
block               shape                                             per level
==================  ================================================  ==========================
encoder             (batch, 1, r, c) → (batch, C, r, c) …             C = 16, 24, 32, 48
CASF, AFF           two of (batch, C, …) → one                        one grid of r/16 × c/16
SFEF                two of (batch, C, …) → one                        4 experts of 16 slots
decoder             four levels → (batch, 16, r, c)                   coarsest first
==================  ================================================  ==========================

The authors' build has 176 million parameters; this one has a hundredth. Group normalisation stands where they have
batch normalisation, as the spectrum changes with the size of an image; each expert block adds to its input; and the
head gives every pixel a gain for each source, where they stretch the result to the full range, which lifts the black
around the head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusionnode.fusion.networks.blocks import pad_to_multiple, weigh_sources

COMPACT_CHANNELS = 16
_GRID = 16
_WIDTH = 64
_HEADS = 4
_EXPERTS = 4
_SLOTS = 16
_GROUPS = 4


@dataclass(frozen=True)
class ExpertParts:
    """Which modules are on: without CASF the maps are added, without AFF nothing is, without SFEF both are added."""

    spatial: bool = True
    frequency: bool = True
    experts: bool = True


class SpatialFrequencyExpertsNetwork(nn.Module):
    """The fusion network.

    Args:
        channels: of the finest level, divisible by 16; the others have 1.5, 2 and 3 times as many.
        parts: for the ablation.
    """

    def __init__(self, channels: int = COMPACT_CHANNELS, parts: ExpertParts | None = None) -> None:
        super().__init__()
        widths = (channels, channels * 3 // 2, channels * 2, channels * 3)
        self.encoder = SharedEncoder(widths)
        self.fusions = nn.ModuleList(
            FusionLevel(width, _GRID >> level, parts or ExpertParts()) for level, width in enumerate(widths)
        )
        self.decoder = Decoder(widths)
        self.gains = nn.Conv2d(channels, 2, 1)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], parts: ExpertParts | None = None) -> Self:
        """The network these weights belong to; its width is read from them.

        Raises:
            KeyError, RuntimeError: they belong to another network.
        """
        network = cls(weights["encoder.lift.weight"].shape[0], parts)
        network.load_state_dict(weights)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two images (batch, 1, rows, columns) in [0, 1] → the fused luminance, same shape and range."""
        return self.compose(fixed, moving).clamp(0, 1)

    def compose(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """The same before it is limited to [0, 1], for the loss to charge what is beyond."""
        both = torch.cat([pad_to_multiple(fixed, _GRID), pad_to_multiple(moving, _GRID)])
        levels = self.encoder(both)
        fused = [fusion(*maps.chunk(2)) for fusion, maps in zip(self.fusions, levels, strict=True)]
        return weigh_sources(self.gains(self.decoder(fused)), fixed, moving)


class SharedEncoder(nn.Module):
    """One for both modalities: (batch, 1, rows, columns) → a feature map of each level, finest first."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.lift = nn.Conv2d(1, widths[0], 1)
        inputs = (widths[0], *widths[:-1])
        self.levels = nn.ModuleList(
            _make_level(before, after // 2, after) for before, after in zip(inputs, widths, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Rows and columns are divisible by 8."""
        features, levels = self.lift(image), []
        for index, level in enumerate(self.levels):
            features = level(_halve(features) if index else features)
            levels.append(features)
        return levels


class FusionLevel(nn.Module):
    """CASF, AFF and SFEF of one level: two of (batch, C, rows, columns) → one.

    Args:
        channels: C.
        patch: pixels of this level along a side of one token.
        parts: which of the three are on.
    """

    def __init__(self, channels: int, patch: int, parts: ExpertParts) -> None:
        super().__init__()
        self.spatial = CrossAttentionSpatialFusion(channels, patch) if parts.spatial else None
        self.frequency = AttentionFrequencyFusion(channels) if parts.frequency else None
        self.experts = SpatialFrequencyExpertFusion(channels) if parts.experts else None

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two of (batch, C, rows, columns) → one."""
        spatial: Tensor = self.spatial(fixed, moving) if self.spatial is not None else fixed + moving
        frequency: Tensor = self.frequency(fixed, moving) if self.frequency is not None else torch.zeros_like(spatial)
        if self.experts is None:
            return spatial + frequency
        fused: Tensor = self.experts(spatial, frequency)
        return fused


class CrossAttentionSpatialFusion(nn.Module):
    """CASF: where patches of one image resemble each other, it reads the other image's patches; both ways, averaged."""

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Conv2d(channels, _WIDTH, patch, stride=patch) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(2))
        self.queries_keys_values = nn.ModuleList(nn.Linear(_WIDTH, 3 * _WIDTH, bias=False) for _ in range(2))
        self.project = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in range(2))
        self.spread = nn.ConvTranspose2d(_WIDTH, channels, patch, stride=patch)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two of (batch, C, rows, columns), divisible by the patch → their sum and what cross attention adds."""
        grid = self.embed[0](fixed)
        queries_fixed, keys_fixed, values_fixed = self._attend_to(0, grid)
        queries_moving, keys_moving, values_moving = self._attend_to(1, self.embed[1](moving))
        crossed = functional.scaled_dot_product_attention(queries_fixed, keys_fixed, values_moving)
        returned = functional.scaled_dot_product_attention(queries_moving, keys_moving, values_fixed)
        mixed = (self.project[0](_join_heads(crossed)) + self.project[1](_join_heads(returned))) / 2
        added: Tensor = self.spread(mixed.mT.reshape(grid.shape))
        return fixed + moving + added

    def _attend_to(self, which: int, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (batch, width, rows, columns) → queries, keys, values (batch, head, token, width of a head)."""
        tokens = self.norms[which](grid.flatten(2).mT)
        heads = self.queries_keys_values[which](tokens).unflatten(-1, (3, _HEADS, _WIDTH // _HEADS))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)
        return queries, keys, values


class AttentionFrequencyFusion(nn.Module):
    """AFF: both spectra mixed by a 1×1 convolution, and every frequency weighed by an attention map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(4 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, 2 * channels)
        self.attend = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two of (batch, C, rows, columns) → one."""
        # Neither sixteen bits nor their range would do for a spectrum.
        with torch.autocast(fixed.device.type, enabled=False):
            both = torch.cat([fixed, moving], dim=1).float().contiguous()
            spectrum = torch.fft.rfft2(both, norm="ortho")
            mixed = functional.relu(self.norm(self.mix(torch.cat([spectrum.real, spectrum.imag], dim=1))))
            maps = torch.cat([mixed.mean(1, keepdim=True), mixed.amax(1, keepdim=True)], dim=1)
            real, imaginary = (mixed * torch.sigmoid(self.attend(maps))).chunk(2, dim=1)
            weighed = torch.complex(real.contiguous(), imaginary.contiguous())
            fused: Tensor = torch.fft.irfft2(weighed, s=both.shape[-2:], norm="ortho")
        return fused


class SpatialFrequencyExpertFusion(nn.Module):
    """SFEF, a soft mixture of experts: a slot is a mean of pixels, a pixel a mean of what experts made of slots.

    Two of (batch, C, rows, columns) → one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = 2 * channels
        self.scale = nn.Parameter(torch.ones(width))
        self.slots = nn.Parameter(torch.randn(width, _EXPERTS * _SLOTS) / width**0.5)
        # Every expert has hidden units of its own; grouped convolutions over the slots run all four at once.
        self.experts = nn.Sequential(
            nn.Conv1d(_EXPERTS * width, _EXPERTS * 2 * width, 1, groups=_EXPERTS),
            nn.GELU(),
            nn.Conv1d(_EXPERTS * 2 * width, _EXPERTS * width, 1, groups=_EXPERTS),
        )
        self.merge = nn.Conv2d(width, channels, 1)

    def forward(self, spatial: Tensor, frequency: Tensor) -> Tensor:
        """Two of (batch, C, rows, columns) → one."""
        features = torch.cat([spatial, frequency], dim=1).contiguous(memory_format=torch.channels_last)
        batch, width, rows, columns = features.shape
        tokens = features.permute(0, 2, 3, 1).reshape(batch, rows * columns, width)
        dispatch, combine = self.weigh(tokens)
        slots = (dispatch.mT @ tokens).mT.reshape(batch, width, _EXPERTS, _SLOTS)
        answers = self.experts(slots.transpose(1, 2).reshape(batch, _EXPERTS * width, _SLOTS))
        answers = answers.reshape(batch, _EXPERTS, width, _SLOTS).transpose(2, 3).reshape(batch, -1, width)
        told = (tokens + combine @ answers).reshape(batch, rows, columns, width)
        fused: Tensor = self.merge(told.permute(0, 3, 1, 2))
        return fused

    def weigh(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (batch, pixels, 2 C) → the share of each in every slot, and of every slot in each.

        Both (batch, pixels, slots); the first sums to 1 over pixels, the second over slots.
        """
        power = tokens.float().square().mean(-1, keepdim=True)
        logits = (tokens * (power + 1e-6).rsqrt() * self.scale) @ self.slots
        return logits.softmax(1), logits.softmax(2)


class Decoder(nn.Module):
    """From the coarsest level to the finest, each beside what was fused there: → (batch, C of the finest, r, c)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        coarse_first = widths[::-1]
        self.levels = nn.ModuleList(
            _make_level(width if index == 0 else 2 * width, width // 2, narrower)
            for index, (width, narrower) in enumerate(zip(coarse_first, (*coarse_first[1:], widths[0]), strict=True))
        )

    def forward(self, fused: list[Tensor]) -> Tensor:
        """Fused maps, finest first → features at the size of the finest."""
        features: Tensor = self.levels[0](fused[-1])
        for level, finer in zip(self.levels[1:], fused[-2::-1], strict=True):
            grown = functional.interpolate(features, finer.shape[-2:], mode="bilinear", align_corners=False)
            features = level(torch.cat([grown, finer], dim=1).contiguous(memory_format=torch.channels_last))
        return features


def _make_level(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two 3×3 convolutions, normalised, no activation between them."""
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, hidden),
        nn.Conv2d(hidden, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, outputs),
        nn.GELU(),
    )


def _halve(features: Tensor) -> Tensor:
    """2×2 maximum at every pixel, then a binomial blur at every other, so that a shift by one pixel changes little."""
    peaks = functional.max_pool2d(functional.pad(features, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    channels = features.shape[1]
    taps = features.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3)
    blurred = functional.conv2d(functional.pad(peaks, (1, 1, 1, 1), mode="replicate"), kernel, None, 2, 0, 1, channels)
    return functional.gelu(blurred)


def _join_heads(attended: Tensor) -> Tensor:
    """(batch, head, token, width of a head) → (batch, token, width)."""
    return attended.transpose(1, 2).flatten(2)
