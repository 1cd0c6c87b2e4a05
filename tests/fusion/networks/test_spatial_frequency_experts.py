"""Laws of the network and of its three fusions."""

import pytest
import torch
from torch import Tensor

from fusionnode.fusion.networks import NETWORKS
from fusionnode.fusion.networks.spatial_frequency_experts import (
    AttentionFrequencyFusion,
    CrossAttentionSpatialFusion,
    ExpertParts,
    SpatialFrequencyExpertFusion,
    SpatialFrequencyExpertsNetwork,
)
from tests.support.networks import (
    SIZES,
    assert_any_size_passes,
    assert_black_stays_black,
    assert_images_stay_apart,
    assert_weights_restore,
    draw_images,
    scramble,
    train_briefly,
)


def _make_network(parts: ExpertParts | None = None) -> SpatialFrequencyExpertsNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SpatialFrequencyExpertsNetwork(16, parts)
    scramble(network)
    return network


def _make_experts() -> SpatialFrequencyExpertFusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpatialFrequencyExpertFusion(8)


@pytest.mark.parametrize("size", SIZES)
def test_any_size_passes(size: tuple[int, int]) -> None:
    assert_any_size_passes(_make_network(), size)


def test_images_stay_apart() -> None:
    assert_images_stay_apart(_make_network())


def test_black_stays_black() -> None:
    assert_black_stays_black(_make_network())


def test_weights_restore_it() -> None:
    assert_weights_restore(_make_network(), NETWORKS["spatial-frequency-experts"])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises((KeyError, RuntimeError)):
        SpatialFrequencyExpertsNetwork.from_weights({"encoder.weight": torch.zeros(3)})


def test_it_learns_to_fuse() -> None:
    network = _make_network()

    losses = train_briefly(network, network.compose)

    assert losses[-1] < 0.5 * losses[0]


def test_fusing_trains_everything() -> None:
    network = _make_network()

    network.compose(draw_images(2, 1, 32, 32), draw_images(2, 1, 32, 32, seed=1)).square().mean().backward()

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(
    "parts", [ExpertParts(spatial=False), ExpertParts(frequency=False), ExpertParts(experts=False)]
)
@torch.no_grad()
def test_each_part_matters(parts: ExpertParts) -> None:
    weights = _make_network().state_dict()
    without = SpatialFrequencyExpertsNetwork(16, parts).eval()
    own = set(without.state_dict())
    without.load_state_dict({name: tensor for name, tensor in weights.items() if name in own})
    fixed, moving = draw_images(1, 1, 32, 32), draw_images(1, 1, 32, 32, seed=1)

    assert own < set(weights)
    assert not torch.allclose(_make_network()(fixed, moving), without(fixed, moving), atol=1e-4)


@torch.no_grad()
def test_cross_attention_carries_values_from_the_other_image() -> None:
    """With similarities of the fixed image alone, what comes through must still change with the moving one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion = CrossAttentionSpatialFusion(4, 4)
    fusion.project[1].weight.zero_()
    fixed, moving = draw_images(1, 4, 16, 16), draw_images(1, 4, 16, 16, seed=1)
    added = [fusion(fixed, other) - fixed - other for other in (moving, moving.flip(-1))]

    assert not torch.allclose(*added, atol=1e-4)
    torch.testing.assert_close(fusion(fixed, moving).shape, fixed.shape)


@torch.no_grad()
def test_the_frequency_branch_sees_the_whole_image() -> None:
    """A change in one corner reaches the opposite one, which no convolution of this depth could."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fusion = AttentionFrequencyFusion(4)
    fixed, moving = draw_images(1, 4, 64, 64), draw_images(1, 4, 64, 64, seed=1)
    changed = fixed.clone()
    changed[..., 0, 0] += 5

    assert (fusion(changed, moving) - fusion(fixed, moving))[..., 40:, 40:].abs().max() > 1e-5


@pytest.mark.parametrize("size", [(16, 16), (17, 9), (1, 1)])
@torch.no_grad()
def test_the_frequency_branch_keeps_odd_sizes(size: tuple[int, int]) -> None:
    fused = AttentionFrequencyFusion(4)(draw_images(2, 4, *size), draw_images(2, 4, *size, seed=1))

    assert fused.shape == (2, 4, *size)
    assert torch.isfinite(fused).all()


@torch.no_grad()
def test_every_slot_is_a_mean_of_pixels_and_every_pixel_of_slots() -> None:
    dispatch, combine = _make_experts().weigh(100 * draw_images(2, 50, 16))

    torch.testing.assert_close(dispatch.sum(1), torch.ones(2, 64))
    torch.testing.assert_close(combine.sum(2), torch.ones(2, 50))


@torch.no_grad()
def test_the_mixture_is_what_puigcerver_et_al_write() -> None:
    """Expert by expert and slot by slot with plain matrices."""
    fusion = _make_experts()
    spatial, frequency = draw_images(1, 8, 3, 4), draw_images(1, 8, 3, 4, seed=1)
    tokens = torch.cat([spatial, frequency], dim=1)[0].flatten(1).T
    logits = tokens / tokens.square().mean(1, keepdim=True).add(1e-6).sqrt() @ fusion.slots
    slots = torch.softmax(logits, 0).T @ tokens
    answers = torch.cat([_answer(fusion, expert, slots[16 * expert : 16 * expert + 16]) for expert in range(4)])
    told = tokens + torch.softmax(logits, 1) @ answers

    expected = fusion.merge(told.T.reshape(1, 16, 3, 4))

    torch.testing.assert_close(fusion(spatial, frequency), expected, rtol=0, atol=1e-5)


def _answer(fusion: SpatialFrequencyExpertFusion, expert: int, slots: Tensor) -> Tensor:
    first, last = fusion.experts[0], fusion.experts[2]
    wide, narrow = slice(32 * expert, 32 * expert + 32), slice(16 * expert, 16 * expert + 16)
    hidden = torch.nn.functional.gelu(slots @ first.weight[wide, :, 0].T + first.bias[wide])
    answered: Tensor = hidden @ last.weight[narrow, :, 0].T + last.bias[narrow]
    return answered
