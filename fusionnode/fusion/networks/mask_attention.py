"""Mask optimisation and parallel attention network (middle), after Di et al. 2025.

Binary Otsu masks guide three paths of convolutions; their features pass the contrast enhancement module, the detail
preserving module and the parallel attention module, and become one fused luminance. A decoupling network, used in
training only, must find both sources in the result. With C channels:

=========================  ======================================  =============
block                      shape                                   at resolution
=========================  ======================================  =============
triple path                three of (batch, 2, r, c) → C each      full
contrast, detail,          (batch, 3 C, r/2, c/2) → the same       half
attention
head                       (batch, 6 C, r, c) → two gains          full
=========================  ======================================  =============

Departures from the paper, all for speed on a processor or for safety:

- The three modules work at half resolution, on the triple path's features folded 2×2 by a convolution, and the head
  sees their answer beside the features themselves. At full resolution they take four times as long.
- The head gives every pixel a gain for each source instead of a free value, so what is black in both sources is black
  in the result by construction: no haze and nothing invented in the air around the head. The paper leaves the output
  activation open.
- Six depthwise blocks stand in three parallel paths of one, two and three blocks, with one jump over each path.
- The decoupling network may see the fourth feature layers only through a narrow view without a gradient; through the
  paper's full feedback it could rebuild the sources without looking at the fused image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fusionnode.fusion.networks.blocks import pad_to_multiple, weigh_sources

COMPACT_CHANNELS = 12
PAPER_SLOPE = 0.2
_BINS = 256


@dataclass(frozen=True)
class Parts:
    """Which modules are on; one that is off passes its input on, and masks that are off are zero."""

    masks: bool = True
    contrast: bool = True
    detail: bool = True
    attention: bool = True
    cascaded_attention: bool = False


class Feedback(StrEnum):
    """What the decoupling network sees of the fourth feature layers: nothing, a narrow view without gradient, all."""

    NONE = "none"
    NARROW = "narrow"
    FULL = "full"


@dataclass(frozen=True, eq=False)
class Composition:
    """What training needs of one pass: the result before it is limited to [0, 1], and the fourth feature layers."""

    fused: Tensor
    features_fixed: Tensor
    features_moving: Tensor


class MaskAttentionNetwork(nn.Module):
    """The fusion network.

    Args:
        channels: C, of each of the three paths.
        parts: for the ablation.
    """

    def __init__(self, channels: int = COMPACT_CHANNELS, parts: Parts | None = None) -> None:
        super().__init__()
        self.parts = parts or Parts()
        wide = 3 * channels
        self.path_fixed, self.path_moving = _convolve_times(4, channels), _convolve_times(4, channels)
        self.path_both = _convolve_times(3, channels)
        self.fold = nn.Conv2d(wide, wide, 2, stride=2)
        self.contrast = ContrastEnhancementModule(wide) if self.parts.contrast else nn.Identity()
        self.detail = DetailPreservingModule(wide) if self.parts.detail else nn.Identity()
        self.attention = (
            ParallelAttentionModule(wide, cascaded=self.parts.cascaded_attention)
            if self.parts.attention
            else nn.Identity()
        )
        self.head = _Convolution(2 * wide, channels, 3)
        self.gains = nn.Conv2d(channels, 2, 1)
        _initialise(self)

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor], parts: Parts | None = None) -> Self:
        """The network these weights belong to; its width is read from them.

        Raises:
            KeyError, RuntimeError: they belong to another network.
        """
        network = cls(weights["path_both.0.0.weight"].shape[0], parts)
        network.load_state_dict(weights)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """Two images (batch, 1, rows, columns) in [0, 1] → the fused luminance, same shape and range."""
        return self.compose(fixed, moving, otsu_mask(fixed), otsu_mask(moving)).fused.clamp(0, 1)

    def compose(self, fixed: Tensor, moving: Tensor, mask_fixed: Tensor, mask_moving: Tensor) -> Composition:
        """Fuse under given masks, which training takes from the whole picture before it crops.

        Args:
            fixed: (batch, 1, rows, columns) in [0, 1].
            moving: the same.
            mask_fixed: the same, 0 or 1.
            mask_moving: the same.
        """
        if not self.parts.masks:
            mask_fixed, mask_moving = torch.zeros_like(fixed), torch.zeros_like(moving)
        rows, columns = fixed.shape[-2:]
        padded = [pad_to_multiple(one, 2) for one in (fixed, moving, mask_fixed, mask_moving)]
        features_fixed = self.path_fixed(_join(padded[0], padded[2]))
        features_moving = self.path_moving(_join(padded[1], padded[3]))
        cascade = _join(features_fixed, features_moving, self.path_both(_join(padded[0], padded[1])))
        deep = self.attention(self.detail(self.contrast(self.fold(cascade))))
        unfolded = functional.interpolate(deep, scale_factor=2, mode="bilinear", align_corners=False)
        headed = self.head(_join(cascade, unfolded))
        # Under autocast the gains alone stay in float32, as in `weigh_sources`.
        with torch.autocast(fixed.device.type, enabled=False):
            logits = self.gains(headed.float())
        fused = weigh_sources(logits, fixed, moving)
        return Composition(fused, features_fixed[..., :rows, :columns], features_moving[..., :rows, :columns])


class DecouplingNetwork(nn.Module):
    """Finds both sources in the fused image again; only training needs it.

    Args:
        channels: C of the fusion network it belongs to.
        feedback: what it may see beside the fused image.
    """

    def __init__(self, channels: int = COMPACT_CHANNELS, feedback: Feedback = Feedback.NARROW) -> None:
        super().__init__()
        self.fixed, self.moving = (DecouplingBranch(channels, feedback) for _ in range(2))
        _initialise(self)

    def forward(self, composition: Composition) -> tuple[Tensor, Tensor]:
        """A composition → fixed and moving as they were, (batch, 1, rows, columns) each, not limited to [0, 1]."""
        return (
            self.fixed(composition.fused, composition.features_fixed),
            self.moving(composition.fused, composition.features_moving),
        )


class DecouplingBranch(nn.Module):
    """Segments of a 1×1 and a 3×3 convolution with jumps over the later three."""

    def __init__(self, channels: int, feedback: Feedback) -> None:
        super().__init__()
        self.feedback = feedback
        width = {Feedback.NONE: 0, Feedback.NARROW: 4, Feedback.FULL: channels}[feedback]
        self.stem = _make_segment(1, channels)
        self.view = nn.Conv2d(channels, width, 1) if feedback is Feedback.NARROW else nn.Identity()
        self.merge = nn.Conv2d(channels + width, channels, 1)
        self.segments = nn.ModuleList(_make_segment(channels, channels) for _ in range(3))
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, fused: Tensor, features: Tensor) -> Tensor:
        """(batch, 1, r, c) and (batch, C, r, c) → (batch, 1, r, c)."""
        deep = self.stem(fused)
        if self.feedback is not Feedback.NONE:
            seen = features.detach() if self.feedback is Feedback.NARROW else features
            deep = _join(deep, self.view(seen))
        deep = self.merge(deep)
        for segment in self.segments:
            deep = deep + segment(deep)
        source: Tensor = self.last(deep)
        return source


class ContrastEnhancementModule(nn.Module):
    """Weighs every channel by the strongest local contrast of what four kernel sizes and a residual block make of it.

    (batch, C, rows, columns) → the same. C divisible by 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_Convolution(channels, channels // 4, size) for size in (1, 3, 5, 7))
        self.residual = nn.Sequential(_Convolution(channels, channels, 3), nn.Conv2d(channels, channels, 3, padding=1))
        self.gate = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1),
            nn.LeakyReLU(PAPER_SLOPE),
            nn.Conv2d(channels // 4, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        scales = _join(*(scale(features) for scale in self.scales))
        contrast = local_contrast(scales + self.residual(scales))
        gated: Tensor = features * self.gate(contrast.amax((-2, -1), keepdim=True))
        return gated


class DetailPreservingModule(nn.Module):
    """Three parallel paths of one, two and three depthwise-separable blocks, and a jump over all of it.

    (batch, C, rows, columns) → the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Convolution(channels, channels, 3)
        self.paths = nn.ModuleList(
            nn.Sequential(*(_make_separable(channels) for _ in range(depth))) for depth in (1, 2, 3)
        )
        self.last = nn.Conv2d(3 * channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        shared = self.first(features)
        preserved: Tensor = features + self.last(_join(*(shared + path(shared) for path in self.paths)))
        return preserved


class ParallelAttentionModule(nn.Module):
    """Channel attention and spatial attention, both on the input, or one on the other's output when cascaded.

    (batch, C, rows, columns) → the same.
    """

    def __init__(self, channels: int, *, cascaded: bool = False) -> None:
        super().__init__()
        self.cascaded = cascaded
        # On maps of one pixel a 3×3 kernel is its middle, so these are 1×1.
        self.channel = nn.Sequential(
            _Convolution(2 * channels, channels // 2, 1),
            _Convolution(channels // 2, channels // 2, 1),
            nn.Conv2d(channels // 2, channels, 1),
            nn.Sigmoid(),
        )
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, 3, padding=1), nn.Sigmoid())
        self.combine = _Convolution(2 * channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, C, rows, columns) → the same."""
        pooled = _join(features.mean((-2, -1), keepdim=True), features.amax((-2, -1), keepdim=True))
        by_channel = features * self.channel(pooled)
        seen = by_channel if self.cascaded else features
        by_place = seen * self.spatial(_join(seen.mean(1, keepdim=True), seen.amax(1, keepdim=True)))
        combined: Tensor = self.combine(_join(by_channel, by_place))
        return combined


def otsu_mask(image: Tensor) -> Tensor:
    """Foreground after Otsu: 1 above the threshold that maximises the variance between both classes.

    Args:
        image: (batch, 1, rows, columns) in [0, 1]; each image has its own threshold, over 256 grey levels.

    Returns:
        0 or 1, same shape and type; all 0 for a constant image. No gradient flows.
    """
    grey = (image.detach() * (_BINS - 1)).round().long().flatten(1)
    batch = torch.arange(len(grey), device=grey.device)[:, None]
    counts = torch.bincount((grey + batch * _BINS).flatten(), minlength=len(grey) * _BINS).view(-1, _BINS).double()
    below = counts.cumsum(1)
    mass = (counts * torch.arange(_BINS, device=grey.device)).cumsum(1)
    shares = below * (below[:, -1:] - below)
    spread = (mass * below[:, -1:] - mass[:, -1:] * below).square() / shares.clamp_min(1)
    best, threshold = torch.where(shares > 0, spread, 0.0).max(dim=1, keepdim=True)
    return ((grey > threshold) & (best > 0)).to(image.dtype).view_as(image)


def local_contrast(features: Tensor, radius: int = 2) -> Tensor:
    """The paper's eq. (7): standard deviation over a window of (2 radius + 1)² pixels, at borders those that exist.

    Args:
        features: (batch, channels, rows, columns).
        radius: half the window, in pixels.

    Returns:
        The same shape, never below 0.001, where a root still has a gradient.
    """
    features = features.float()
    mean, power = _average_window(features, radius), _average_window(features * features, radius)
    return ((power - mean * mean).clamp_min(0) + 1e-6).sqrt()


def _average_window(features: Tensor, radius: int) -> Tensor:
    size = 2 * radius + 1
    rows = functional.avg_pool2d(features, (size, 1), 1, (radius, 0), count_include_pad=False)
    return functional.avg_pool2d(rows, (1, size), 1, (0, radius), count_include_pad=False)


class _Convolution(nn.Sequential):
    """A convolution that keeps the size, and the paper's leaky rectifier."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, size, padding=size // 2), nn.LeakyReLU(PAPER_SLOPE, inplace=True))


def _convolve_times(depth: int, channels: int) -> nn.Sequential:
    return nn.Sequential(_Convolution(2, channels, 3), *(_Convolution(channels, channels, 3) for _ in range(depth - 1)))


def _make_segment(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), _Convolution(outputs, outputs, 3))


def _make_separable(channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    return nn.Sequential(depthwise, _Convolution(channels, channels, 1))


def _join(*maps: Tensor) -> Tensor:
    # One channel makes the memory order ambiguous; processors run these convolutions twice as fast in this one.
    return torch.cat(maps, dim=1).contiguous(memory_format=torch.channels_last)


def _initialise(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            nn.init.kaiming_normal_(layer.weight, a=PAPER_SLOPE)
            nn.init.zeros_(layer.bias)
