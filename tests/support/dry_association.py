"""A real association with nothing at the other end: requests go in as P-DATA, answers wait in the transport's queue."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, Association
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import build_context
from pynetdicom.transport import AddressInformation

from fusionnode.flow.observing import UNOBSERVED, IntakeObserver
from fusionnode.intake.handlers import Reception
from fusionnode.intake.reports import ReportFolder
from fusionnode.intake.spool import Spool
from fusionnode.intake.streaming import StreamingProvider

FRAGMENT_BYTES = 512


@contextmanager
def open_association(
    spool: Spool, syntax: UID = ExplicitVRLittleEndian, observer: IntakeObserver = UNOBSERVED
) -> Iterator[Association]:
    """An established association for MR images in presentation context 1; no thread runs and no socket is open."""
    assoc = Association(AE(), "acceptor")
    context = build_context(MRImageStorage, syntax)
    context.context_id = 1
    assoc._accepted_cx = {1: context}
    assoc.requestor.ae_title = "SCANNER"
    assoc.requestor.address_info = AddressInformation("127.0.0.1", 104)
    assoc.requestor.maximum_length = 16382
    provider = StreamingProvider(assoc, spool)
    assoc.dimse = provider
    for event, handler in Reception(spool, ReportFolder(spool.root).keep_report, observer).list_handlers():
        assoc.bind(event, handler)
    assoc.is_established = True
    try:
        yield assoc
    finally:
        provider.close()


def list_fragments(
    encoded: bytes, sop_instance_uid: str, sop_class_uid: str = MRImageStorage, context_id: int = 1
) -> list[P_DATA]:
    """Return the P-DATA primitives of one C-STORE request, whatever nonsense its UIDs are."""
    message = C_STORE_RQ()
    command = message.command_set
    command.AffectedSOPClassUID, command.AffectedSOPInstanceUID = sop_class_uid, sop_instance_uid
    command.CommandField, command.MessageID, command.Priority, command.CommandDataSetType = 1, 7, 2, 1
    del command.MoveOriginatorApplicationEntityTitle
    del command.MoveOriginatorMessageID
    message.data_set.write(encoded)
    return list(message.encode_msg(context_id, FRAGMENT_BYTES))


def deliver(assoc: Association, fragments: list[P_DATA]) -> int | None:
    """Hand the fragments to the association; return the status it answers with, None while it has not answered."""
    for fragment in fragments:
        assoc.dimse.receive_primitive(fragment)
    answer = DIMSEMessage()
    while not assoc.dul.to_provider_queue.empty():
        if answer.decode_msg(assoc.dul.to_provider_queue.get()):
            return int(answer.command_set.Status)
    return None
