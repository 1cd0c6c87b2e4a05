"""From a card to its tensors (middle): one safetensors file per network and version, beside this module.

A weight file decides what a radiologist sees, so its SHA-256 is checked at every load, before anything reads it; and
the format holds tensors only, so that opening one never runs anything.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fusionnode.domain.model import ModelCard
from fusionnode.errors import WeightsAltered, WeightsMissing

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).resolve().parent
"""Where the package keeps its weight files."""


def load_weights(card: ModelCard, folder: Path = FOLDER) -> Mapping[str, "Tensor"] | None:
    """Read the tensors of a card's weight file.

    Args:
        card: of `fusionnode.fusion.cards`.
        folder: of weight files.

    Returns:
        Float32 tensors on the processor, by parameter name; None where the card pins no file, as a classical rule does
        not.

    Raises:
        WeightsMissing: the file is not there or cannot be read.
        WeightsAltered: it is not, byte for byte, the file the card speaks of.
    """
    if not card.sha256:
        return None
    content = _read_verified(card, folder / name_weight_file(card))
    from safetensors.torch import load

    tensors: dict[str, Tensor] = load(content)
    return tensors


def name_weight_file(card: ModelCard) -> str:
    """The file name of a card's weights."""
    return f"{card.name}-{card.version}.safetensors"


def _read_verified(card: ModelCard, path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise WeightsMissing(
            f"The weight file {path} of {card.identifier} cannot be read: {cause.strerror}.",
            remedy="Install fusionnode again.",
            model=card.identifier,
        ) from cause
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise WeightsAltered(
            f"{path} is not the weight file of {card.identifier}: SHA-256 {found}, and it should be {card.sha256}.",
            remedy="Install fusionnode again; find out who changed the file.",
            model=card.identifier,
            found=found,
            expected=card.sha256,
        )
    return content
