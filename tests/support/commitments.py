"""A PACS inside the test that takes storage commitment requests and reports on them in every allowed way."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from pynetdicom.transport import ThreadedAssociationServer

NO_SUCH_INSTANCE = 0x0112


@dataclass
class CommittingPeer:
    """Stores everything, and answers for it.

    Attributes:
        report_to: port of the listener that reports go to over an association of their own; None reports over the
            association that asked.
        silent: take requests and never report.
        report_first: report over the asking association before the request itself is answered.
        refuse: statuses by SOP Instance UID for those it does not store.
        status: answer to the request.
        lose: SOP Instance UIDs that it says it lost, once each.
        asked: the requests so far.
        answers: what the listener answered to reports.
    """

    report_to: int | None = None
    silent: bool = False
    report_first: bool = False
    refuse: dict[str, int] = field(default_factory=dict)
    status: int = 0x0000
    lose: set[str] = field(default_factory=set)
    stored: list[str] = field(default_factory=list)
    asked: list[Dataset] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    port: int = 0

    def answer_store(self, event: evt.Event) -> int:
        """Keep the instance's UID, unless it is to be refused."""
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid not in self.refuse:
            self.stored.append(uid)
        return self.refuse.get(uid, 0x0000)

    def answer_request(self, event: evt.Event) -> tuple[int, None]:
        """Take the request and report in another thread."""
        if self.status == 0x0000:
            self.asked.append(event.action_information)
            if not self.silent:
                report = threading.Thread(
                    target=self._report, args=(event.action_information, event.assoc), daemon=True
                )
                report.start()
                if self.report_first:
                    report.join(1)
        return self.status, None

    def _report(self, request: Dataset, assoc: object) -> None:
        report = self.build_report(request)
        if self.report_to is not None:
            self.answers.append(send_report(self.report_to, report))
            return
        answer, _ = assoc.send_n_event_report(  # type: ignore[attr-defined]
            report, 2 if "FailedSOPSequence" in report else 1,
            StorageCommitmentPushModel, StorageCommitmentPushModelInstance,
        )  # fmt: skip
        self.answers.append(int(answer.Status))

    def build_report(self, request: Dataset) -> Dataset:
        """Return the Event Information that answers a request."""
        kept = [one for one in request.ReferencedSOPSequence if one.ReferencedSOPInstanceUID not in self.lose]
        lost = [one for one in request.ReferencedSOPSequence if one.ReferencedSOPInstanceUID in self.lose]
        self.lose.clear()
        report = Dataset()
        report.TransactionUID = request.TransactionUID
        report.ReferencedSOPSequence = kept
        if lost:
            for one in lost:
                one.FailureReason = NO_SUCH_INSTANCE
            report.FailedSOPSequence = lost
        return report


@contextmanager
def running_peer(peer: CommittingPeer) -> Iterator[CommittingPeer]:
    """Let ``peer`` listen on a free port until the block ends."""
    entity = AE("COMMITTER")
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(context.abstract_syntax)
    entity.add_supported_context(StorageCommitmentPushModel)
    handlers = [(evt.EVT_C_STORE, peer.answer_store), (evt.EVT_N_ACTION, peer.answer_request)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert isinstance(server, ThreadedAssociationServer)
    peer.port = server.server_address[1]
    try:
        yield peer
    finally:
        server.shutdown()


def send_report(port: int, report: Dataset, *, role: bool = True, tls: ssl.SSLContext | None = None) -> int:
    """Report over an association of its own, as the SCP of it (PS3.7 section D.3.3.4); return the answer's status.

    Without ``role`` it does not say that it is the SCP, as some do.
    """
    entity = AE("COMMITTER")
    entity.add_requested_context(StorageCommitmentPushModel)
    roles = [build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)] if role else []
    secured = (tls, "127.0.0.1") if tls else None
    assoc = entity.associate("127.0.0.1", port, ae_title="FUSIONNODE", ext_neg=roles, tls_args=secured)
    assert assoc.is_established
    kind = 2 if "FailedSOPSequence" in report else 1
    answer, _ = assoc.send_n_event_report(report, kind, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assoc.release()
    return int(answer.get("Status", -1))
