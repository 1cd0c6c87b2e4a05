"""The measures agree with their definitions written out in numpy, and a gradient flows through them."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, signal
from torch import Tensor

from fusionnode.training.measures import (
    average_gradient,
    correlate,
    correlate_differences,
    measure_edges,
    measure_information,
    measure_structure,
    sobel_edges,
)

Image = NDArray[np.float64]
three = pytest.mark.parametrize("seed", range(3))


def _draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    fixed, moving = (ndimage.gaussian_filter(rng.random((64, 58)), sigma) for sigma in (1.0, 3.0))
    fixed, moving = (image / image.max() for image in (fixed - fixed.min(), moving - moving.min()))
    fused = np.clip(0.6 * fixed + 0.5 * moving, 0, 1)
    return tuple(torch.from_numpy(image.astype(np.float32))[None, None] for image in (fused, fixed, moving))  # type: ignore[return-value]


def _plain(image: Tensor) -> Image:
    return image[0, 0].double().numpy()


def _window(taps: int, sigma: float) -> Image:
    line = np.exp(-((np.arange(taps) - (taps - 1) / 2) ** 2) / (2 * sigma**2))
    square = np.outer(line, line)
    return square / square.sum()


def _qabf(fused: Image, sources: list[Image]) -> float:
    def edges(image: Image) -> tuple[Image, Image]:
        rows, columns = ndimage.sobel(image, 0, mode="nearest"), ndimage.sobel(image, 1, mode="nearest")
        return np.hypot(rows, columns), np.arctan2(rows, columns)

    strength_fused, angle_fused = edges(fused)
    kept = total = 0.0
    for source in sources:
        strength, angle = edges(source)
        relative = np.minimum(strength, strength_fused) / np.maximum(strength, strength_fused)
        turned = np.abs((angle - angle_fused + np.pi / 2) % np.pi - np.pi / 2)
        straight = 1 - turned / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (relative - 0.5))) * 0.9879 / (1 + np.exp(-22 * (straight - 0.8)))
        kept, total = kept + (quality * strength).sum(), total + strength.sum()
    return float(kept / total)


def _ssim(one: Image, other: Image) -> float:
    def blur(image: Image) -> Image:
        return signal.convolve2d(image, _window(11, 1.5), mode="valid")

    means = blur(one), blur(other)
    variances = [blur(image * image) - mean**2 for image, mean in zip((one, other), means, strict=True)]
    covariance = blur(one * other) - means[0] * means[1]
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * means[0] * means[1] + c1) * (2 * covariance + c2)
    return float((value / ((means[0] ** 2 + means[1] ** 2 + c1) * (sum(variances) + c2))).mean())


def _vif(source: Image, fused: Image) -> float:
    gained = present = 0.0
    source, fused = 255 * source, 255 * fused
    for scale, taps in enumerate((17, 9, 5, 3)):
        window = _window(taps, taps / 5)

        def blur(image: Image, window: Image = window) -> Image:
            return signal.convolve2d(image, window, mode="valid")

        if scale:
            source, fused = blur(source)[::2, ::2], blur(fused)[::2, ::2]
        variance = blur(source**2) - blur(source) ** 2
        covariance = blur(source * fused) - blur(source) * blur(fused)
        gain = covariance / (variance + 1e-10)
        rest = blur(fused**2) - blur(fused) ** 2 - gain * covariance
        rest = np.where(gain < 0, blur(fused**2) - blur(fused) ** 2, rest)
        gain = np.maximum(gain, 0)
        gained += np.log10(1 + gain**2 * variance / (np.maximum(rest, 1e-10) + 2)).sum()
        present += np.log10(1 + variance / 2).sum()
    return float(gained / present)


@three
def test_edges_are_qabf(seed: int) -> None:
    fused, fixed, moving = _draw(seed)

    expected = _qabf(_plain(fused), [_plain(fixed), _plain(moving)])

    assert measure_edges(fused, fixed, moving).item() == pytest.approx(expected, abs=2e-3)


@three
def test_structure_is_the_mean_ssim(seed: int) -> None:
    fused, fixed, moving = _draw(seed)

    expected = (_ssim(_plain(fixed), _plain(fused)) + _ssim(_plain(moving), _plain(fused))) / 2

    assert measure_structure(fused, fixed, moving).item() == pytest.approx(expected, abs=1e-3)


@three
def test_information_is_the_sum_of_vif(seed: int) -> None:
    fused, fixed, moving = _draw(seed)

    expected = _vif(_plain(fixed), _plain(fused)) + _vif(_plain(moving), _plain(fused))

    assert measure_information(fused, fixed, moving).item() == pytest.approx(expected, rel=5e-3)


@three
def test_correlations_are_numpys(seed: int) -> None:
    fused, fixed, moving = _draw(seed)
    f, a, b = (_plain(image).ravel() for image in (fused, fixed, moving))

    assert correlate(fused, moving).item() == pytest.approx(np.corrcoef(f, b)[0, 1], abs=1e-4)
    expected = np.corrcoef(f - b, a)[0, 1] + np.corrcoef(f - a, b)[0, 1]
    assert correlate_differences(fused, fixed, moving).item() == pytest.approx(expected, abs=1e-3)


def test_the_average_gradient_of_a_ramp() -> None:
    ramp = torch.arange(20.0)[None, None, None, :].expand(1, 1, 10, 20) / 255

    # 200 pixels of √(1/2), over 9 × 19.
    assert average_gradient(ramp).item() == pytest.approx(200 * 0.5**0.5 / (9 * 19), rel=1e-5)


def test_an_image_fused_with_itself_keeps_everything() -> None:
    _, fixed, _ = _draw(0)

    assert measure_structure(fixed, fixed, fixed).item() == pytest.approx(1, abs=1e-4)
    assert measure_information(fixed, fixed, fixed).item() == pytest.approx(2, abs=2e-2)
    assert measure_edges(fixed, fixed, fixed).item() == pytest.approx(0.9988 * 0.9753, abs=0.02)


def test_sobel_edges_are_scipys() -> None:
    image = _draw(1)[0]

    columns, rows = sobel_edges(image)[0].double().numpy()

    np.testing.assert_allclose(columns, ndimage.sobel(_plain(image), 1, mode="nearest"), atol=1e-5)
    np.testing.assert_allclose(rows, ndimage.sobel(_plain(image), 0, mode="nearest"), atol=1e-5)


@pytest.mark.parametrize("measure", [measure_edges, measure_structure, measure_information, correlate_differences])
@pytest.mark.parametrize("black", ["fused", "fixed", "moving", "all"])
def test_black_images_have_a_finite_gradient(measure: object, black: str) -> None:
    images = dict(zip(("fused", "fixed", "moving"), _draw(0), strict=True))
    for name in images if black == "all" else [black]:
        images[name] = torch.zeros_like(images[name])
    images["fused"].requires_grad_()

    value = measure(**images)  # type: ignore[operator]
    value.sum().backward()

    assert torch.isfinite(value).all()
    assert torch.isfinite(images["fused"].grad).all()


def test_too_small_pictures_have_no_four_scales() -> None:
    with pytest.raises(ValueError, match="44"):
        measure_information(*torch.rand(3, 1, 1, 43, 60))
