"""Dilated residual attention network with the softmax nuclear norm rule (middle).

M. Zhou, X. Xu, Y. Zhang, "An Attention-based Multi-Scale Feature Learning Network for Multimodal Medical Image
Fusion", 2022, arXiv:2212.04661.

An auto-encoder, trained on single images of either modality; two images meet only at fusion time, as one weighted
sum of their features. With C channels, everything at full resolution:

==================  ======================================  =============
block               shape                                   parameters
==================  ======================================  =============
feature extractor   (batch, 1, r, c) → (batch, C, r, c)     39 C² + 9 C
fusion rule         two of (batch, C, r, c) → one           none
reconstructor       (batch, C, r, c) → (batch, 1, r, c)     13.5 C² + 4.5 C
==================  ======================================  =============

Where the paper leaves room: average pooling of an odd row or column averages the pixels that exist, so any size
passes without padding; the reconstructor has leaky rectifiers between its convolutions, as in the authors' later work,
for without them it would be one linear filter, and no biases: features of a black place are zero, so what is black in
both sources stays black, but for three pixels around what is not; batch normalisation uses its running statistics when
fusing.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

PAPER_CHANNELS = 64
PAPER_DILATIONS = (1, 3, 5)


class NormStatistic(StrEnum):
    """How the nuclear norms of the channels become one number per image; ``MAXIMUM`` is the paper's."""

    MAXIMUM = "maximum"
    MEAN = "mean"


class DilatedResidualAttentionNetwork(nn.Module):
    """The auto-encoder, and the fuser made of it.

    Args:
        channels: C, even.
        dilations: of the parallel 3×3 convolutions.
        attention: False replaces every attention map by ones, for the ablation.
        statistic: of the fusion rule; has no parameters, so it can be chosen after training.
    """

    def __init__(
        self,
        channels: int = PAPER_CHANNELS,
        *,
        dilations: tuple[int, ...] = PAPER_DILATIONS,
        attention: bool = True,
        statistic: NormStatistic = NormStatistic.MAXIMUM,
    ) -> None:
        super().__init__()
        self.statistic = statistic
        self.extractor = FeatureExtractor(channels, dilations, attention=attention)
        self.reconstructor = Reconstructor(channels)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], statistic: NormStatistic = NormStatistic.MAXIMUM) -> Self:
        """The network these weights belong to; its width is read from them.

        Raises:
            KeyError, RuntimeError: they belong to another network.
        """
        network = cls(weights["extractor.lift.weight"].shape[0], statistic=statistic)
        network.load_state_dict(weights)
        return network

    def encode(self, image: Tensor) -> Tensor:
        """(batch, 1, rows, columns) in [0, 1] → features (batch, C, rows, columns)."""
        features: Tensor = self.extractor(image)
        return features

    def decode(self, features: Tensor) -> Tensor:
        """Features (batch, C, rows, columns) → (batch, 1, rows, columns), not limited to [0, 1]."""
        image: Tensor = self.reconstructor(features)
        return image

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two images (batch, 1, rows, columns) in [0, 1] → the fused luminance, same shape and range."""
        features_fixed, features_moving = self.encode(fixed), self.encode(moving)
        weights = softmax_nuclear_norm_weights(features_fixed, features_moving, self.statistic).to(fixed.dtype)
        weight_fixed, weight_moving = weights[:, :, None, None, None].unbind(1)
        return self.decode(weight_fixed * features_fixed + weight_moving * features_moving).clamp(0, 1)


def softmax_nuclear_norm_weights(
    features_fixed: Tensor, features_moving: Tensor, statistic: NormStatistic = NormStatistic.MAXIMUM
) -> Tensor:
    """The paper's fusion rule: one pair of weights per image, no parameters.

    Args:
        features_fixed: (batch, channels, rows, columns).
        features_moving: the same shape.
        statistic: over the channels' norms.

    Returns:
        float64 (batch, 2), fixed then moving, each row summing to 1.
    """
    squares = torch.stack(
        [_activity(features_fixed, statistic) ** 2, _activity(features_moving, statistic) ** 2], dim=1
    )
    return squares / squares.sum(dim=1, keepdim=True)


def nuclear_norms(maps: Tensor) -> Tensor:
    """Sum of singular values of every (rows, columns) matrix, by the eigenvalues of its Gram matrix.

    Several times faster than a singular value decomposition.

    Args:
        maps: (..., rows, columns).

    Returns:
        float64 (...).
    """
    # Squaring halves the digits that small singular values keep, so the Gram matrix needs twice as many.
    maps = _merge_equal_rows(_merge_equal_rows(maps.double()).mT)
    wide = maps if maps.shape[-2] <= maps.shape[-1] else maps.mT
    eigenvalues: Tensor = torch.linalg.eigvalsh(wide @ wide.mT)
    return eigenvalues.clamp_min(0).sqrt().sum(-1)


def pool_upsample_rectify(image: Tensor) -> Tensor:
    """PUR, the attention map of every stage: 2×2 average pooling, nearest up-sampling, ReLU. Keeps the shape."""
    pooled = functional.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)
    rows, columns = image.shape[-2:]
    upsampled = pooled.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    return functional.relu(upsampled[..., :rows, :columns])


class FeatureExtractor(nn.Module):
    """Lift to C channels, parallel dilated convolutions, merge, one dilated residual attention block, and attention.

    (batch, 1, rows, columns) → (batch, C, rows, columns).
    """

    def __init__(self, channels: int, dilations: tuple[int, ...], *, attention: bool) -> None:
        super().__init__()
        self.attend = _choose_attention(attention)
        self.lift = nn.Conv2d(1, channels, 1)
        self.scales = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=d, dilation=d) for d in dilations)
        self.merge = nn.Conv2d(len(dilations) * channels, channels, 1)
        # One normalisation for two places, as the authors have it.
        self.normalise = nn.BatchNorm2d(channels)
        self.residual = DilatedResidualAttention(channels, attention=attention)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 1, rows, columns) → (batch, C, rows, columns)."""
        lifted: Tensor = image + self.attend(image) * self.lift(image)
        merged = self.normalise(self.merge(torch.cat([scale(lifted) for scale in self.scales], dim=1)))
        deep: Tensor = self.normalise(self.residual(merged))
        return lifted + self.attend(lifted) * deep


class DilatedResidualAttention(nn.Module):
    """One 3×3 convolution applied once, twice and three times (receptive fields 3, 5, 7), summed under attention.

    (batch, C, rows, columns) → the same.
    """

    def __init__(self, channels: int, *, attention: bool) -> None:
        super().__init__()
        self.attend = _choose_attention(attention)
        self.shared = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        once: Tensor = self.shared(features)
        twice: Tensor = self.shared(once)
        thrice: Tensor = self.shared(twice)
        return features + self.attend(features) * (once + twice + thrice)


class Reconstructor(nn.Sequential):
    """Three 3×3 convolutions C → C → C/2 → 1: (batch, C, rows, columns) → (batch, 1, rows, columns)."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels // 2, 1, 3, padding=1, bias=False),
        )


def _merge_equal_rows(maps: Tensor) -> Tensor:
    """Put √n times the row for n equal neighbours in all maps, as black margins have: singular values stay the same."""
    differs = (maps[..., 1:, :] != maps[..., :-1, :]).flatten(end_dim=-3).any(0).any(-1)
    run = functional.pad(differs.long().cumsum(0), (1, 0))
    first = functional.pad(differs, (1, 0), value=True)
    return maps[..., first, :] * torch.bincount(run).to(maps.dtype).sqrt()[:, None]


def _choose_attention(wanted: bool) -> Callable[[Tensor], Tensor]:
    return pool_upsample_rectify if wanted else torch.ones_like


def _activity(features: Tensor, statistic: NormStatistic) -> Tensor:
    norms = nuclear_norms(functional.softmax(features, dim=1))
    return norms.amax(dim=1) if statistic is NormStatistic.MAXIMUM else norms.mean(dim=1)
