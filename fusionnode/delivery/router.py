"""Finds for each destination the sender that speaks its language (edge)."""

from collections.abc import Iterator, Mapping, Sequence

from fusionnode.delivery.directory import find_destination
from fusionnode.flow.ports import Delivery, DeliveryOutcome, Sender


class Router:
    """All destinations of a site; fulfils `fusionnode.flow.ports.Sender` by asking the one that knows the name.

    Args:
        senders: by name of destination.
    """

    def __init__(self, senders: Mapping[str, Sender]) -> None:
        self._senders = senders

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Send each instance and yield what became of it.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: it does not answer, or broke off; what was yielded before stands.
        """
        return find_destination(self._senders, destination).send(destination, deliveries)

    def offers_commitment(self, destination: str) -> bool:
        """Return whether storage commitment is to be asked of it; False also for one that does not exist."""
        sender = self._senders.get(destination)
        return sender is not None and sender.offers_commitment(destination)

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        """Ask the destination to answer for instances it accepted; the report comes by another way, later.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: it does not answer.
            CommitmentRefused: it does not take the request.
        """
        find_destination(self._senders, destination).request_commitment(destination, transaction_uid, deliveries)

    def echo(self, destination: str) -> str:
        """Ask whether the destination answers; returns what it answered.

        Raises:
            SettingsInvalid: the site file names no such destination.
            DestinationUnreachable: it does not answer, or not with success.
        """
        return find_destination(self._senders, destination).echo(destination)
