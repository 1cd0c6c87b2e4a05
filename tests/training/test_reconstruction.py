"""Distances of a reconstruction: nothing when it is perfect, and each term sees what it is there for."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fusionnode.training.reconstruction import autoencoder_loss, first_stage_loss, pyramid_distance

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

every_loss = pytest.mark.parametrize("loss", [autoencoder_loss, first_stage_loss])


def _draw(seed: int = 0) -> Tensor:
    small = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(small, scale_factor=6, mode="bilinear")


@every_loss
def test_a_perfect_reconstruction_costs_nothing(loss: Loss) -> None:
    assert abs(loss(_draw(), _draw()).item()) < 1e-5


@every_loss
def test_the_worse_the_dearer(loss: Loss) -> None:
    source, other = _draw(), _draw(seed=1)

    costs = [loss(source.lerp(other, share), source).item() for share in (0.0, 0.1, 0.3, 1.0)]

    assert costs == sorted(costs)
    assert costs[-1] > 0.05


@every_loss
def test_a_gradient_reaches_the_image(loss: Loss) -> None:
    image = _draw(seed=1).requires_grad_()

    loss(image, _draw()).backward()  # type: ignore[no-untyped-call]

    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    assert image.grad.abs().max() > 0


def test_a_constant_difference_is_in_the_rest_alone() -> None:
    source = _draw()

    torch.testing.assert_close(pyramid_distance(source + 0.25, source), torch.tensor(0.25))


def test_a_checkerboard_is_in_the_finest_band_alone() -> None:
    source = _draw()
    board = 0.1 * (-1.0) ** (torch.arange(48)[:, None] + torch.arange(48))

    torch.testing.assert_close(pyramid_distance(source + board, source), torch.tensor(0.1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(47, 31), (1, 1), (2, 5)])
def test_odd_sizes_have_pyramids_too(size: tuple[int, int]) -> None:
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))

    assert torch.isfinite(pyramid_distance(image, 1 - image))
