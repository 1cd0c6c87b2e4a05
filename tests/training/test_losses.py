"""The losses are their formulas, and each term pulls where it should."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from fusionnode.fusion.networks.mask_attention import otsu_mask
from fusionnode.training.datasets import Batch
from fusionnode.training.losses import (
    LOSSES,
    SHORT_OF_MEAN,
    BalancedWeights,
    PaperWeights,
    adaptive_gradient_loss,
    balanced_loss,
    content_loss,
    decoupling_loss,
    measure_balance,
    paper_loss,
    stronger_loss,
    structure_tensor,
)
from tests.support.training import draw_pair

NOTHING = BalancedWeights(*[0.0] * 12)


@pytest.fixture
def batch() -> Batch:
    fixed, moving = (torch.from_numpy(image / np.float32(255))[None, None] for image in draw_pair(1))
    return Batch(fixed, moving, otsu_mask(fixed), otsu_mask(moving))


def _sources(batch: Batch) -> tuple[Tensor, Tensor]:
    return batch.fixed, batch.moving


def _plain(image: Tensor) -> np.ndarray:
    return image[0, 0].double().numpy()


def _sobel(image: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.sobel(image, axis, mode="nearest") for axis in (1, 0)])


def _gradient_loss_in_numpy(fused: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> float:
    kernel = np.array([[0.0947, 0.1183, 0.0947], [0.1183, 0.1478, 0.1183], [0.0947, 0.1183, 0.0947]])
    strength = [(_sobel(ndimage.convolve(image, kernel, mode="nearest")) ** 2).sum(0) for image in (fixed, moving)]
    structural = strength[0] > strength[1]
    to_fixed, to_moving = (((_sobel(fused) - _sobel(image)) ** 2).sum(0) for image in (fixed, moving))
    return float(np.where(structural, to_fixed, to_moving).mean())


def test_the_paper_s_loss_is_its_formula(batch: Batch) -> None:
    fused = (batch.fixed + batch.moving) / 2
    f, a, b = (_plain(image) for image in (fused, batch.fixed, batch.moving))
    decoupled = (fused, 0.5 * batch.moving)

    gradient = _gradient_loss_in_numpy(f, a, b)
    intensity = ((f - b) ** 2).mean() + 0.5 * ((f - a) ** 2).mean()
    separation = ((f - a) ** 2).mean() + ((0.5 * b - b) ** 2).mean()

    assert adaptive_gradient_loss(fused, *_sources(batch)).item() == pytest.approx(gradient, rel=1e-3)
    assert paper_loss(fused, decoupled, batch).item() == pytest.approx(10 * gradient + intensity + separation, rel=1e-3)


def test_the_paper_s_weights_are_as_printed() -> None:
    weights = PaperWeights()

    assert (weights.gradient, weights.moving, weights.decoupling) == (10, 1, 1)


def test_perfect_decoupling_costs_nothing(batch: Batch) -> None:
    assert decoupling_loss(_sources(batch), batch).item() == 0
    assert decoupling_loss((batch.moving, batch.fixed), batch).item() > 0.01


@pytest.mark.parametrize("term", ["edges", "information", "structure", "differences", "correlation", "uptake"])
def test_every_merit_lowers_the_loss_by_its_measure(batch: Batch, term: str) -> None:
    fused = 0.4 * batch.fixed + 0.3 * batch.moving
    weights = replace(NOTHING, **{term: 2.0})

    loss = balanced_loss(fused, _sources(batch), batch, weights)

    mean = measure_balance((batch.fixed + batch.moving) / 2, batch)
    ceilings = {"information": 0.9, "differences": 1.6}
    ceilings |= {name: mean[name].item() - short for name, short in SHORT_OF_MEAN.items()}
    reached = measure_balance(fused, batch)[term].item()
    assert loss.item() == pytest.approx(-2 * min(reached, ceilings.get(term, 9)), rel=1e-4)


@pytest.mark.parametrize("charge", ["clipping", "overshoot"])
def test_brightness_beyond_the_sources_is_charged_and_within_is_free(batch: Batch, charge: str) -> None:
    weights = replace(NOTHING, **{charge: 1.0})

    within = balanced_loss(torch.maximum(*_sources(batch)), _sources(batch), batch, weights)
    beyond = balanced_loss(batch.fixed + batch.moving, _sources(batch), batch, weights)

    assert within.item() == 0
    assert beyond.item() > 0.001


@pytest.mark.parametrize(("factor", "charged"), [(0.5, True), (0.96, False), (1.3, True)])
def test_detail_is_charged_when_lost_and_when_exaggerated(batch: Batch, factor: float, charged: bool) -> None:
    dim = Batch(batch.fixed, 0.1 * batch.moving, batch.mask_fixed, batch.mask_moving)

    loss = balanced_loss(factor * batch.fixed, _sources(dim), dim, replace(NOTHING, gain=1.0))

    assert (loss.item() > 0.01) == charged


def test_a_hot_spot_with_a_dull_middle_is_charged_and_fine_dark_lines_are_not(batch: Batch) -> None:
    moving = torch.zeros_like(batch.moving)
    moving[..., 20:40, 20:40] = 1
    spot = Batch(torch.full_like(moving, 0.4), moving, moving, moving)
    dull, lined = moving.clone(), moving.clone()
    dull[..., 23:37, 23:37] = 0.5
    lined[..., 20:40:10, :] = 0

    bright_loss, dull_loss, lined_loss = (
        balanced_loss(fused, _sources(spot), spot, replace(NOTHING, dulling=1.0)).item()
        for fused in (moving, dull, lined)
    )

    assert bright_loss == 0
    assert dull_loss > 0.004
    assert lined_loss < dull_loss / 4


def test_without_uptake_the_anatomy_is_wanted_as_it_is(batch: Batch) -> None:
    dark = Batch(batch.fixed, 0 * batch.moving, batch.mask_fixed, 0 * batch.mask_moving)

    assert balanced_loss(dark.fixed, _sources(dark), dark).item() == 0
    assert balanced_loss(0.9 * dark.fixed, _sources(dark), dark).item() > 0.5


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_gradient_that_helps(batch: Batch, name: str) -> None:
    fused = (0.5 * (batch.fixed + batch.moving)).requires_grad_()
    before = LOSSES[name](fused, _sources(batch), batch)
    before.backward()
    assert fused.grad is not None

    step = 1e-3 * fused.grad / fused.grad.abs().max()
    after = LOSSES[name]((fused - step).detach(), _sources(batch), batch)

    assert after < before


def test_the_stronger_loss_is_its_formula(batch: Batch) -> None:
    fused = (batch.fixed + batch.moving) / 2
    f, a, b = (_plain(image) for image in (fused, batch.fixed, batch.moving))
    strongest = np.maximum(abs(_sobel(a)), abs(_sobel(b)))
    structure = float(measure_balance(fused, batch)["structure"])

    expected = abs(f - np.maximum(a, b)).mean() + 10 * abs(abs(_sobel(f)) - strongest).mean() + 2 * (1 - structure)

    assert float(stronger_loss(fused, None, batch)) == pytest.approx(expected, rel=1e-4)


def test_the_content_loss_is_its_formula(batch: Batch) -> None:
    fused = 0.6 * batch.fixed + 0.3 * batch.moving
    f, a, b = (_plain(image) for image in (fused, batch.fixed, batch.moving))
    energies = [ndimage.uniform_filter(image**2, 7, mode="constant") + 1e-6 for image in (a, b)]
    target = (energies[0] * a + energies[1] * b) / sum(energies)
    tensors = [_tensor(image) for image in (f, a, b)]
    structure = np.sqrt(((tensors[0] - tensors[1] - tensors[2]) ** 2).sum(0)).mean()
    similarity = float(measure_balance(fused, batch)["structure"])

    expected = 0.5 * np.sqrt(((f - target) ** 2).mean()) + 0.5 * np.log1p(structure) + 2 * (1 - similarity)

    assert float(content_loss(fused, None, batch)) == pytest.approx(expected, rel=1e-4)


def _tensor(image: np.ndarray) -> np.ndarray:
    across, down = np.diff(image, axis=1)[:-1], np.diff(image, axis=0)[:, :-1]
    return np.stack([across**2, across * down, across * down, down**2])


def test_the_structure_tensor_of_a_ramp_knows_its_direction() -> None:
    ramp = 0.1 * torch.arange(5.0)[None, None, None].expand(1, 1, 4, 5)

    torch.testing.assert_close(
        structure_tensor(ramp), torch.tensor([0.01, 0, 0, 0])[None, :, None, None].expand(1, 4, 3, 4)
    )


def test_a_network_without_decoupling_is_charged_nothing_for_it(batch: Batch) -> None:
    assert float(decoupling_loss(None, batch)) == 0
