"""Takes the place of a watcher and keeps what it was told."""

from dataclasses import dataclass, field

from fusionnode.flow.observing import RemotePeer, Transfer, Unobserved


@dataclass
class Witness(Unobserved):
    """Keeps what it was told of queries, and of what came and went."""

    queries: list[tuple[str, str, str]] = field(default_factory=list)
    fetched: list[Transfer] = field(default_factory=list)
    begun: list[Transfer] = field(default_factory=list)
    sent: list[tuple[str, Transfer]] = field(default_factory=list)

    def archive_queried(self, peer: RemotePeer, what: str, patient_id: str, trouble: str) -> None:
        self.queries.append((what, patient_id, trouble))

    def instances_fetched(self, peer: RemotePeer, transfer: Transfer) -> None:
        self.fetched.append(transfer)

    def sending_begins(self, peer: RemotePeer, transfer: Transfer) -> None:
        self.begun.append(transfer)

    def instances_sent(self, peer: RemotePeer, transfer: Transfer) -> None:
        self.sent.append((peer.ae_title, transfer))
