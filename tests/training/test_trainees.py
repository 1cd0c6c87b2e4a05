"""A trainee is the network plus what only training needs, and begins the same for the same seed."""

import pytest
import torch

from fusionnode.errors import ModelUnknown
from fusionnode.fusion.networks import NETWORKS
from fusionnode.training.datasets import Batch
from fusionnode.training.train import export_weights
from fusionnode.training.trainees import TRAINEES, Reconstructing, make_trainee, reconstruction_loss

WIDTH = 16

every_trainee = pytest.mark.parametrize("name", TRAINEES)


def _batch() -> Batch:
    fixed, moving = torch.rand(2, 2, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    return Batch(fixed, moving, (fixed > 0.5).float(), (moving > 0.5).float())


def _large_batch() -> Batch:
    small = torch.rand(2, 2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).flatten(0, 1)
    fixed, moving = torch.nn.functional.interpolate(small, scale_factor=6, mode="bilinear").chunk(2)
    return Batch(fixed, moving, (fixed > 0.5).float(), (moving > 0.5).float())


@every_trainee
def test_the_seed_alone_decides_the_beginning(name: str) -> None:
    state = torch.random.get_rng_state()

    first, again, other = (make_trainee(name, WIDTH, seed).state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(torch.random.get_rng_state(), state)


@every_trainee
def test_what_is_exported_is_what_fuses(name: str) -> None:
    trainee, batch = make_trainee(name, WIDTH, 0).eval(), _batch()

    network = NETWORKS[name](export_weights(trainee)).eval()

    assert torch.isfinite(network(batch.fixed, batch.moving)).all()
    assert sum(p.numel() for p in network.parameters()) <= sum(p.numel() for p in trainee.parameters())


@every_trainee
def test_one_pass_gives_the_fused_image_and_what_else_it_found(name: str) -> None:
    batch = _batch()

    fused, decoupled = make_trainee(name, WIDTH, 0)(batch)

    assert fused.shape == batch.fixed.shape
    assert [image.shape for image in decoupled or ()] in ([], [batch.fixed.shape] * 2)


@every_trainee
def test_reconstruction_is_learned_where_there_is_any(name: str) -> None:
    trainee, batch = make_trainee(name, WIDTH, 0), _large_batch()
    if not isinstance(trainee, Reconstructing):
        with pytest.raises(TypeError, match="does not reconstruct"):
            reconstruction_loss(trainee, batch)
        return
    optimiser = torch.optim.Adam(trainee.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = reconstruction_loss(trainee, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < 0.8 * losses[0]


def test_both_sources_count_in_reconstruction() -> None:
    class Returning(torch.nn.Module):
        difference = staticmethod(torch.nn.functional.l1_loss)

        def reconstruct(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            return batch.fixed + 0.1, batch.moving + 0.5

    torch.testing.assert_close(reconstruction_loss(Returning(), _batch()), torch.tensor(0.3))


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ModelUnknown, match="mask-attention"):
        make_trainee("laplacian", 4, 0)
