"""Every network has a recipe that can be followed, and no other name has."""

import pytest

from fusionnode.domain.model import ModelKind
from fusionnode.errors import ModelUnknown
from fusionnode.fusion.cards import CARDS
from fusionnode.training.losses import LOSSES
from fusionnode.training.recipes import RECIPES, find_recipe
from fusionnode.training.trainees import Reconstructing, make_trainee


def test_every_network_has_a_recipe_and_nothing_else_has() -> None:
    assert set(RECIPES) == {name for name, card in CARDS.items() if card.kind is ModelKind.NETWORK}
    with pytest.raises(ModelUnknown, match=r"laplacian.*mask-attention"):
        find_recipe("laplacian")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_followed_and_makes_the_network_of_the_card(name: str) -> None:
    plan = find_recipe(name)
    trainee = make_trainee(name, plan.channels, plan.seed)

    assert plan.loss in LOSSES
    assert not plan.reconstruct_steps or isinstance(trainee, Reconstructing)
    network = trainee.get_submodule("network")
    assert sum(parameter.numel() for parameter in network.parameters()) == CARDS[name].parameters
