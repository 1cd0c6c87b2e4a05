"""Laws of the network, of its modules and of its masks."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from fusionnode.fusion.networks.mask_attention import (
    ContrastEnhancementModule,
    DecouplingNetwork,
    DetailPreservingModule,
    Feedback,
    MaskAttentionNetwork,
    ParallelAttentionModule,
    Parts,
    local_contrast,
    otsu_mask,
)

any_size = pytest.mark.parametrize("size", [(1, 1), (2, 1), (17, 23), (64, 64), (40, 7)])
every_part = pytest.mark.parametrize("part", [field.name for field in fields(Parts)])


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _make_network(channels: int = 4, parts: Parts | None = None) -> MaskAttentionNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MaskAttentionNetwork(channels, parts).eval()


def _otsu_by_search(grey: np.ndarray) -> np.ndarray:
    """Otsu's criterion tried for every threshold, as the paper states it."""
    best, mask = 0.0, np.zeros(grey.shape, bool)
    for threshold in range(256):
        above = grey > threshold
        if above.any() and not above.all():
            share = above.mean()
            spread = share * (1 - share) * (grey[above].mean() - grey[~above].mean()) ** 2
            if spread > best * (1 + 1e-12):
                best, mask = spread, above
    return mask


# --- masks


@given(grey=arrays.arrays(np.uint8, (9, 7)))
@settings(max_examples=60, deadline=None)
def test_the_mask_is_otsus(grey: np.ndarray) -> None:
    mask = otsu_mask(torch.from_numpy(grey / np.float32(255))[None, None])

    assert np.array_equal(mask[0, 0].numpy() > 0, _otsu_by_search(grey.astype(int)))


def test_every_image_of_a_batch_has_its_own_threshold() -> None:
    images = torch.cat([_draw(1, 1, 12, 15) * scale for scale in (0.1, 0.5, 1.0)])

    masks = otsu_mask(images)

    for index in range(3):
        assert torch.equal(masks[index], otsu_mask(images[index : index + 1])[0])
        assert 0 < masks[index].mean() < 1


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_image_has_no_foreground(level: float) -> None:
    assert not otsu_mask(torch.full((2, 1, 5, 6), level)).any()


# --- local contrast


def test_local_contrast_is_the_standard_deviation_of_the_window() -> None:
    features = _draw(2, 3, 11, 9)

    contrast = local_contrast(features, radius=2)

    for row, column in ((0, 0), (5, 4), (10, 3), (2, 8)):
        window = features[..., max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        expected = window.flatten(2).std(-1, correction=0)
        torch.testing.assert_close(contrast[..., row, column], expected, rtol=0, atol=1e-5)


def test_local_contrast_of_a_flat_map_still_has_a_gradient() -> None:
    flat = torch.full((1, 1, 6, 6), 0.5, requires_grad=True)

    local_contrast(flat).sum().backward()

    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


# --- modules


@any_size
@pytest.mark.parametrize("module", [ContrastEnhancementModule, DetailPreservingModule, ParallelAttentionModule])
def test_every_module_keeps_the_shape_and_answers_to_its_input(module: type[nn.Module], size: tuple[int, int]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = module(12)

    once, other = made(_draw(2, 12, *size)), made(_draw(2, 12, *size, seed=1))

    assert once.shape == (2, 12, *size)
    assert torch.isfinite(once).all()
    assert not torch.allclose(once, other)


def test_the_contrast_module_only_weighs_whole_channels() -> None:
    features = _draw(2, 12, 16, 16) + 0.1

    share = ContrastEnhancementModule(12)(features) / features

    torch.testing.assert_close(share.amax((-2, -1)), share.amin((-2, -1)), rtol=1e-4, atol=1e-6)
    assert ((share > 0) & (share < 1)).all()


def test_the_detail_paths_see_one_two_and_three_blocks() -> None:
    module = DetailPreservingModule(12)

    assert [len(path) for path in module.paths] == [1, 2, 3]


# --- the network


@any_size
def test_any_size_gives_a_result_of_that_size_in_range(size: tuple[int, int]) -> None:
    fused = _make_network()(_draw(2, 1, *size), _draw(2, 1, *size, seed=1))

    assert fused.shape == (2, 1, *size)
    assert fused.dtype == torch.float32
    assert torch.isfinite(fused).all()
    assert 0 <= fused.min() <= fused.max() <= 1


def test_what_is_black_in_both_stays_black() -> None:
    fixed, moving = _draw(1, 1, 40, 36), _draw(1, 1, 40, 36, seed=1)
    dark = _draw(1, 1, 40, 36, seed=2) < 0.5
    fixed[dark], moving[dark] = 0, 0

    assert (_make_network()(fixed, moving)[dark] == 0).all()


def test_the_same_input_gives_the_same_bits() -> None:
    network, fixed, moving = _make_network(), _draw(2, 1, 33, 20), _draw(2, 1, 33, 20, seed=1)

    assert torch.equal(network(fixed, moving), network(fixed, moving))


def test_an_image_comes_out_alike_whatever_else_is_in_the_batch() -> None:
    network, fixed, moving = _make_network(), _draw(4, 1, 33, 20), _draw(4, 1, 33, 20, seed=1)
    fixed[2:] = 0.2 * fixed[2:]

    together = network(fixed, moving)

    for index in range(4):
        alone = network(fixed[index : index + 1], moving[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


def test_a_crop_under_the_whole_picture_s_masks_differs_from_one_under_its_own() -> None:
    fixed, moving = _draw(1, 1, 32, 32) ** 3, _draw(1, 1, 32, 32, seed=1)
    network, zero = _make_network(), torch.zeros(1, 1, 32, 32)

    masked = network.compose(fixed, moving, otsu_mask(fixed), otsu_mask(moving)).fused

    assert not torch.allclose(masked, network.compose(fixed, moving, zero, zero).fused)
    torch.testing.assert_close(network(fixed, moving), masked.clamp(0, 1))


@every_part
def test_every_part_can_be_switched_and_makes_a_difference(part: str) -> None:
    switched = Parts(**{part: not getattr(Parts(), part)})
    fixed, moving = _draw(1, 1, 24, 24) ** 2, _draw(1, 1, 24, 24, seed=1)

    fused = _make_network(parts=switched)(fixed, moving)

    assert torch.isfinite(fused).all()
    assert not torch.allclose(fused, _make_network()(fixed, moving), atol=1e-6)


def test_all_that_is_trained_has_a_gradient() -> None:
    network = _make_network().train()

    network(0.5 * _draw(2, 1, 24, 24), 0.5 * _draw(2, 1, 24, 24, seed=1)).square().mean().backward()

    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


def test_weights_make_the_same_network_again() -> None:
    network, fixed, moving = _make_network(8), _draw(1, 1, 20, 22), _draw(1, 1, 20, 22, seed=1)

    again = MaskAttentionNetwork.from_weights(network.state_dict()).eval()

    torch.testing.assert_close(again(fixed, moving), network(fixed, moving), rtol=0, atol=1e-6)


def test_half_precision_stays_within_a_grey_level() -> None:
    network, fixed, moving = _make_network(8), _draw(1, 1, 32, 32), _draw(1, 1, 32, 32, seed=1)

    with torch.autocast("cpu", torch.bfloat16):
        narrow = network(fixed, moving)

    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, network(fixed, moving), rtol=0, atol=4 / 255)


# --- decoupling


@pytest.mark.parametrize("feedback", list(Feedback))
def test_decoupling_finds_two_images_of_the_size(feedback: Feedback) -> None:
    fixed, moving = _draw(2, 1, 17, 20), _draw(2, 1, 17, 20, seed=1)
    composition = _make_network().compose(fixed, moving, otsu_mask(fixed), otsu_mask(moving))

    for found in DecouplingNetwork(4, feedback)(composition):
        assert found.shape == fixed.shape
        assert torch.isfinite(found).all()


@pytest.mark.parametrize("feedback", list(Feedback))
def test_only_full_feedback_teaches_the_paths_past_the_fused_image(feedback: Feedback) -> None:
    fixed, moving = _draw(1, 1, 16, 16), _draw(1, 1, 16, 16, seed=1)
    composition = _make_network().compose(fixed, moving, otsu_mask(fixed), otsu_mask(moving))
    past = replace(composition, fused=composition.fused.detach())

    found = DecouplingNetwork(4, feedback)(past)[0].sum()

    gradient = torch.autograd.grad(found, past.features_fixed, allow_unused=True)[0]
    assert (gradient is not None) == (feedback is Feedback.FULL)


def test_the_decoupled_images_depend_on_the_fused_one() -> None:
    fixed, moving = _draw(1, 1, 16, 16), _draw(1, 1, 16, 16, seed=1)
    composition = _make_network().compose(fixed, moving, otsu_mask(fixed), otsu_mask(moving))
    decoupling = DecouplingNetwork(4)

    blank = decoupling(replace(composition, fused=torch.zeros_like(composition.fused)))

    for found, without in zip(decoupling(composition), blank, strict=True):
        assert not torch.allclose(found, without, atol=1e-4)
