"""What the edges tell of who exchanged what with whom, for the audit trail and the metrics; as Protocols.

Whoever watches never raises, and never keeps anybody waiting for longer than two small writes to a disk take; nor for
any where that is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class RemotePeer:
    """The other end of a connection, as far as it is known.

    Attributes:
        ae_title: what it calls itself; empty before it said so, or for a web server.
        called: the AE title it called.
        address: its IP address or host name, or its URL.
        certificate: subject of the certificate it showed; empty without one.
    """

    ae_title: str = ""
    called: str = ""
    address: str = ""
    certificate: str = ""


@dataclass(frozen=True)
class Subject:
    """Whose data a data set holds; texts are empty where it is silent. The patient never reaches a log or a metric."""

    study_instance_uid: str = ""
    series_instance_uid: str = ""
    patient_id: str = ""
    issuer: str = ""


NOBODY = Subject()


@dataclass(frozen=True)
class StoreAnswer:
    """One C-STORE request that was answered.

    Attributes:
        status: the DIMSE status it was answered with.
        seconds: from the first byte of its data set to the answer.
        subject: whose data it is, where it was stored; `NOBODY` where it was not, or could not be read.
    """

    sop_class_uid: str
    sop_instance_uid: str
    status: int
    seconds: float
    subject: Subject = NOBODY


@dataclass(frozen=True)
class Transfer:
    """Instances of one series that went one way together.

    Attributes:
        classes: number of instances by SOP Class UID.
        trouble: name of what broke it off or was refused; empty when all went well.
        job: id of the job they belong to; empty where there is none.
    """

    subject: Subject
    classes: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    job: str = ""


class IntakeObserver(Protocol):
    """Is told what happens at the listener, in the threads of the associations. ``association`` tells them apart."""

    def association_opened(self, association: str, peer: RemotePeer) -> None:
        """An association was accepted; told before anything else of it."""

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        """A connection or association was turned away; ``reason`` is a few words of ours, never the peer's.

        Also told by the thread that accepts connections: no disk is waited for.
        """

    def instance_answered(self, association: str, answer: StoreAnswer) -> None:
        """A C-STORE request is about to be answered; what was stored is durable already."""

    def association_ended(self, association: str, how: str) -> None:
        """An association that was opened is over: ``released``, ``aborted`` or ``closed``; told once and last."""


class ExchangeObserver(Protocol):
    """Is told what this node asks of others, fetches from them and brings to them, and what it deletes."""

    def archive_queried(self, peer: RemotePeer, what: str, patient_id: str, trouble: str) -> None:
        """An archive was asked for ``what`` (study, series, instance); ``patient_id`` if that was among the keys."""

    def instances_fetched(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Instances of a series came from an archive that was asked for them."""

    def sending_begins(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Instances of a series are about to be sent."""

    def instances_sent(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Instances of a series were sent; those the peer accepted are counted in ``transfer.classes``."""

    def data_deleted(self, kind: str, name: str, why: str) -> None:
        """What was received or made is gone: ``kind`` says what, ``name`` is a UID, a job's id or a file's name."""


class Unobserved:
    """Fulfils both Protocols and tells nobody."""

    def association_opened(self, association: str, peer: RemotePeer) -> None:
        """Nothing."""

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        """Nothing."""

    def instance_answered(self, association: str, answer: StoreAnswer) -> None:
        """Nothing."""

    def association_ended(self, association: str, how: str) -> None:
        """Nothing."""

    def archive_queried(self, peer: RemotePeer, what: str, patient_id: str, trouble: str) -> None:
        """Nothing."""

    def instances_fetched(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Nothing."""

    def sending_begins(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Nothing."""

    def instances_sent(self, peer: RemotePeer, transfer: Transfer) -> None:
        """Nothing."""

    def data_deleted(self, kind: str, name: str, why: str) -> None:
        """Nothing."""


UNOBSERVED = Unobserved()
