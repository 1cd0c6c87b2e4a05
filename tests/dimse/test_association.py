"""An association under this node's identity, released at the end; `tests/network` has the conversations."""

from io import BytesIO

from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_EVENT_REPORT
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from fusionnode.delivery.destination import Destination
from fusionnode.dimse.association import open_association, own_answers
from fusionnode.dimse.node import Patience
from fusionnode.domain.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from tests.support.pacs import StoragePeer
from tests.support.proposals import noting_associations

CONTEXTS = [build_context(Verification)]
PATIENCE = Patience(5, 5, 5)


def _name_peer(port: int) -> Destination:
    return Destination("pacs", "TESTPACS", "127.0.0.1", port, "FUSIONNODE")


def test_it_is_released_at_the_end() -> None:
    with StoragePeer() as peer:
        with open_association(_name_peer(peer.port), CONTEXTS, PATIENCE) as assoc:
            assert assoc.is_established
        assert assoc.is_released


def test_it_introduces_this_node_and_no_library() -> None:
    with noting_associations() as (port, noted), open_association(_name_peer(port), CONTEXTS, PATIENCE) as assoc:
        assert not assoc.is_established
    [proposal] = noted
    assert (proposal.calling, proposal.called) == ("FUSIONNODE", "TESTPACS")
    assert proposal.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert proposal.implementation_version == IMPLEMENTATION_VERSION_NAME


def test_one_that_takes_none_of_the_contexts_is_yielded_all_the_same() -> None:
    with (
        StoragePeer() as peer,
        open_association(_name_peer(peer.port), [build_context(StorageCommitmentPushModel)], PATIENCE) as assoc,
    ):
        assert not assoc.is_established


def _make_answer() -> C_ECHO:
    answer = C_ECHO()
    answer.MessageIDBeingRespondedTo, answer.Status = 1, 0x0000
    return answer


def _make_report() -> N_EVENT_REPORT:
    request = N_EVENT_REPORT()
    request.MessageID, request.EventTypeID = 2, 1
    request.AffectedSOPClassUID = request.AffectedSOPInstanceUID = UID("1.2.840.10008.1.20.1")
    return request


def _make_instance() -> C_STORE:
    request = C_STORE()
    request.MessageID, request.Priority = 3, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.4"), UID("1.2.3")
    request.DataSet = BytesIO(b"\0\0")
    return request


def test_the_answer_goes_to_who_waits_and_a_request_that_came_first_to_the_time_after() -> None:
    report, answer = _make_report(), _make_answer()
    assert report.is_valid_request
    with StoragePeer() as peer, open_association(_name_peer(peer.port), CONTEXTS, PATIENCE) as assoc:
        with own_answers(assoc):
            for message in (report, answer):
                assoc.dimse.msg_queue.put((1, message))
            assert assoc.dimse.get_msg(block=False) == (None, None)
            assert assoc.dimse.get_msg(block=True) == (1, answer)
            # The association's own loop would take it from here on.
            assoc.abort()
        assert assoc.dimse.msg_queue.get(timeout=5) == (1, report)


def test_an_instance_that_a_c_get_brings_is_part_of_its_answer() -> None:
    instance = _make_instance()
    assert instance.is_valid_request
    with (
        StoragePeer() as peer,
        open_association(_name_peer(peer.port), CONTEXTS, PATIENCE) as assoc,
        own_answers(assoc),
    ):
        assoc.dimse.msg_queue.put((1, instance))
        assert assoc.dimse.get_msg(block=True) == (1, instance)
