"""How the weights of the package were trained (middle): `fusionnode train NAME` with nothing else says this."""

from collections.abc import Mapping

from fusionnode.errors import ModelUnknown
from fusionnode.training.train import TrainingPlan

_RECIPES = (
    TrainingPlan("asymmetric-restormer", steps=2600, seed=1, channels=24, side=128, reconstruct_steps=400),
    TrainingPlan(
        "dilated-residual-attention", steps=4000, seed=1, batch=8, side=96, peak_rate=2e-3, reconstruct_steps=4000
    ),
    TrainingPlan("mask-attention", steps=3000, seed=1, bfloat16=True),
    TrainingPlan("spatial-frequency-experts", steps=1600, seed=1, batch=1, side=256),
)

RECIPES: Mapping[str, TrainingPlan] = {plan.network: plan for plan in _RECIPES}
"""Card name → plan."""


def find_recipe(name: str) -> TrainingPlan:
    """The plan of the weights that ship.

    Raises:
        ModelUnknown: no network of this name can be trained.
    """
    if name not in RECIPES:
        raise ModelUnknown(f"No network called {name!r} can be trained.", remedy=f"Known: {', '.join(RECIPES)}.")
    return RECIPES[name]
