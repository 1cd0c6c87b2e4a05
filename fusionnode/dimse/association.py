"""One association: under this node's own identity, released at the end, its answers left to who waits (edge)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.uid import UID
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import EVT_CONN_OPEN, EventHandlerType
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from fusionnode.dimse.node import DicomNode, Patience
from fusionnode.dimse.sockets import READ_BYTES, hasten
from fusionnode.dimse.trouble import explain_trouble
from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, name_implementation


@contextmanager
def open_association(
    node: DicomNode,
    contexts: list[PresentationContext],
    patience: Patience,
    handlers: Sequence[EventHandlerType] = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """Yield an association, released at the end. When the node takes none of the contexts it is not established.

    Raises:
        Unavailable: there is none to be had; the node's own error, whose reason says whether it is TLS.
    """
    entity = _build_entity(node, patience)
    assoc = entity.associate(
        node.host,
        node.port,
        contexts,
        node.ae_title,
        max_pdu=READ_BYTES,
        ext_neg=list(roles) or None,
        evt_handlers=[(EVT_CONN_OPEN, hasten), *handlers],
        tls_args=(node.tls, node.host) if node.tls else None,
    )
    if not assoc.is_established and not assoc.rejected_contexts:
        raise node.describe_trouble(explain_trouble(assoc, node, patience))
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


@contextmanager
def own_answers(assoc: Association) -> Iterator[None]:
    """Leave every answer to the caller that waits for it, and every request of the peer to the time after.

    The association's own loop looks for requests of the peer in the same queue and, under load, now and then takes an
    answer out of it and drops it. The caller in turn would take a request that comes first for a bad answer; only the
    instances that a C-GET brings are part of its answer (PS3.4 section C.4.3.2).
    """
    take = assoc.dimse.get_msg
    requests: list[Any] = []

    def take_answer(block: bool = False) -> tuple[Any, Any]:
        while block:
            context_id, message = take(True)
            if message is None or isinstance(message, C_STORE) or not message.is_valid_request:
                return context_id, message
            requests.append((context_id, message))
        return None, None

    assoc.dimse.get_msg = take_answer  # type: ignore[method-assign]
    try:
        yield
    finally:
        assoc.dimse.get_msg = take  # type: ignore[method-assign]
        for request in requests:
            assoc.dimse.msg_queue.put(request)


def _build_entity(node: DicomNode, patience: Patience) -> ApplicationEntity:
    entity = ApplicationEntity(node.calling_ae_title)
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = name_implementation()
    entity.maximum_pdu_size = READ_BYTES
    entity.connection_timeout = entity.acse_timeout = patience.connection_seconds
    entity.dimse_timeout = patience.answer_seconds
    entity.network_timeout = patience.network_seconds
    return entity
