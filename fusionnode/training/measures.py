"""Image fusion measures that a gradient flows through (middle): what the balanced loss is made of.

Everything takes luminances (batch, 1, rows, columns) in [0, 1] and returns one value per image, (batch,). The values
follow the field's definitions to within smoothing of their kinks; published figures come from the evaluation, never
from here.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_LEVELS = 255.0
_TINY = 1e-6
_SSIM_TAPS, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_VIF_TAPS = (17, 9, 5, 3)
_VIF_NOISE = 2.0
_STRENGTH = (0.9994, 15.0, 0.5)
_ANGLE = (0.9879, 22.0, 0.8)
"""Ceiling, slope and middle of the sigmoids of Xydeas and Petrović 2000."""


def measure_edges(fused: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    """Qabf (Xydeas and Petrović 2000): how much of both sources' edges is in the result, 0 … about 1.

    Orientation is compared modulo half a turn, so edges near the vertical are not torn apart as they are by a
    difference of arc tangents; where that never happens the two agree.
    """
    edges_fused = sobel_edges(fused)
    kept, total = torch.zeros_like(fused[:, 0, 0, 0]), torch.zeros_like(fused[:, 0, 0, 0])
    for source in (fixed, moving):
        edges = sobel_edges(source)
        strength = edges.square().sum(1).add(_TINY**2).sqrt()
        kept = kept + (_edge_preservation(edges, edges_fused) * strength).sum((-2, -1))
        total = total + strength.sum((-2, -1))
    return kept / total


def measure_structure(fused: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    """SSIM with an 11×11 Gaussian window of σ 1.5, the mean over both sources, over windows inside the picture."""
    blur = _Blur(_SSIM_TAPS, _SSIM_SIGMA)
    mean, power = blur(fused), blur(fused * fused)
    values = [_ssim(blur, fused, source, mean, power) for source in (fixed, moving)]
    return (values[0] + values[1]) / 2


def measure_information(fused: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    """VIF in the pixel domain over four scales (Sheikh and Bovik 2006), the sum over both sources.

    Raises:
        ValueError: a side is below 44 pixels, where the coarsest scale holds nothing.
    """
    if min(fused.shape[-2:]) < 44:
        raise ValueError(f"four scales need 44 rows and columns, not {tuple(fused.shape[-2:])}")
    images = [image * _LEVELS for image in (fused, fixed, moving)]
    gained = [torch.zeros_like(fused[:, 0, 0, 0]) for _ in range(2)]
    present = [torch.zeros_like(fused[:, 0, 0, 0]) for _ in range(2)]
    for scale, taps in enumerate(_VIF_TAPS):
        blur = _Blur(taps, taps / 5)
        if scale:
            images = [blur(image)[..., ::2, ::2] for image in images]
        for index, source in enumerate(images[1:]):
            gain, known = _information(blur, images[0], source)
            gained[index] = gained[index] + gain
            present[index] = present[index] + known
    return gained[0] / present[0] + gained[1] / present[1]


def correlate(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's r of two images; 0 where one of them is flat."""
    first, second = (image.flatten(1) - image.flatten(1).mean(1, keepdim=True) for image in (first, second))
    norm = (first.square().sum(1) * second.square().sum(1) + _TINY**2).sqrt()
    return (first * second).sum(1) / norm


def correlate_differences(fused: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
    """SCD (Aslantas and Bendes 2015): what remains after taking one source away should be the other, −2 … 2."""
    return correlate(fused - moving, fixed) + correlate(fused - fixed, moving)


def average_gradient(image: Tensor) -> Tensor:
    """AG: the mean of √((gx² + gy²) / 2) with central differences, in grey levels of 255."""
    rows, columns = torch.gradient(image[:, 0] * _LEVELS, dim=(-2, -1))
    size = (image.shape[-2] - 1) * (image.shape[-1] - 1)
    return ((rows.square() + columns.square()) / 2 + _TINY).sqrt().sum((-2, -1)) / size


def smooth_luminance(image: Tensor) -> Tensor:
    """Under a Gaussian window of σ 2, where it lies wholly inside: (batch, 1, r, c) → (batch, 1, r − 8, c − 8)."""
    return _Blur(9, 2.0)(image)


def sobel_edges(image: Tensor) -> Tensor:
    """Sobel differences along columns and rows, (batch, 1, r, c) → (batch, 2, r, c); the border goes on as it is."""
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    down = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    across = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    return torch.cat([down[..., 2:] - down[..., :-2], across[..., 2:, :] - across[..., :-2, :]], dim=1)


class _Blur:
    """A Gaussian window over what lies wholly inside the picture, as two products with banded matrices.

    On a processor two dense products are several times faster than a convolution of one channel.
    """

    def __init__(self, taps: int, sigma: float) -> None:
        self.taps, self.sigma = taps, sigma

    def __call__(self, image: Tensor) -> Tensor:
        rows, columns = (_band(size, self.taps, self.sigma).to(image.device, image.dtype) for size in image.shape[-2:])
        return rows @ image @ columns.mT


@cache
def _band(size: int, taps: int, sigma: float) -> Tensor:
    offsets = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    window = torch.exp(-offsets.square() / (2 * sigma**2))
    band = torch.zeros(size - taps + 1, size, dtype=torch.float64)
    for row in range(len(band)):
        band[row, row : row + taps] = window / window.sum()
    return band.float()


def _edge_preservation(edges: Tensor, edges_fused: Tensor) -> Tensor:
    first, second = (pair.square().sum(1).add(_TINY**2).sqrt() for pair in (edges, edges_fused))
    strength = torch.minimum(first, second) / torch.maximum(first, second)
    dot = (edges * edges_fused).sum(1).abs()
    cross = (edges[:, 0] * edges_fused[:, 1] - edges[:, 1] * edges_fused[:, 0]).abs()
    # The small term gives flat places the angle 0, and the arc tangent a gradient there.
    angle = 1 - torch.atan2(cross, dot + _TINY**2) / (math.pi / 2)
    return _sigmoid(strength, _STRENGTH) * _sigmoid(angle, _ANGLE)


def _sigmoid(value: Tensor, shape: tuple[float, float, float]) -> Tensor:
    ceiling, slope, middle = shape
    return ceiling * torch.sigmoid(slope * (value - middle))


def _ssim(blur: _Blur, fused: Tensor, source: Tensor, mean_fused: Tensor, power_fused: Tensor) -> Tensor:
    mean = blur(source)
    product = mean * mean_fused
    squares = mean * mean + mean_fused * mean_fused
    covariance = blur(source * fused) - product
    variances = blur(source * source) + power_fused - squares
    value = (2 * product + _SSIM_C1) * (2 * covariance + _SSIM_C2) / ((squares + _SSIM_C1) * (variances + _SSIM_C2))
    return value.mean((1, 2, 3))


def _information(blur: _Blur, fused: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Of one scale: the information about the source in the result, and in the source itself."""
    mean, mean_fused = blur(source), blur(fused)
    variance = (blur(source * source) - mean * mean).clamp_min(0)
    variance_fused = (blur(fused * fused) - mean_fused * mean_fused).clamp_min(0)
    covariance = blur(source * fused) - mean * mean_fused
    gain = (covariance / (variance + 1e-4)).clamp_min(0)
    rest = (variance_fused - gain * covariance).clamp_min(1e-4)
    gained = torch.log10(1 + gain * gain * variance / (rest + _VIF_NOISE)).sum((1, 2, 3))
    return gained, torch.log10(1 + variance / _VIF_NOISE).sum((1, 2, 3)) + 1e-4
