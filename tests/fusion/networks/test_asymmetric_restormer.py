"""Laws of the network and of its blocks."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from fusionnode.fusion.networks import NETWORKS
from fusionnode.fusion.networks.asymmetric_restormer import (
    AsymmetricParts,
    AsymmetricRestormer,
    DualAttention,
    FeatureFusion,
    GatedDconvFeedForward,
    Modality,
    MultiDconvTransposedAttention,
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

every_modality = pytest.mark.parametrize("modality", list(Modality))


def _make_network(depths: tuple[int, int] = (2, 1), parts: AsymmetricParts | None = None) -> AsymmetricRestormer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AsymmetricRestormer(8, depths, parts)
    scramble(network)
    return network


@pytest.mark.parametrize("size", SIZES)
def test_any_size_passes(size: tuple[int, int]) -> None:
    assert_any_size_passes(_make_network(), size)


def test_images_stay_apart() -> None:
    assert_images_stay_apart(_make_network())


def test_black_stays_black() -> None:
    assert_black_stays_black(_make_network())


@pytest.mark.parametrize("depths", [(2, 1), (1, 3)])
def test_weights_restore_it_with_its_depths(depths: tuple[int, int]) -> None:
    assert_weights_restore(_make_network(depths), NETWORKS["asymmetric-restormer"])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises((KeyError, RuntimeError)):
        AsymmetricRestormer.from_weights({"encoder.weight": torch.zeros(3)})


def test_each_modality_has_an_encoder_of_its_own_depth() -> None:
    network = AsymmetricRestormer(8, (5, 3))

    assert (len(network.encoder_fixed.blocks), len(network.encoder_moving.blocks)) == (5, 3)
    assert not {id(one) for one in network.encoder_fixed.parameters()} & {
        id(one) for one in network.encoder_moving.parameters()
    }


@every_modality
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_any_size_is_reconstructed(modality: Modality, size: tuple[int, int]) -> None:
    image = _make_network().reconstruct(draw_images(2, 1, *size), modality)

    assert image.shape == (2, 1, *size)
    assert torch.isfinite(image).all()
    assert image.min() >= 0
    assert image.max() <= 1


@every_modality
def test_reconstruction_trains_its_own_encoder_only(modality: Modality) -> None:
    network = _make_network()

    network.reconstruct(draw_images(2, 1, 16, 16), modality).square().mean().backward()

    own, other = network.encoder_fixed, network.encoder_moving
    if modality is Modality.MOVING:
        own, other = other, own
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in own.parameters())
    assert all(parameter.grad is None for parameter in other.parameters())


def test_it_learns_to_fuse() -> None:
    network = _make_network()

    losses = train_briefly(network, network.compose)

    assert losses[-1] < 0.5 * losses[0]


def test_fusing_trains_everything_but_the_image_head() -> None:
    network = _make_network()

    network.compose(draw_images(2, 1, 16, 16), draw_images(2, 1, 16, 16, seed=1)).square().mean().backward()

    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert idle == {"image.weight", "image.bias"}


def test_it_learns_to_reconstruct() -> None:
    network = _make_network()
    image = functional.interpolate(draw_images(2, 1, 6, 6), scale_factor=4, mode="bilinear")
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = functional.mse_loss(network.reconstruct(image, Modality.FIXED), image)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    "parts",
    [
        AsymmetricParts(global_attention=False),
        AsymmetricParts(local_attention=False),
        AsymmetricParts(shared_encoder=True),
        AsymmetricParts(fusion=FeatureFusion.ADDITION),
        AsymmetricParts(fusion=FeatureFusion.MAXIMUM),
    ],
)
@torch.no_grad()
def test_each_part_matters(parts: AsymmetricParts) -> None:
    weights = _make_network((2, 2)).state_dict()
    fixed, moving = draw_images(1, 1, 24, 24), draw_images(1, 1, 24, 24, seed=1)

    whole, without = (AsymmetricRestormer.from_weights(weights, which).eval() for which in (None, parts))

    assert not torch.allclose(whole(fixed, moving), without(fixed, moving), atol=1e-4)


@torch.no_grad()
def test_transposed_attention_is_what_zamir_et_al_write() -> None:
    """Head by head with plain matrices: softmax(τ q kᵀ) v over channels, q and k of unit length along the pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention = MultiDconvTransposedAttention(8)
    nn.init.constant_(attention.temperature, 1.7)
    features = draw_images(1, 8, 5, 6) - 0.5
    queries, keys, values = attention.mix(attention.queries_keys_values(features))[0].flatten(1).chunk(3)
    told = []
    for head in range(4):
        rows = slice(2 * head, 2 * head + 2)
        unit_queries, unit_keys = (one[rows] / one[rows].norm(dim=1, keepdim=True) for one in (queries, keys))
        told.append(torch.softmax(1.7 * unit_queries @ unit_keys.T, dim=1) @ values[rows])

    expected = attention.project(torch.cat(told).reshape(1, 8, 5, 6))

    torch.testing.assert_close(attention(features), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_gate_of_the_feed_forward_network_can_close() -> None:
    block = GatedDconvFeedForward(8)
    nn.init.zeros_(block.mix.weight[:16])

    assert (block(draw_images(1, 8, 6, 6)) == 0).all()


@torch.no_grad()
def test_dual_attention_begins_without_effect() -> None:
    features = draw_images(1, 8, 6, 6)

    assert torch.equal(DualAttention(8, AsymmetricParts())(features), features)
