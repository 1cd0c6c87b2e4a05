"""Laws of what networks share."""

import pytest
import torch
from torch.nn import functional

from fusionnode.fusion.networks.blocks import GAIN_LIMIT, pad_to_multiple, weigh_sources


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_black_in_both_stays_black_whatever_the_gains() -> None:
    fixed, moving = _draw(2, 1, 9, 7), _draw(2, 1, 9, 7, seed=1)
    fixed[..., :4, :] = moving[..., :4, :] = 0

    fused = weigh_sources(20 * _draw(2, 2, 9, 7) - 10, fixed, moving)

    assert (fused[..., :4, :] == 0).all()
    assert (fused[..., 4:, :] > 0).all()


def test_gains_stay_below_their_limit() -> None:
    ones, zeros = torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)

    assert (weigh_sources(torch.full((1, 2, 3, 3), 50.0), ones, zeros) == GAIN_LIMIT).all()
    assert (weigh_sources(torch.zeros(1, 2, 3, 3), ones, ones) == GAIN_LIMIT).all()
    assert weigh_sources(torch.full((1, 2, 3, 3), -50.0), ones, ones).max() < 1e-6


def test_the_first_gain_is_of_the_fixed_image() -> None:
    logits = torch.tensor([50.0, -50.0])[None, :, None, None].expand(1, 2, 4, 4)
    fixed, moving = _draw(1, 1, 3, 4), _draw(1, 1, 3, 4, seed=1)

    torch.testing.assert_close(weigh_sources(logits, fixed, moving), GAIN_LIMIT * fixed)


def test_gains_are_float32_under_autocast() -> None:
    logits = _draw(1, 2, 8, 8).bfloat16()
    fixed = _draw(1, 1, 8, 8)

    with torch.autocast("cpu", torch.bfloat16):
        fused = weigh_sources(logits, fixed, fixed)

    assert fused.dtype == torch.float32
    torch.testing.assert_close(fused, weigh_sources(logits.float(), fixed, fixed), rtol=0, atol=0)


@pytest.mark.parametrize(("size", "padded"), [((1, 1), (16, 16)), ((16, 32), (16, 32)), ((17, 30), (32, 32))])
def test_padding_repeats_the_border(size: tuple[int, int], padded: tuple[int, int]) -> None:
    image = _draw(2, 1, *size)

    result = pad_to_multiple(image, 16)

    assert result.shape == (2, 1, *padded)
    assert torch.equal(result[..., : size[0], : size[1]], image)
    expected = functional.pad(image, (0, padded[1] - size[1], 0, padded[0] - size[0]), mode="replicate")
    assert torch.equal(result, expected)
