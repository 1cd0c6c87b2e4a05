"""A destination that takes C-STORE (edge)."""

from dataclasses import dataclass

from fusionnode.dimse.node import DicomNode
from fusionnode.errors import DestinationUnreachable


@dataclass(frozen=True)
class Destination(DicomNode):
    """A DICOM node that is sent to.

    Attributes:
        commits: whether it offers storage commitment (PS3.4 annex J).
    """

    commits: bool = False

    def describe_trouble(self, why: str) -> DestinationUnreachable:
        """Return the error that says of this destination why nothing could be done with it."""
        return DestinationUnreachable(
            f"Destination {self.place}: {why}.",
            remedy="Check its address and AE titles with `fusionnode doctor`; it will be tried again.",
            destination=self.name,
            why=why,
        )
