"""What every fusion network that weighs its sources must hold to, whatever is inside."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

SIZES = ((1, 1), (2, 1), (17, 23), (64, 64), (40, 7))


def draw_images(*shape: int, seed: int = 0) -> Tensor:
    """Uniform in [0, 1), from the seed alone."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def scramble(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter a value that does something: gates that begin at zero would hide what is behind them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@torch.no_grad()
def assert_any_size_passes(network: nn.Module, size: tuple[int, int]) -> None:
    """Shape, type, range, and no NaN, for noise, black and white alike."""
    for fixed in (draw_images(2, 1, *size), torch.zeros(2, 1, *size), torch.ones(2, 1, *size)):
        fused = network(fixed, draw_images(2, 1, *size, seed=1))
        assert fused.shape == fixed.shape
        assert fused.dtype == torch.float32
        assert torch.isfinite(fused).all()
        assert fused.min() >= 0
        assert fused.max() <= 1


@torch.no_grad()
def assert_images_stay_apart(network: nn.Module) -> None:
    """The same bits at every call, and the same image to within rounding in any batch."""
    fixed, moving = draw_images(3, 1, 33, 22), draw_images(3, 1, 33, 22, seed=1) ** 3
    together = network(fixed, moving)
    assert torch.equal(together, network(fixed, moving))
    for index in range(3):
        alone = network(fixed[index : index + 1], moving[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


@torch.no_grad()
def assert_black_stays_black(network: nn.Module) -> None:
    """Where both sources are zero the result is, beside content as well."""
    fixed, moving = draw_images(1, 1, 40, 40), draw_images(1, 1, 40, 40, seed=1)
    fixed[..., :20, :] = moving[..., :20, :] = 0
    fused = network(fixed, moving)
    assert (fused[..., :20, :] == 0).all()
    assert (fused[..., 20:, :] > 0).any()


@torch.no_grad()
def assert_weights_restore(network: nn.Module, restore: Callable[[dict[str, Tensor]], nn.Module]) -> None:
    """A network of the same weights gives the same image."""
    fixed, moving = draw_images(1, 1, 24, 24), draw_images(1, 1, 24, 24, seed=1)
    restored = restore(network.state_dict()).eval()
    torch.testing.assert_close(restored(fixed, moving), network(fixed, moving), rtol=0, atol=1e-5)


def train_briefly(network: nn.Module, fuse: Callable[[Tensor, Tensor], Tensor], steps: int = 30) -> list[float]:
    """Losses of learning the maximum of two fixed images, the simplest thing no constant gain can do."""
    fixed, moving = draw_images(2, 1, 32, 32), draw_images(2, 1, 32, 32, seed=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        loss = (fuse(fixed, moving) - torch.maximum(fixed, moving)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses
