"""Laws of the network and of its fusion rule."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fusionnode.fusion.networks.dilated_residual_attention import (
    DilatedResidualAttentionNetwork,
    NormStatistic,
    nuclear_norms,
    pool_upsample_rectify,
    softmax_nuclear_norm_weights,
)

every_statistic = pytest.mark.parametrize("statistic", list(NormStatistic))
any_size = pytest.mark.parametrize("size", [(1, 1), (2, 1), (17, 23), (64, 64), (40, 7)])


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _make_network(
    channels: int = 8, *, attention: bool = True, dilations: tuple[int, ...] = (1, 3, 5)
) -> DilatedResidualAttentionNetwork:
    """Untrained, but with an answer inside the range of brightness, so that clamping hides little."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DilatedResidualAttentionNetwork(channels, attention=attention, dilations=dilations).eval()
        nn.init.normal_(network.extractor.normalise.running_mean, std=0.1)
        nn.init.uniform_(network.reconstructor[-1].weight, 0.0, 0.02)
        nn.init.uniform_(network.reconstructor[2].weight, 0.0, 0.02)
        nn.init.uniform_(network.reconstructor[0].weight, 0.0, 0.05)
    return network


def _count(network: DilatedResidualAttentionNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# --- the rule


@pytest.mark.parametrize("size", [(16, 16), (9, 24), (24, 9), (1, 5)])
def test_gram_form_equals_singular_values(size: tuple[int, int]) -> None:
    maps = functional.softmax(4 * _draw(2, 6, *size), dim=1)

    torch.testing.assert_close(nuclear_norms(maps), torch.linalg.svdvals(maps).sum(-1).double(), rtol=1e-3, atol=0)


def test_margins_cost_nothing_and_change_nothing() -> None:
    maps = _draw(2, 3, 30, 40)
    maps[..., :9, :] = maps[..., 25:, :] = maps[..., :, :6] = maps[..., :, 33:] = 1 / 3

    torch.testing.assert_close(nuclear_norms(maps), torch.linalg.svdvals(maps.double()).sum(-1), rtol=1e-6, atol=0)


def test_gram_form_is_right_for_a_flat_map_too() -> None:
    """Rank one: in single precision the rounding of 255 vanishing eigenvalues would add up."""
    flat = torch.full((1, 1, 256, 256), 0.7)

    torch.testing.assert_close(nuclear_norms(flat).item(), 0.7 * 256, rtol=1e-4, atol=0)


@every_statistic
def test_weights_are_one_pair_per_image_and_sum_to_one(statistic: NormStatistic) -> None:
    weights = softmax_nuclear_norm_weights(_draw(3, 6, 12, 15), 3 * _draw(3, 6, 12, 15, seed=1), statistic)

    assert weights.shape == (3, 2)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(3, dtype=torch.float64))


@every_statistic
def test_equal_images_weigh_the_same(statistic: NormStatistic) -> None:
    features = _draw(2, 6, 12, 15)

    assert (softmax_nuclear_norm_weights(features, features, statistic) == 0.5).all()


@every_statistic
def test_swapping_the_images_swaps_the_weights(statistic: NormStatistic) -> None:
    one, other = _draw(2, 6, 12, 15), 5 * _draw(2, 6, 12, 15, seed=1)

    forward, backward = (softmax_nuclear_norm_weights(*pair, statistic) for pair in ((one, other), (other, one)))

    torch.testing.assert_close(forward, backward.flip(1))
    assert (forward - 0.5).abs().min() > 1e-3


def test_the_rule_is_the_papers() -> None:
    """Maximum over channels of the nuclear norm of the softmax over channels, squared and normalised; by hand."""
    one, other = _draw(1, 3, 4, 4), 5 * _draw(1, 3, 4, 4, seed=1)
    largest = []
    for features in (one, other):
        exponentials = features[0].exp()
        shares = exponentials / exponentials.sum(0)
        largest.append(max(float(torch.linalg.matrix_norm(share, "nuc")) for share in shares))

    weight = float(softmax_nuclear_norm_weights(one, other)[0, 0])

    assert weight == pytest.approx(largest[0] ** 2 / (largest[0] ** 2 + largest[1] ** 2), rel=1e-4)


# --- the blocks


@any_size
def test_attention_is_the_local_mean_and_never_negative(size: tuple[int, int]) -> None:
    image = _draw(2, 3, *size) - 0.5
    even = functional.pad(image, (0, size[1] % 2, 0, size[0] % 2), mode="replicate")
    expected = functional.interpolate(functional.avg_pool2d(even, 2), scale_factor=2).relu()[..., : size[0], : size[1]]

    attention = pool_upsample_rectify(image)

    assert attention.shape == image.shape
    torch.testing.assert_close(attention, expected)


@pytest.mark.parametrize("channels", [8, 16, 32, 64])
def test_parameters_are_as_many_as_the_blocks_say(channels: int) -> None:
    extractor, reconstructor = 39 * channels**2 + 9 * channels, (27 * channels**2 + 9 * channels) // 2

    assert _count(_make_network(channels)) == extractor + reconstructor


# --- the network


@any_size
@pytest.mark.parametrize("batch", [1, 3])
def test_any_size_passes(size: tuple[int, int], batch: int) -> None:
    network = _make_network()
    fixed, moving = _draw(batch, 1, *size), _draw(batch, 1, *size, seed=1)

    with torch.no_grad():
        fused, features = network(fixed, moving), network.encode(fixed)

    assert fused.shape == fixed.shape == network.decode(features).shape
    assert features.shape == (batch, 8, *size)
    assert torch.isfinite(fused).all()
    assert fused.min() >= 0
    assert fused.max() <= 1


@torch.no_grad()
def test_an_image_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    network = _make_network()
    fixed, moving = _draw(3, 1, 17, 23), _draw(3, 1, 17, 23, seed=1) ** 3

    together = network(fixed, moving)

    one_by_one = torch.cat([network(fixed[k : k + 1], moving[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-5)
    assert torch.equal(together, network(fixed, moving))


@torch.no_grad()
def test_an_image_fused_with_itself_is_its_reconstruction() -> None:
    network = _make_network()
    image = _draw(2, 1, 16, 16)

    torch.testing.assert_close(network(image, image), network.decode(network.encode(image)).clamp(0, 1))


@torch.no_grad()
def test_fusing_reconstructs_the_weighted_features() -> None:
    network = _make_network()
    fixed, moving = _draw(1, 1, 16, 16), _draw(1, 1, 16, 16, seed=1) ** 4
    features_fixed, features_moving = network.encode(fixed), network.encode(moving)
    weight_fixed, weight_moving = softmax_nuclear_norm_weights(features_fixed, features_moving)[0].tolist()

    expected = network.decode(weight_fixed * features_fixed + weight_moving * features_moving).clamp(0, 1)

    torch.testing.assert_close(network(fixed, moving), expected)
    assert weight_fixed != weight_moving


def test_reconstruction_trains_every_parameter() -> None:
    network = _make_network()
    image = _draw(2, 1, 16, 16)

    functional.mse_loss(network.decode(network.encode(image)), image).backward()

    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_black_stays_black() -> None:
    """But for three pixels around what is not, which is how far the reconstruction sees."""
    network = _make_network()
    fixed, moving = torch.zeros(1, 1, 40, 40), torch.zeros(1, 1, 40, 40)
    fixed[..., 10:20, 10:20] = moving[..., 16:24, 14:20] = 0.8

    fused = network(fixed, moving)

    near = functional.max_pool2d(torch.maximum(fixed, moving), 7, stride=1, padding=3) > 0
    assert (fused[~near] == 0).all()
    assert (fused[near] > 0).any()


@torch.no_grad()
def test_what_leaves_the_range_is_cut_off() -> None:
    network, image = _make_network(), _draw(1, 1, 16, 16) + 0.1
    for weight, level in ((-9.0, 0.0), (9.0, 1.0)):
        nn.init.constant_(network.reconstructor[-1].weight, weight)
        assert (network(image, image) == level).all()


def test_it_learns_to_reconstruct() -> None:
    network = _make_network().train()
    image = functional.interpolate(_draw(2, 1, 6, 6), scale_factor=4, mode="bilinear")
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss = functional.mse_loss(network.decode(network.encode(image)), image)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < 0.1 * losses[0]


@torch.no_grad()
def test_its_own_weights_restore_it() -> None:
    network = _make_network(6)
    fixed, moving = _draw(1, 1, 12, 12), _draw(1, 1, 12, 12, seed=1)

    restored = DilatedResidualAttentionNetwork.from_weights(network.state_dict()).eval()

    assert torch.equal(restored(fixed, moving), network(fixed, moving))


@torch.no_grad()
def test_the_ablations_change_what_they_name() -> None:
    network, image = _make_network(), _draw(1, 1, 16, 16)
    for variant in (_make_network(attention=False), _make_network(dilations=(1, 1, 1))):
        variant.load_state_dict(network.state_dict())
        assert _count(variant) == _count(network)
        assert not torch.allclose(variant.encode(image), network.encode(image))


@torch.no_grad()
def test_the_statistic_can_be_chosen_after_training() -> None:
    weights = _make_network().state_dict()
    fixed, moving = _draw(1, 1, 16, 16), _draw(1, 1, 16, 16, seed=1) ** 4

    literal, mean = (DilatedResidualAttentionNetwork.from_weights(weights, s).eval() for s in NormStatistic)

    assert not torch.equal(literal(fixed, moving), mean(fixed, moving))
