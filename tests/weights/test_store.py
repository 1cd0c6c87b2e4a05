"""A weight file is used exactly when it is the one its card speaks of."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

from fusionnode.domain.model import ModelCard, ModelKind
from fusionnode.errors import Misconfigured, WeightsAltered, WeightsMissing
from fusionnode.fusion.cards import CARDS, find_card
from fusionnode.fusion.fuse import load_fuser
from fusionnode.weights.store import FOLDER, load_weights, name_weight_file

_TENSORS = {"one.weight": torch.arange(6.0).reshape(2, 3), "one.bias": torch.tensor([0.5])}
AVAILABLE = [card for card in CARDS.values() if card.kind is ModelKind.NETWORK and card.available]


def _store(folder: Path) -> ModelCard:
    content = save(_TENSORS)
    card = ModelCard(
        "some-network", "3", ModelKind.NETWORK, "", "", sha256=hashlib.sha256(content).hexdigest(), parameters=7
    )
    (folder / "some-network-3.safetensors").write_bytes(content)
    return card


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    weights = load_weights(_store(tmp_path), tmp_path)

    assert weights is not None
    assert weights.keys() == _TENSORS.keys()
    for name, tensor in _TENSORS.items():
        assert torch.equal(weights[name], tensor)


@pytest.mark.parametrize("place", [0, 8, 100, -1])
def test_one_changed_byte_is_refused_with_both_sums(tmp_path: Path, place: int) -> None:
    card = _store(tmp_path)
    path = tmp_path / name_weight_file(card)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)

    with pytest.raises(WeightsAltered) as caught:
        load_weights(card, tmp_path)

    assert card.sha256 in str(caught.value)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert isinstance(caught.value, Misconfigured)


@pytest.mark.parametrize("size", [0, 50])
def test_a_shortened_file_is_refused(tmp_path: Path, size: int) -> None:
    card = _store(tmp_path)
    path = tmp_path / name_weight_file(card)
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(WeightsAltered):
        load_weights(card, tmp_path)


def test_another_version_s_file_is_not_taken(tmp_path: Path) -> None:
    card = replace(_store(tmp_path), version="4")

    with pytest.raises(WeightsMissing, match=r"some-network-4\.safetensors"):
        load_weights(card, tmp_path)


def test_a_classical_rule_has_no_weights() -> None:
    assert load_weights(find_card("maximum")) is None


@pytest.mark.parametrize("card", AVAILABLE, ids=lambda card: card.identifier)
def test_every_available_network_loads_from_the_package_as_its_card_says(card: ModelCard) -> None:
    weights = load_weights(card)

    assert weights is not None
    fuser = load_fuser(card, weights)
    assert isinstance(fuser.combine, nn.Module)
    assert sum(parameter.numel() for parameter in fuser.combine.parameters()) == card.parameters
    fused = fuser(torch.rand(1, 1, 30, 41), torch.rand(1, 1, 30, 41))
    assert fused.shape == (1, 1, 30, 41)


def test_the_package_holds_no_weight_file_without_a_card_and_none_above_8_megabytes() -> None:
    files = sorted(FOLDER.glob("*.safetensors"))

    assert [path.name for path in files] == sorted(name_weight_file(card) for card in AVAILABLE)
    assert all(path.stat().st_size <= 8_000_000 for path in files)
