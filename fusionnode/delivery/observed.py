"""A sender that tells what it carries, series by series, and leaves everything else to another one (edge)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from fusionnode.errors import FusionNodeError
from fusionnode.flow.observing import NOBODY, ExchangeObserver, RemotePeer, Subject, Transfer
from fusionnode.flow.ports import Delivery, DeliveryOutcome, Sender
from fusionnode.malformed import MALFORMED

_TAGS = ["PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID"]


class ObservedSender:
    """Fulfils `fusionnode.flow.ports.Sender` by another one, and tells ``observer`` of every series.

    Args:
        sender: does the work.
        spool_root: what the paths of deliveries are relative to.
        peers: who stands behind the name of each destination.
    """

    def __init__(
        self, sender: Sender, spool_root: Path, peers: Mapping[str, RemotePeer], observer: ExchangeObserver
    ) -> None:
        self._sender, self._root, self._peers, self._observer = sender, spool_root, peers, observer

    def send(self, destination: str, deliveries: Sequence[Delivery]) -> Iterator[DeliveryOutcome]:
        """Send each instance and yield what became of it; raises as the sender does that does the work.

        A series that is broken off is told of with what was stored until then. The first word of a series comes with
        its first answer, so that a destination that is away for days does not fill the trail with beginnings.
        """
        account = _Account(self._peers.get(destination, RemotePeer()), self._observer, self._root)
        account.expect(deliveries)
        trouble = "left off"
        try:
            for outcome in self._sender.send(destination, deliveries):
                account.note(outcome)
                yield outcome
            trouble = ""
        except FusionNodeError as error:
            trouble = error.code
            raise
        finally:
            account.close(trouble)

    def offers_commitment(self, destination: str) -> bool:
        """Return whether storage commitment is to be asked of it."""
        return self._sender.offers_commitment(destination)

    def request_commitment(self, destination: str, transaction_uid: str, deliveries: Sequence[Delivery]) -> None:
        """Ask the destination to answer for instances it accepted; raises as the sender does that does the work."""
        self._sender.request_commitment(destination, transaction_uid, deliveries)

    def echo(self, destination: str) -> str:
        """Ask whether the destination answers; raises as the sender does that does the work."""
        return self._sender.echo(destination)


class _Account:
    """What of which series went out in one call."""

    def __init__(self, peer: RemotePeer, observer: ExchangeObserver, root: Path) -> None:
        self._peer, self._observer, self._root = peer, observer, root
        self._subjects: dict[str, Subject] = {}
        self._owed: dict[tuple[Subject, str], Counter[str]] = {}
        self._stored: dict[tuple[Subject, str], Counter[str]] = {}
        self._refused: dict[tuple[Subject, str], int] = {}

    def expect(self, deliveries: Sequence[Delivery]) -> None:
        for one in deliveries:
            subject = self._subjects[one.sop_instance_uid] = _read_subject(self._root / one.path)
            self._owed.setdefault((subject, one.job_id), Counter())[one.sop_class_uid] += 1

    def note(self, outcome: DeliveryOutcome) -> None:
        delivery = outcome.delivery
        series = (self._subjects.get(delivery.sop_instance_uid, NOBODY), delivery.job_id)
        if series not in self._stored:
            self._stored[series] = Counter()
            owed = Transfer(series[0], dict(self._owed.get(series, {})), job=series[1])
            self._observer.sending_begins(self._peer, owed)
        if outcome.stored:
            self._stored[series][delivery.sop_class_uid] += 1
        else:
            self._refused[series] = self._refused.get(series, 0) + 1

    def close(self, trouble: str) -> None:
        for series in self._owed:
            refused = self._refused.get(series, 0)
            words = trouble or (f"{refused} instances were refused" if refused else "")
            sent = Transfer(series[0], dict(self._stored.get(series, {})), words, series[1])
            self._observer.instances_sent(self._peer, sent)


def _read_subject(path: Path) -> Subject:
    """Return whose data a published object holds; `NOBODY` where it is gone or spoilt, which the sender will tell."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
        texts = {name: str(ds.get(name) or "") for name in _TAGS}
    except (InvalidDicomError, *MALFORMED):
        return NOBODY
    return Subject(
        texts["StudyInstanceUID"], texts["SeriesInstanceUID"], texts["PatientID"], texts["IssuerOfPatientID"]
    )
