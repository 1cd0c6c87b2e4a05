"""The classic metrics of image fusion (middle): three 8-bit luminance pictures → figures. numpy only.

Definitions follow the MATLAB set that the field quotes (L. Tang, X. Gu), on 0–255, without masks; its known mistakes
are told where they are mended. Pictures are uint8 [row, column]. Correlation with a picture that is all one grey is
undefined and counts as 0, so a blank result scores nothing instead of breaking every mean it enters.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = NDArray[np.uint8]
"""Luminance, uint8 [row, column]."""
_Plane: TypeAlias = NDArray[np.float64]

CLASSIC = ("AG", "EN", "SF", "MI", "CC", "SD", "SCD", "VIF", "Qabf", "SSIM")
"""The ten by which fusers are ranked; more is better in each."""

SMALLEST = 41
"""Rows and columns that VIF needs on its coarsest scale."""

_LEVELS = 256
_VIF_NOISE = 2.0
_VIF_TINY = 1e-10


def measure_metrics(fixed: Picture, moving: Picture, fused: Picture) -> dict[str, float]:
    """All metrics of one fused picture, by name: `CLASSIC`, and SD_u8.

    Raises:
        ValueError: the pictures differ in shape, are not uint8, or are smaller than `SMALLEST`.
    """
    require_pictures(fixed, moving, fused)
    return {
        "AG": measure_average_gradient(fused),
        "EN": measure_entropy(fused),
        "SF": measure_spatial_frequency(fused),
        "MI": measure_mutual_information(fixed, fused) + measure_mutual_information(moving, fused),
        "CC": (correlate(fixed, fused) + correlate(moving, fused)) / 2,
        "SD": float(fused.std()),
        "SCD": measure_correlation_of_differences(fixed, moving, fused),
        "VIF": measure_visual_fidelity(fixed, fused) + measure_visual_fidelity(moving, fused),
        "Qabf": measure_edge_preservation(fixed, moving, fused),
        "SSIM": (measure_structural_similarity(fixed, fused) + measure_structural_similarity(moving, fused)) / 2,
        "SD_u8": measure_saturated_deviation(fused),
    }


def require_pictures(*pictures: Picture) -> None:
    """Raise ValueError unless all are uint8 [row, column] of one shape, large enough to be measured."""
    shapes = {picture.shape for picture in pictures}
    shape = next(iter(shapes))
    if len(shapes) > 1 or len(shape) != 2 or min(shape) < SMALLEST:
        raise ValueError(f"pictures of one shape, at least {SMALLEST} by {SMALLEST}, are needed, not {shapes}")
    if any(picture.dtype != np.uint8 for picture in pictures):
        raise ValueError(f"8-bit pictures are needed, not {[str(picture.dtype) for picture in pictures]}")


def measure_average_gradient(fused: Picture) -> float:
    """AG = Σ √((gx² + gy²) / 2) / ((rows − 1)(columns − 1)), gradients central inside and one-sided at borders."""
    down, across = np.gradient(fused.astype(np.float64))
    rows, columns = fused.shape
    return float(np.sqrt((down**2 + across**2) / 2).sum() / ((rows - 1) * (columns - 1)))


def measure_entropy(fused: Picture) -> float:
    """EN in bits, of the 256 grey levels."""
    return _entropy_of_counts(np.bincount(fused.ravel(), minlength=_LEVELS))


def measure_spatial_frequency(fused: Picture) -> float:
    """SF = √(RF² + CF²), the root mean squares of first differences along rows and along columns."""
    plane = fused.astype(np.float64)
    return float(np.sqrt((np.diff(plane, axis=1) ** 2).mean() + (np.diff(plane, axis=0) ** 2).mean()))


def measure_mutual_information(source: Picture, fused: Picture) -> float:
    """I(source; fused) = H(source) + H(fused) − H(source, fused) in bits, of 256 × 256 grey levels. MI sums two."""
    joint = np.bincount(source.ravel().astype(np.int64) * _LEVELS + fused.ravel(), minlength=_LEVELS**2)
    return measure_entropy(source) + measure_entropy(fused) - _entropy_of_counts(joint)


def correlate(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Pearson's r of two arrays of one shape; 0 where either is constant."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    first, second = first - first.mean(), second - second.mean()
    spread = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / spread) if spread > 0 else 0.0


def measure_correlation_of_differences(fixed: Picture, moving: Picture, fused: Picture) -> float:
    """SCD = r(fused − moving, fixed) + r(fused − fixed, moving), from −2 to 2 (Aslantas and Bendes 2015)."""
    first, second, result = (picture.astype(np.int16) for picture in (fixed, moving, fused))
    return correlate(result - second, fixed) + correlate(result - first, moving)


def measure_saturated_deviation(fused: Picture) -> float:
    """SD_u8: the "SD" of the MATLAB set before March 2023, at most √255; a bridge to old tables and nothing else.

    Given 8-bit integers, MATLAB rounds, makes 0 of what lies below the mean, and 255 of every square above that.
    """
    above = np.floor(np.maximum(fused - fused.mean(), 0) + 0.5)
    return float(np.sqrt(np.minimum(above**2, 255).mean()))


def measure_visual_fidelity(source: Picture, fused: Picture) -> float:
    """Pixel-domain multi-scale VIF (Sheikh and Bovik 2006) of four scales, noise variance 2. VIF sums two."""
    reference, distorted = source.astype(np.float64), fused.astype(np.float64)
    kept = carried = 0.0
    for size in (17, 9, 5, 3):
        taps = _gaussian_taps(size, size / 5)
        if size < 17:
            reference, distorted = (_smooth(plane, taps)[::2, ::2] for plane in (reference, distorted))
        gained, of = _weigh_information(reference, distorted, taps)
        kept, carried = kept + gained, carried + of
    return kept / carried if carried > 0 else 0.0


def measure_edge_preservation(fixed: Picture, moving: Picture, fused: Picture) -> float:
    """Qabf (Xydeas and Petrović 2000), from 0 to 0.975, with zeros beyond the border as in the MATLAB set.

    Where a source's gradient is exactly as strong as the result's, that set takes the strength itself for the relative
    strength; here it is 1. 0 where no source has an edge.
    """
    result = _find_edges(fused)
    kept = weights = 0.0
    for source in (fixed, moving):
        strength, angle = _find_edges(source)
        kept += float((_rate_edges((strength, angle), result) * strength).sum())
        weights += float(strength.sum())
    return kept / weights if weights > 0 else 0.0


def measure_structural_similarity(source: Picture, fused: Picture) -> float:
    """SSIM (Wang et al. 2004): 11 × 11 Gaussian of σ 1.5, K 0.01 and 0.03, where the window fits. SSIM averages two."""
    mean_a, mean_b, var_a, var_b, covariance = _local_moments(
        source.astype(np.float64), fused.astype(np.float64), _gaussian_taps(11, 1.5)
    )
    steady, firm = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    brightness = (2 * mean_a * mean_b + steady) / (mean_a**2 + mean_b**2 + steady)
    structure = (2 * covariance + firm) / (var_a + var_b + firm)
    return float((brightness * structure).mean())


def _entropy_of_counts(counts: NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    # Adding 0 turns the −0 of a blank picture into 0.
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def _gaussian_taps(size: int, sigma: float) -> _Plane:
    offsets = np.arange(size) - (size - 1) / 2
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    normed: _Plane = taps / taps.sum()
    return normed


def _smooth(planes: _Plane, taps: _Plane) -> _Plane:
    """Filter the last two axes with a symmetric kernel, only where it fits."""
    for axis in (-2, -1):
        size = planes.shape[axis] - len(taps) + 1
        moved = np.moveaxis(planes, axis, 0)
        total = taps[len(taps) // 2] * moved[len(taps) // 2 :][:size]
        for offset in range(len(taps) // 2):
            total += taps[offset] * (moved[offset:][:size] + moved[len(taps) - 1 - offset :][:size])
        planes = np.moveaxis(total, 0, axis)
    return planes


def _local_moments(one: _Plane, other: _Plane, taps: _Plane) -> tuple[_Plane, _Plane, _Plane, _Plane, _Plane]:
    """Means, variances and covariance under a window."""
    mean_one, mean_other, one_one, other_other, one_other = _smooth(
        np.stack((one, other, one * one, other * other, one * other)), taps
    )
    return (
        mean_one,
        mean_other,
        one_one - mean_one**2,
        other_other - mean_other**2,
        one_other - mean_one * mean_other,
    )


def _weigh_information(reference: _Plane, distorted: _Plane, taps: _Plane) -> tuple[float, float]:
    """Information of the reference that the distorted plane keeps, and that the reference carries, on one scale."""
    _, _, source, result, shared = _local_moments(reference, distorted, taps)
    source, result = np.maximum(source, 0), np.maximum(result, 0)
    gain = shared / (source + _VIF_TINY)
    flat_source, flat_result = source < _VIF_TINY, result < _VIF_TINY
    gain[flat_source | flat_result] = 0
    noise = result - gain * shared
    noise[flat_source] = result[flat_source]
    source[flat_source] = 0
    noise[flat_result] = 0
    opposed = gain < 0
    noise[opposed] = result[opposed]
    gain[opposed] = 0
    noise = np.maximum(noise, _VIF_TINY)
    kept = np.log10(1 + gain**2 * source / (noise + _VIF_NOISE)).sum()
    return float(kept), float(np.log10(1 + source / _VIF_NOISE).sum())


def _find_edges(picture: Picture) -> tuple[_Plane, _Plane]:
    """Sobel strength and angle; upright edges, and no edge at all, have the angle π/2."""
    padded = np.pad(picture.astype(np.float64), 1)
    left_right = padded[:, :-2] - padded[:, 2:]
    down_up = padded[2:] - padded[:-2]
    across = left_right[:-2] + 2 * left_right[1:-1] + left_right[2:]
    down = down_up[:, :-2] + 2 * down_up[:, 1:-1] + down_up[:, 2:]
    angle = np.full(picture.shape, np.pi / 2)
    slanted = across != 0
    angle[slanted] = np.arctan(down[slanted] / across[slanted])
    return np.hypot(across, down), angle


def _rate_edges(source: tuple[_Plane, _Plane], result: tuple[_Plane, _Plane]) -> _Plane:
    """How much of each edge of a source is in the result, by strength and by angle."""
    stronger, weaker = np.maximum(source[0], result[0]), np.minimum(source[0], result[0])
    strength = np.ones_like(stronger)
    np.divide(weaker, stronger, out=strength, where=stronger > 0)
    angle = 1 - np.abs(source[1] - result[1]) / (np.pi / 2)
    rated: _Plane = (0.9994 / (1 + np.exp(-15 * (strength - 0.5)))) * (0.9879 / (1 + np.exp(-22 * (angle - 0.8))))
    return rated
