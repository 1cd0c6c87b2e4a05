"""Laws of the classical rules: nothing invented, the MRI never darkened, the same bits in any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from fusionnode.fusion.classical import RULES, Rule, fuse_average, fuse_laplacian, fuse_maximum

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)

_ROUNDING = 1e-6
_IMAGE_PAIRS = st.tuples(st.just(2), st.integers(1, 3), st.just(1), st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
)


def _draw_pair(*size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    fixed, moving = torch.rand((2, *size), generator=generator)
    return fixed, moving


@every_rule
@given(pair=_IMAGE_PAIRS)
@settings(max_examples=25, deadline=None)
def test_every_fused_pixel_lies_between_its_sources(rule: Rule, pair: np.ndarray) -> None:
    fixed, moving = torch.from_numpy(pair)

    fused = rule(fixed, moving)

    assert fused.shape == fixed.shape
    assert fused.dtype == torch.float32
    assert (fused >= torch.minimum(fixed, moving) - _ROUNDING).all()
    assert (fused <= torch.maximum(fixed, moving) + _ROUNDING).all()


@every_rule
@given(pair=_IMAGE_PAIRS)
@settings(max_examples=25, deadline=None)
def test_an_image_fused_with_itself_is_itself(rule: Rule, pair: np.ndarray) -> None:
    image = torch.from_numpy(pair)[0]

    assert torch.equal(rule(image, image), image)


@given(pair=_IMAGE_PAIRS)
@settings(max_examples=50, deadline=None)
def test_laplacian_never_darkens_the_mri(pair: np.ndarray) -> None:
    fixed, moving = torch.from_numpy(pair)

    fused = fuse_laplacian(fixed, moving)

    assert (fused >= fixed).all()
    assert torch.equal(fused[moving <= fixed], fixed[moving <= fixed])


@pytest.mark.parametrize("rule", [fuse_average, fuse_maximum])
@given(pair=_IMAGE_PAIRS)
@settings(max_examples=25, deadline=None)
def test_neither_average_nor_maximum_prefers_a_modality(rule: Rule, pair: np.ndarray) -> None:
    fixed, moving = torch.from_numpy(pair)

    torch.testing.assert_close(rule(fixed, moving), rule(moving, fixed), rtol=0, atol=_ROUNDING)


@every_rule
@pytest.mark.parametrize("size", [(256, 256), (61, 47), (1, 9)])
def test_a_slice_gives_the_same_bits_alone_and_in_a_batch(rule: Rule, size: tuple[int, int]) -> None:
    fixed, moving = _draw_pair(5, 1, *size)

    together = rule(fixed, moving)

    assert torch.equal(together, torch.cat([rule(fixed[k : k + 1], moving[k : k + 1]) for k in range(5)]))
    assert torch.equal(together, rule(fixed, moving))


def test_average_and_maximum_are_what_they_say() -> None:
    fixed, moving = torch.tensor([[[[0.0, 1.0, 0.25]]]]), torch.tensor([[[[0.5, 0.5, 0.25]]]])

    assert fuse_average(fixed, moving).flatten().tolist() == [0.25, 0.75, 0.25]
    assert fuse_maximum(fixed, moving).flatten().tolist() == [0.5, 1.0, 0.25]


def test_laplacian_keeps_an_image_whole_where_the_other_is_black() -> None:
    fixed, _ = _draw_pair(1, 1, 96, 96)

    fused = fuse_laplacian(fixed, torch.zeros_like(fixed))

    assert torch.equal(fused, fixed)


def test_laplacian_keeps_white_matter_bright_beside_hot_cortex() -> None:
    columns = torch.arange(128)
    cortex = (columns < 64).expand(1, 1, 128, 128)
    mri = torch.where(cortex, 0.5, 0.9)
    uptake = torch.where(cortex, 0.9, 0.25)

    fused = fuse_laplacian(mri, uptake)

    assert torch.equal(fused[~cortex], mri[~cortex])
    assert fused[..., :32].mean() > 0.7


def test_laplacian_shows_folds_of_the_mri_under_uniform_uptake() -> None:
    columns = torch.arange(128.0)
    folds = (0.5 + 0.3 * torch.sin(columns * 2 * torch.pi / 8)).expand(1, 1, 128, 128)
    uptake = torch.full_like(folds, 0.85)

    fused = fuse_laplacian(folds, uptake)

    def contrast(image: Tensor) -> float:
        return float(image[..., 32:96, 32:96].std())

    assert contrast(fused) > 0.5 * contrast(folds)
    assert contrast(fuse_maximum(folds, uptake)) < 0.01 * contrast(folds)


def test_laplacian_shows_a_hot_spot_on_featureless_mri() -> None:
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    spot = torch.exp(-((rows - 64) ** 2 + (columns - 64) ** 2) / (2 * 6**2))[None, None]

    fused = fuse_laplacian(torch.full_like(spot, 0.3), spot)

    assert fused[0, 0, 64, 64] > 0.8
    assert fused[0, 0, 64, 64] - fused[0, 0, 64, 90] > 0.5


def test_laplacian_changes_no_more_than_its_sources_do() -> None:
    """A hard choice between two nearly equal details would jump, and flicker from slice to slice."""
    fixed, moving = _draw_pair(1, 1, 64, 64)
    nudge = 1e-4 * (_draw_pair(1, 1, 64, 64, seed=1)[0] - 0.5)

    change = fuse_laplacian((fixed + nudge).clamp(0, 1), moving) - fuse_laplacian(fixed, moving)

    assert change.abs().max() < 20 * nudge.abs().max()
