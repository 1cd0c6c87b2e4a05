"""The table of cards: findable, honest, and known without torch."""

import json
import subprocess
import sys

import pytest

from fusionnode.domain.model import ModelKind
from fusionnode.errors import ModelUnknown
from fusionnode.fusion.cards import CARDS, DEFAULT, find_card, list_card_facts
from fusionnode.fusion.classical import RULES
from fusionnode.fusion.networks import NETWORKS
from fusionnode.pipeline.schema import Fusion


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_found_by_name_and_by_identifier(name: str) -> None:
    assert find_card(name) is CARDS[name]
    assert find_card(CARDS[name].identifier) is CARDS[name]
    assert CARDS[name].name == name


@pytest.mark.parametrize("name", ["", "magic", "Laplacian", "laplacian@", "laplacian@2", "laplacian@1@1", "@1"])
def test_an_unknown_name_is_refused_and_the_known_ones_are_listed(name: str) -> None:
    with pytest.raises(ModelUnknown) as caught:
        find_card(name)

    assert all(card.identifier in str(caught.value) for card in CARDS.values())


def test_every_card_has_its_code_and_all_code_has_a_card() -> None:
    by_kind = {kind: {card.name for card in CARDS.values() if card.kind is kind} for kind in ModelKind}

    assert by_kind == {ModelKind.CLASSICAL: set(RULES), ModelKind.NETWORK: set(NETWORKS)}


def test_the_default_can_run_and_is_that_of_a_pipeline_that_names_none() -> None:
    assert find_card(DEFAULT).available
    assert Fusion().model == DEFAULT


def test_a_network_is_available_exactly_when_its_weight_file_is_pinned() -> None:
    for card in CARDS.values():
        if card.kind is ModelKind.NETWORK:
            assert card.available == (len(card.sha256) == 64)


def test_the_facts_are_plain_json_with_one_default() -> None:
    facts = json.loads(json.dumps(list_card_facts()))

    assert [fact["name"] for fact in facts] == list(CARDS)
    assert [fact["name"] for fact in facts if fact["default"]] == [DEFAULT]
    for fact in facts:
        card = CARDS[fact["name"]]
        assert (fact["version"], fact["sha256"], fact["parameters"]) == (card.version, card.sha256, card.parameters)


@pytest.mark.parametrize("module", ["cards", "colour"])
def test_torch_stays_out(module: str) -> None:
    program = f"import sys, fusionnode.fusion.{module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
