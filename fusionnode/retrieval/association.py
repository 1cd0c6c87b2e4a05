"""An association with an archive, and the status of an answer over it (edge)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from fusionnode.dimse.association import open_association, own_answers
from fusionnode.dimse.node import DicomNode, Patience
from fusionnode.errors import ArchiveUnreachable

PENDING = frozenset({0xFF00, 0xFF01})
PATIENCE = Patience(answer_seconds=300.0, network_seconds=300.0)
"""An archive may look for long before it sends the first instance, or the next."""


@dataclass(frozen=True)
class Peer(DicomNode):
    """An archive that speaks DIMSE."""

    def describe_trouble(self, why: str) -> ArchiveUnreachable:
        """Return the error that says what went wrong with this archive."""
        return ArchiveUnreachable(
            f"Archive {self.place}: {why}.",
            remedy="Check its address and AE titles; it must know this node's AE title as well.",
            archive=self.name,
            why=why,
        )


@dataclass(frozen=True)
class Roles:
    """The storage classes in which the archive may send, and what takes each instance."""

    negotiations: Sequence[SCP_SCU_RoleSelectionNegotiation] = ()
    handlers: Sequence[EventHandlerType] = ()


@contextmanager
def associate(
    peer: Peer, contexts: list[PresentationContext], patience: Patience, roles: Roles = Roles()
) -> Iterator[Association]:
    """Yield an association, released at the end, or aborted where the caller left it in the middle of something.

    Raises:
        ArchiveUnreachable: it could not be had, or takes none of the contexts.
    """
    with open_association(peer, contexts, patience, roles.handlers, roles.negotiations) as assoc:
        if not assoc.is_established:
            raise peer.describe_trouble("it takes none of the services asked for")
        finished = False
        try:
            with own_answers(assoc):
                yield assoc
            finished = True
        finally:
            if not finished:
                assoc.abort()


def require_status(peer: Peer, status: Dataset, what: str) -> int:
    """Return the status of an answer.

    Raises:
        ArchiveUnreachable: there is none: the association broke, or no answer came in time.
    """
    if "Status" not in status:
        raise peer.describe_trouble(f"{what}: the association broke, or no answer came in time")
    return int(status.Status)


def has_context(assoc: Association, sop_class: UID) -> bool:
    """Whether the archive accepted the class."""
    return any(context.abstract_syntax == sop_class for context in assoc.accepted_contexts)
