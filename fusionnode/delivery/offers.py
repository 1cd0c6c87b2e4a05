"""Which presentation contexts to offer for what is to be sent, and which accepted one an instance may use (edge)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context

from fusionnode.flow.ports import Delivery

MAX_CONTEXTS = 128
"""PS3.8 section 9.3.2.2: context ids are the odd numbers from 1 to 255."""

_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass(frozen=True)
class Parcel:
    """A delivery whose file was found: what it says it is, and where it lies."""

    delivery: Delivery
    path: Path
    sop_class_uid: str
    transfer_syntax_uid: str

    @property
    def offers(self) -> list[tuple[str, str]]:
        """Pairs of SOP class and transfer syntax to ask for, the stored syntax first.

        All but big endian data is offered in the plain syntaxes as well (PS3.5 section 10.1), for which compressed
        frames are decoded.
        """
        syntaxes = [self.transfer_syntax_uid]
        if self.transfer_syntax_uid != ExplicitVRBigEndian:
            syntaxes += [syntax for syntax in _PLAIN if syntax != self.transfer_syntax_uid]
        return [(self.sop_class_uid, str(syntax)) for syntax in syntaxes]


def group_parcels(parcels: Iterable[Parcel]) -> list[list[Parcel]]:
    """Split so that each group needs at most 128 contexts, that is one association; the order is kept."""
    groups: list[list[Parcel]] = []
    offered: set[tuple[str, str]] = set()
    for parcel in parcels:
        if not groups or len(offered.union(parcel.offers)) > MAX_CONTEXTS:
            groups.append([])
            offered = set()
        groups[-1].append(parcel)
        offered.update(parcel.offers)
    return groups


def list_contexts(parcels: Sequence[Parcel]) -> list[PresentationContext]:
    """One context per SOP class and transfer syntax, so that the peer answers for each of them."""
    offers = dict.fromkeys(offer for parcel in parcels for offer in parcel.offers)
    return [build_context(UID(sop_class), UID(syntax)) for sop_class, syntax in offers]


def choose_syntax(parcel: Parcel, accepted: Iterable[PresentationContext]) -> str:
    """Return the accepted transfer syntax to send ``parcel`` in, the stored one if possible; empty if there is none."""
    taken = {(str(context.abstract_syntax), str(context.transfer_syntax[0])) for context in accepted}
    return next((offer[1] for offer in parcel.offers if offer in taken), "")
