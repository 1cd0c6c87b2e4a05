"""Every fuser of the table keeps the contract; what breaks it is told, not shown."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from fusionnode.domain.images import SliceStack
from fusionnode.domain.model import ModelCard, ModelKind
from fusionnode.errors import ModelUnavailable
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.fusion.fuse import Fuser, choose_device, fuse_slices, load_fuser, warm_up
from fusionnode.fusion.networks.asymmetric_restormer import AsymmetricRestormer
from fusionnode.fusion.networks.dilated_residual_attention import DilatedResidualAttentionNetwork
from fusionnode.fusion.networks.mask_attention import MaskAttentionNetwork
from fusionnode.fusion.networks.spatial_frequency_experts import SpatialFrequencyExpertsNetwork
from fusionnode.weights.store import load_weights

NETWORK = "dilated-residual-attention"
CLASSICAL = [name for name, card in CARDS.items() if card.kind is ModelKind.CLASSICAL]


_NARROW: dict[str, Callable[[], nn.Module]] = {
    "asymmetric-restormer": lambda: AsymmetricRestormer(8, (2, 1)),
    NETWORK: lambda: DilatedResidualAttentionNetwork(4),
    "mask-attention": lambda: MaskAttentionNetwork(4),
    "spatial-frequency-experts": lambda: SpatialFrequencyExpertsNetwork(16),
}


def _make_weights(name: str = NETWORK, seed: int = 0) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        weights: dict[str, Tensor] = _NARROW[name]().state_dict()
    return weights


def _load(name: str) -> Fuser:
    card = find_card(name)
    return load_fuser(card, _make_weights(name) if card.kind is ModelKind.NETWORK else None)


def _draw_stacks(*shape: int) -> tuple[SliceStack, SliceStack]:
    fixed, moving = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    return fixed, moving


every_fuser = pytest.mark.parametrize("name", CARDS)
_STACK_PAIRS = st.tuples(st.just(2), st.integers(1, 3), st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda shape: arrays.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
)


@every_fuser
@given(pair=_STACK_PAIRS)
@settings(max_examples=25, deadline=None)
def test_any_stacks_fuse_to_a_stack_of_their_shape_in_range(name: str, pair: np.ndarray) -> None:
    fused = fuse_slices(pair[0], pair[1], _load(name))

    assert fused.shape == pair[0].shape
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()
    assert fused.min() >= 0
    assert fused.max() <= 1


@every_fuser
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_images_fuse(name: str, level: float) -> None:
    flat = np.full((2, 33, 18), level, np.float32)

    assert np.isfinite(fuse_slices(flat, flat, _load(name))).all()


@every_fuser
def test_fusing_twice_gives_the_same_bits_and_leaves_the_sources_alone(name: str) -> None:
    fixed, moving = _draw_stacks(3, 20, 31)
    before = fixed.copy(), moving.copy()
    fuser = _load(name)

    assert np.array_equal(fuse_slices(fixed, moving, fuser), fuse_slices(fixed, moving, fuser))
    assert np.array_equal(fixed, before[0])
    assert np.array_equal(moving, before[1])


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_rule_gives_the_same_bits_whatever_the_batch(name: str) -> None:
    fixed, moving = _draw_stacks(7, 40, 33)
    fuser = _load(name)
    one_by_one = fuse_slices(fixed, moving, fuser, batch=1)

    for batch in (2, 3, 7, 100):
        assert np.array_equal(fuse_slices(fixed, moving, fuser, batch=batch), one_by_one)


def test_a_network_gives_the_same_picture_whatever_the_batch() -> None:
    fixed, moving = _draw_stacks(5, 24, 30)
    fuser = _load(NETWORK)

    together = fuse_slices(fixed, moving, fuser, batch=5)

    np.testing.assert_allclose(together, fuse_slices(fixed, moving, fuser, batch=2), rtol=0, atol=1e-5)
    assert np.ptp(together) > 0.01


def test_slices_keep_their_order_and_read_only_or_strided_stacks_are_fine() -> None:
    fixed, moving = _draw_stacks(6, 10, 12)
    fixed.setflags(write=False)

    fused = fuse_slices(fixed[::-1], moving[::-1], _load("maximum"), batch=4)

    assert np.array_equal(fused, np.maximum(fixed, moving)[::-1])


def test_large_slices_come_in_smaller_batches() -> None:
    seen = []

    def note_batch(fixed: Tensor, moving: Tensor) -> Tensor:
        seen.append(len(fixed))
        return torch.maximum(fixed, moving)

    fuser = Fuser(find_card("maximum"), note_batch, torch.device("cpu"))
    for rows, columns in ((64, 64), (128, 256), (2048, 1024)):
        flat = np.zeros((3, rows, columns), np.float32)
        fuse_slices(flat, flat, fuser, batch=8)

    assert seen == [3, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.cold_gain])
def test_anatomy_without_uptake_is_shown_alike_everywhere_and_as_where_nothing_was_measured(name: str) -> None:
    fixed, moving = _draw_stacks(2, 40, 33)
    moving[:, :, 10:] = 0
    fuser = _load(name)

    fused = fuse_slices(fixed, moving, fuser)

    np.testing.assert_allclose(fused[:, :, 10:], fuser.show_alone(fixed)[:, :, 10:], rtol=0, atol=1e-6)


def test_what_has_no_gain_for_cold_anatomy_shows_it_as_it_is() -> None:
    fixed, _ = _draw_stacks(1, 8, 8)
    assert np.array_equal(_load("laplacian").show_alone(fixed), fixed)


def test_a_fuser_that_was_warmed_up_gives_the_same_bits() -> None:
    fixed, moving = _draw_stacks(2, 24, 30)
    fuser = _load(NETWORK)
    cold = fuse_slices(fixed, moving, fuser)

    warm_up(fuser)

    assert np.array_equal(fuse_slices(fixed, moving, fuser), cold)


def test_the_processor_is_chosen_when_it_is_wanted() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: GPU and CPU results are not compared")
@pytest.mark.parametrize("card", [card for card in CARDS.values() if card.available], ids=lambda card: card.name)
def test_a_gpu_and_the_processor_give_the_same_picture(card: ModelCard) -> None:
    fixed, moving = _draw_stacks(3, 128, 120)
    weights = load_weights(card)

    on_gpu, on_cpu = (fuse_slices(fixed, moving, load_fuser(card, weights, device)) for device in ("cuda", "cpu"))

    np.testing.assert_allclose(on_gpu, on_cpu, rtol=0, atol=0.5 / 255)


def test_a_full_gpu_is_a_want_of_memory_and_no_defect() -> None:
    def fill(fixed: Tensor, moving: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    flat = np.zeros((1, 8, 8), np.float32)
    with pytest.raises(MemoryError, match="maximum@1"):
        fuse_slices(flat, flat, Fuser(find_card("maximum"), fill, torch.device("cpu")))


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match=f"No trained weights.*{NETWORK}@1"):
        load_fuser(find_card(NETWORK))


def test_weights_that_are_not_finite_are_refused() -> None:
    weights = _make_weights()
    weights["extractor.lift.bias"][0] = torch.nan

    with pytest.raises(ModelUnavailable, match="not finite"):
        load_fuser(find_card(NETWORK), weights)


@pytest.mark.parametrize("defect", ["other network", "one missing", "one too many", "one of another shape"])
def test_weights_of_another_network_are_refused(defect: str) -> None:
    weights = _make_weights()
    if defect == "other network":
        weights = {"encoder.weight": torch.zeros(3)}
    elif defect == "one missing":
        del weights["extractor.lift.bias"]
    elif defect == "one too many":
        weights["edge.weight"] = torch.zeros(3)
    else:
        weights["extractor.lift.bias"] = torch.zeros(5)

    with pytest.raises(ModelUnavailable, match="do not fit"):
        load_fuser(find_card(NETWORK), weights)


def test_the_weights_given_are_the_weights_used() -> None:
    fixed, moving = _draw_stacks(1, 16, 16)
    weights = _make_weights(seed=3)
    network = DilatedResidualAttentionNetwork(4).eval()
    network.load_state_dict(weights)

    fused = fuse_slices(fixed, moving, load_fuser(find_card(NETWORK), weights))

    with torch.no_grad():
        expected = network(torch.from_numpy(fixed)[None], torch.from_numpy(moving)[None])[0]
    np.testing.assert_allclose(fused, expected.numpy(), rtol=0, atol=1e-6)


def test_weights_for_a_classical_rule_are_the_callers_defect() -> None:
    with pytest.raises(ValueError, match="takes no weights"):
        load_fuser(find_card("average"), _make_weights())


_GOOD = np.full((2, 4, 4), 0.5, np.float32)


@pytest.mark.parametrize(
    "bad",
    [
        _GOOD[:1],
        _GOOD[0],
        _GOOD[:0],
        _GOOD.astype(np.float64),
        _GOOD + np.float32(0.6),
        _GOOD - np.float32(0.6),
        np.full_like(_GOOD, np.nan),
    ],
    ids=["fewer slices", "no slice axis", "empty", "float64", "above 1", "below 0", "NaN"],
)
def test_stacks_that_break_the_contract_are_the_callers_defect(bad: SliceStack) -> None:
    for fixed, moving in ((_GOOD, bad), (bad, _GOOD)):
        with pytest.raises(ValueError, match="stack"):
            fuse_slices(fixed, moving, _load("average"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_fuser_that_leaves_the_range_is_stopped(value: float) -> None:
    card = replace(find_card("average"), name="wild")
    wild = Fuser(card, lambda fixed, _: torch.full_like(fixed, value), torch.device("cpu"))

    with pytest.raises(ArithmeticError, match="wild@1"):
        fuse_slices(_GOOD, _GOOD, wild)
