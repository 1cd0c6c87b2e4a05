"""Every metric against someone else's implementation, or a sum done by hand; then its laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import signal, stats
from skimage.measure import shannon_entropy
from skimage.metrics import structural_similarity

from fusionnode.evaluation import metrics
from fusionnode.evaluation.metrics import CLASSIC, SMALLEST, measure_metrics
from fusionnode.fusion.colour import luminance
from tests.support.pictures import colour, make_grey, make_uptake

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def triple() -> tuple[Picture, Picture, Picture]:
    fixed = make_grey(61, 72)
    moving = np.rint(luminance(colour(make_uptake(61, 72))) * 255).astype(np.uint8)
    noise = np.random.default_rng(3).normal(0, 6, fixed.shape)
    fused = np.clip(0.6 * fixed + 0.7 * moving + noise, 0, 255).astype(np.uint8)
    return fixed, moving, fused


@pytest.fixture(scope="module")
def figures(triple: tuple[Picture, Picture, Picture]) -> dict[str, float]:
    return measure_metrics(*triple)


# ------------------------------------------------------------------------------------------ against other people's code


def test_ssim_is_scikit_image_s(triple: tuple[Picture, Picture, Picture], figures: dict[str, float]) -> None:
    fixed, moving, fused = triple
    theirs = [
        structural_similarity(
            source, fused, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for source in (fixed, moving)
    ]
    assert figures["SSIM"] == pytest.approx(sum(theirs) / 2, abs=1e-9)


def test_entropy_is_scikit_image_s(triple: tuple[Picture, Picture, Picture], figures: dict[str, float]) -> None:
    assert figures["EN"] == pytest.approx(shannon_entropy(triple[2], base=2), abs=1e-9)


def test_correlations_are_scipy_s(triple: tuple[Picture, Picture, Picture], figures: dict[str, float]) -> None:
    fixed, moving, fused = (picture.ravel().astype(float) for picture in triple)

    def r(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float(stats.pearsonr(one, other).statistic)

    assert figures["CC"] == pytest.approx((r(fixed, fused) + r(moving, fused)) / 2, abs=1e-9)
    assert figures["SCD"] == pytest.approx(r(fused - moving, fixed) + r(fused - fixed, moving), abs=1e-9)


def test_mutual_information_is_the_divergence_from_independence(
    triple: tuple[Picture, Picture, Picture], figures: dict[str, float]
) -> None:
    total = 0.0
    for source in triple[:2]:
        counts, _, _ = np.histogram2d(source.ravel(), triple[2].ravel(), bins=256, range=((-0.5, 255.5),) * 2)
        joint = counts / counts.sum()
        apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        total += stats.entropy(joint.ravel(), apart.ravel(), base=2)
    assert figures["MI"] == pytest.approx(total, abs=1e-9)


def test_average_gradient_and_spatial_frequency_pixel_by_pixel(
    triple: tuple[Picture, Picture, Picture], figures: dict[str, float]
) -> None:
    plane = triple[2].astype(int).tolist()
    rows, columns = len(plane), len(plane[0])

    def slope(before: int, after: int, limit: int, value) -> float:  # type: ignore[no-untyped-def]
        low, high = max(before, 0), min(after, limit - 1)
        return (value(high) - value(low)) / (high - low)

    total = 0.0
    for i in range(rows):
        for j in range(columns):
            down = slope(i - 1, i + 1, rows, lambda k, j=j: plane[k][j])
            across = slope(j - 1, j + 1, columns, lambda k, i=i: plane[i][k])
            total += math.sqrt((down**2 + across**2) / 2)
    assert figures["AG"] == pytest.approx(total / ((rows - 1) * (columns - 1)), abs=1e-9)
    along = [(plane[i][j + 1] - plane[i][j]) ** 2 for i in range(rows) for j in range(columns - 1)]
    below = [(plane[i + 1][j] - plane[i][j]) ** 2 for i in range(rows - 1) for j in range(columns)]
    assert figures["SF"] == pytest.approx(math.sqrt(sum(along) / len(along) + sum(below) / len(below)), abs=1e-9)


def _vif_with_whole_windows(source: NDArray[np.float64], fused: NDArray[np.float64]) -> float:
    """The published formula with two-dimensional windows and scipy's convolution."""
    kept = carried = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        offsets = np.arange(size) - size // 2
        window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * (size / 5) ** 2))
        window /= window.sum()

        def smooth(plane: NDArray[np.float64], window: NDArray[np.float64] = window) -> NDArray[np.float64]:
            return np.asarray(signal.convolve2d(plane, window, mode="valid"))

        if scale > 1:
            source, fused = smooth(source)[::2, ::2], smooth(fused)[::2, ::2]
        of_source = np.maximum(smooth(source * source) - smooth(source) ** 2, 0)
        of_fused = np.maximum(smooth(fused * fused) - smooth(fused) ** 2, 0)
        shared = smooth(source * fused) - smooth(source) * smooth(fused)
        for s, f, c in zip(of_source.flat, of_fused.flat, shared.flat, strict=True):
            gain = 0.0 if s < 1e-10 or f < 1e-10 else max(c / (s + 1e-10), 0)
            noise = 1e-10 if f < 1e-10 else max(f - gain * c, 1e-10)
            kept += math.log10(1 + gain**2 * s / (noise + 2))
            carried += math.log10(1 + s / 2)
    return kept / carried


def test_vif_with_whole_windows(triple: tuple[Picture, Picture, Picture], figures: dict[str, float]) -> None:
    fixed, moving, fused = (picture.astype(float) for picture in triple)
    theirs = _vif_with_whole_windows(fixed, fused) + _vif_with_whole_windows(moving, fused)
    assert figures["VIF"] == pytest.approx(theirs, abs=1e-6)


def _qabf_pixel_by_pixel(fixed: Picture, moving: Picture, fused: Picture) -> float:
    """As circulated, with scipy's convolution, but for the relative strength of equal gradients."""
    down_kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
    edges = []
    for picture in (fixed, moving, fused):
        across = signal.convolve2d(picture.astype(float), np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]), mode="same")
        down = signal.convolve2d(picture.astype(float), down_kernel, mode="same")
        slopes = zip(across.ravel(), down.ravel(), strict=True)
        edges.append([(math.hypot(x, y), math.atan(y / x) if x else math.pi / 2) for x, y in slopes])
    kept = weights = 0.0
    for source in edges[:2]:
        for (g, alpha), (g_fused, alpha_fused) in zip(source, edges[2], strict=True):
            relative = 1.0 if g == g_fused else min(g, g_fused) / max(g, g_fused)
            turned = 1 - abs(alpha - alpha_fused) / (math.pi / 2)
            by_strength = 0.9994 / (1 + math.exp(-15 * (relative - 0.5)))
            kept += g * by_strength * 0.9879 / (1 + math.exp(-22 * (turned - 0.8)))
            weights += g
    return kept / weights


def test_qabf_pixel_by_pixel(triple: tuple[Picture, Picture, Picture], figures: dict[str, float]) -> None:
    assert figures["Qabf"] == pytest.approx(_qabf_pixel_by_pixel(*triple), abs=1e-9)


# -------------------------------------------------------------------------------------------------------------- by hand


def _stripes(dark: int, bright: int, width: int = 1) -> Picture:
    columns = np.arange(48) // width % 2
    return np.where(columns[None] == 0, dark, bright).repeat(48, axis=0).astype(np.uint8)


def test_stripes_by_hand() -> None:
    stripes = _stripes(100, 120)
    assert metrics.measure_entropy(stripes) == pytest.approx(1)
    assert stripes.std() == 10
    assert metrics.measure_spatial_frequency(stripes) == pytest.approx(20)
    # Central differences of single stripes vanish; only both border columns see the step of 20.
    assert metrics.measure_average_gradient(stripes) == pytest.approx(2 * 48 * 20 / math.sqrt(2) / 47**2)
    assert metrics.measure_mutual_information(stripes, 255 - stripes) == pytest.approx(1)


def test_the_saturated_deviation_forgets_what_is_dark_and_caps_what_is_bright() -> None:
    # Mean 110: half lies 10 above, and 10² = 100 stays; half lies below and counts 0.
    assert metrics.measure_saturated_deviation(_stripes(100, 120)) == pytest.approx(math.sqrt(100 / 2))
    # Mean 50: half lies 50 above, and 2500 becomes 255.
    assert metrics.measure_saturated_deviation(_stripes(0, 100)) == pytest.approx(math.sqrt(255 / 2))


def test_a_sum_has_the_greatest_scd_and_a_copy_the_least() -> None:
    across, down = _stripes(0, 60, 4), _stripes(0, 60, 4).T
    assert metrics.measure_correlation_of_differences(across, down, across + down) == pytest.approx(2)
    # f − b says nothing against a; f − a is 0.
    copied = metrics.measure_correlation_of_differences(across, down, across)
    assert copied == pytest.approx(1 / math.sqrt(2), abs=1e-9)


def test_equal_gradients_count_as_fully_kept() -> None:
    """Where the circulated file takes the gradient itself for the relative strength, and sees a loss in weak edges."""
    ramp = np.arange(48, dtype=np.uint8)[None].repeat(48, axis=0)
    best = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
    assert metrics.measure_edge_preservation(ramp, ramp, ramp) == pytest.approx(best)


# ----------------------------------------------------------------------------------------------------------------- laws

_PICTURES = arrays.arrays(np.uint8, (SMALLEST, SMALLEST + 2))
_TRIPLES = st.tuples(_PICTURES, _PICTURES, _PICTURES)


@given(pictures=_TRIPLES)
@settings(max_examples=25, deadline=None)
def test_every_figure_is_finite_and_in_its_range(pictures: tuple[Picture, Picture, Picture]) -> None:
    figures = measure_metrics(*pictures)
    assert set(figures) == {*CLASSIC, "SD_u8"}
    assert all(math.isfinite(value) for value in figures.values())
    assert all(figures[name] >= 0 for name in ("AG", "EN", "SF", "SD", "SD_u8", "VIF", "Qabf"))
    assert figures["MI"] >= -1e-9
    assert figures["EN"] <= 8
    assert figures["SD_u8"] <= math.sqrt(255)
    assert figures["Qabf"] <= 0.975
    assert all(abs(figures[name]) <= bound + 1e-9 for name, bound in (("CC", 1), ("SCD", 2), ("SSIM", 1)))


@given(pictures=_TRIPLES)
@settings(max_examples=15, deadline=None)
def test_the_sources_may_change_places(pictures: tuple[Picture, Picture, Picture]) -> None:
    fixed, moving, fused = pictures
    swapped = measure_metrics(moving, fixed, fused)
    assert measure_metrics(fixed, moving, fused) == pytest.approx(swapped, abs=1e-9)


def test_a_picture_fused_with_itself_is_perfect() -> None:
    grey = make_grey()
    figures = measure_metrics(grey, grey, grey)
    assert figures["SSIM"] == pytest.approx(1)
    assert figures["VIF"] == pytest.approx(2)
    assert figures["CC"] == pytest.approx(1)
    assert figures["MI"] == pytest.approx(2 * figures["EN"])
    assert figures["Qabf"] == pytest.approx(0.9748, abs=1e-3)
    assert figures["SCD"] == 0  # nothing is left when the other source is taken away


def test_blurring_costs_edges_and_information() -> None:
    grey = make_grey()
    blurred = signal.convolve2d(grey, np.ones((5, 5)) / 25, mode="same").astype(np.uint8)
    sharp, dull = measure_metrics(grey, grey, grey), measure_metrics(grey, grey, blurred)
    assert all(dull[name] < sharp[name] for name in ("AG", "SF", "VIF", "Qabf", "SSIM", "CC"))


def test_a_blank_result_scores_nothing() -> None:
    grey, blank = make_grey(), np.full((64, 64), 7, np.uint8)
    figures = measure_metrics(grey, grey, blank)
    assert all(figures[name] == 0 for name in ("AG", "EN", "SF", "CC", "SD", "SD_u8", "VIF"))
    assert figures["MI"] == pytest.approx(0, abs=1e-12)
    assert figures["SCD"] == pytest.approx(-2)  # what is left after taking a source away is its negative
    blank_sources = measure_metrics(blank, blank, grey)
    assert blank_sources["VIF"] == 0
    assert blank_sources["SCD"] == 0


@pytest.mark.parametrize(
    "pictures",
    [
        (np.zeros((64, 64), np.uint8), np.zeros((64, 65), np.uint8), np.zeros((64, 64), np.uint8)),
        (np.zeros((64, 64), np.uint8), np.zeros((64, 64)), np.zeros((64, 64), np.uint8)),
        (np.zeros((SMALLEST - 1, 64), np.uint8),) * 3,
        (np.zeros((64, 64, 3), np.uint8),) * 3,
    ],
    ids=["shapes differ", "not 8-bit", "too small", "not grey"],
)
def test_what_cannot_be_measured_is_the_callers_defect(pictures: tuple[Picture, Picture, Picture]) -> None:
    with pytest.raises(ValueError, match="needed"):
        measure_metrics(*pictures)
