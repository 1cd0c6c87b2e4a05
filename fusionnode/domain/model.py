"""What is known of a fuser without loading it."""

from dataclasses import dataclass
from enum import StrEnum


class ModelKind(StrEnum):
    """A classical rule has nothing to learn; a network needs trained weights."""

    CLASSICAL = "classical"
    NETWORK = "network"


@dataclass(frozen=True)
class ModelCard:
    """The facts of one fuser, torch-free, so that listing models starts in a moment.

    Attributes:
        version: of the rule or of the trained weights; ``name@version`` is what outputs carry.
        sha256: of the weight file; empty for a classical rule.
        available: False while a network's structure is present but no trained weights are.
        reference: the publication.
        cold_gain: share of its brightness at which anatomy without uptake is shown, everywhere alike; 0 where that is
            left to the fuser.
    """

    name: str
    version: str
    kind: ModelKind
    summary: str
    reference: str
    available: bool = True
    sha256: str = ""
    parameters: int = 0
    cold_gain: float = 0.0

    @property
    def identifier(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"
