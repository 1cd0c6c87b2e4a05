"""The cards of all fusers in one table (middle): what can be asked for by name, known without torch."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fusionnode.domain.model import ModelCard, ModelKind
from fusionnode.errors import ModelUnknown

DEFAULT = "mask-attention"

_COLD_GAIN = 0.87
"""About what these networks make of anatomy without uptake in the mean; left to them it varies from place to place."""

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
        name="asymmetric-restormer",
        version="1",
        kind=ModelKind.NETWORK,
        summary="A Restormer encoder per modality, deeper for the MRI, dual attention, and one decoder.",
        reference=(
            "Kong et al., medical image fusion with asymmetric Restormer and dual attention, "
            "Chinese Journal of Liquid Crystals and Displays, 2025, DOI 10.37188/CJLCD.2025-0087"
        ),
        sha256="f9f90099efb5b41854d85455fdd2a22f8eacf0205b0478fd81e0d57b5decdfbe",
        parameters=93_009,
        cold_gain=_COLD_GAIN,
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
        sha256="6b759371bd634d22e4322258fbb483e196e628d0c5aa093a6dd67c5db39decfb",
        parameters=13_656,
    ),
    ModelCard(
        name="mask-attention",
        version="1",
        kind=ModelKind.NETWORK,
        summary="Three paths under Otsu masks, contrast enhancement, detail preservation and parallel attention.",
        reference=(
            "Di et al., multimodal medical image fusion by mask optimisation and a parallel attention mechanism, 2025"
        ),
        sha256="ae55618879b9f97905a404825af2806c8d9936526990e8309a29bac2fc0d7af8",
        parameters=279_521,
        cold_gain=_COLD_GAIN,
    ),
    ModelCard(
        name="spatial-frequency-experts",
        version="1",
        kind=ModelKind.NETWORK,
        summary="Cross attention in space and attention in the Fourier domain, weighed by a soft mixture of experts.",
        reference="Gu et al., ASFE-Fusion: adaptive spatial and frequency experts for medical image fusion, 2024",
        sha256="97b9cfdf2f6a5265130494923f729b77dd9d2bb0937d3e4c258c2c5d6e630014",
        parameters=1_750_078,
        cold_gain=_COLD_GAIN,
    ),
)

CARDS: Mapping[str, ModelCard] = {card.name: card for card in _CARDS}
"""Name → card, of every fuser there is, whether it can run or not."""


def list_card_facts() -> list[dict[str, Any]]:
    """Every card as plain JSON values, with whether it is the default."""
    return [asdict(card) | {"kind": card.kind.value, "default": card.name == DEFAULT} for card in CARDS.values()]


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
