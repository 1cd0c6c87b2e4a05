"""The cards of all fusers in one table (middle): what can be asked for by name, known without torch."""

from collections.abc import Mapping

from fusionnode.domain.model import ModelCard, ModelKind
from fusionnode.errors import ModelUnknown

DEFAULT = "laplacian"

_CARDS = (
    ModelCard(
        name="average",
        version="1",
        kind=ModelKind.CLASSICAL,
        summary="The mean of both images. Halves the brightness wherever only one of them has any.",
        reference="",
    ),
    ModelCard(
        name="maximum",
        version="1",
        kind=ModelKind.CLASSICAL,
        summary="The brighter of both images. Hides anatomy under strong uptake, and weak uptake under bright anatomy.",
        reference="",
    ),
    ModelCard(
        name="laplacian",
        version="1",
        kind=ModelKind.CLASSICAL,
        summary="Laplacian pyramid: detail from whichever image has more of it, brightness from the brighter one.",
        reference=(
            "P. J. Burt, E. H. Adelson, The Laplacian Pyramid as a Compact Image Code, "
            "IEEE Transactions on Communications 31(4), 1983"
        ),
    ),
    ModelCard(
        name="dilated-residual-attention",
        version="1",
        kind=ModelKind.NETWORK,
        summary="Multi-scale auto-encoder with attention; features weighted by the nuclear norm of their softmax.",
        reference=(
            "M. Zhou, X. Xu, Y. Zhang, An Attention-based Multi-Scale Feature Learning Network for Multimodal "
            "Medical Image Fusion, 2022, arXiv:2212.04661"
        ),
        available=False,
        parameters=216_001,
    ),
)

CARDS: Mapping[str, ModelCard] = {card.name: card for card in _CARDS}
"""Name → card, of every fuser there is, whether it can run or not."""


def find_card(name: str) -> ModelCard:
    """The card of ``name`` or of ``name@version``.

    Raises:
        ModelUnknown: there is no such fuser, or not in this version; says which there are.
    """
    card = CARDS.get(name.partition("@")[0])
    if card is None or name not in (card.name, card.identifier):
        known = [card.identifier for card in CARDS.values()]
        raise ModelUnknown(
            f"No fuser is called {name!r}.", remedy=f"Known: {', '.join(known)}.", name=name, known=known
        )
    return card
