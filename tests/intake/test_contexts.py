from copy import deepcopy

import pytest
from pydicom import uid
from pynetdicom.presentation import build_context, negotiate_as_acceptor

from fusionnode.domain.uids import parse_uid
from fusionnode.intake.contexts import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
    SharedContexts,
    build_contexts,
)


def test_no_class_and_no_syntax_is_listed_twice() -> None:
    assert len(set(STORAGE_CLASSES)) == len(STORAGE_CLASSES)
    assert len(set(TRANSFER_SYNTAXES)) == len(TRANSFER_SYNTAXES)


def test_every_public_syntax_pydicom_knows_is_offered() -> None:
    assert {s for s in uid.AllTransferSyntaxes if not s.is_private} == set(TRANSFER_SYNTAXES)


def test_every_listed_class_is_a_storage_class_of_the_standard() -> None:
    for sop_class in STORAGE_CLASSES:
        assert sop_class.type == "SOP Class"
        assert sop_class.name.endswith("Storage")
        assert not sop_class.is_retired


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_a_peer_that_has_only_one_syntax_is_accepted(syntax: uid.UID) -> None:
    wanted = build_context(uid.EnhancedPETImageStorage, syntax)
    wanted.context_id = 1
    (result,), _ = negotiate_as_acceptor([wanted], SharedContexts(build_contexts()))
    assert result.result == 0
    assert result.transfer_syntax == [syntax]


def test_uncompressed_is_preferred_whatever_the_peer_lists_first() -> None:
    wanted = build_context(uid.MRImageStorage, [uid.JPEG2000Lossless, uid.RLELossless, uid.ImplicitVRLittleEndian])
    wanted.context_id = 1
    (result,), _ = negotiate_as_acceptor([wanted], build_contexts())
    assert result.transfer_syntax == [uid.ImplicitVRLittleEndian]


def test_negotiation_leaves_the_shared_contexts_as_they_were() -> None:
    shared = SharedContexts(build_contexts())
    assert deepcopy(shared) is shared
    wanted = build_context(uid.MRImageStorage, uid.ImplicitVRLittleEndian)
    wanted.context_id = 1
    negotiate_as_acceptor([wanted], shared)
    assert shared == build_contexts()


def test_the_node_introduces_itself_within_the_limits_of_the_standard() -> None:
    assert parse_uid(IMPLEMENTATION_CLASS_UID) == IMPLEMENTATION_CLASS_UID
    assert 0 < len(IMPLEMENTATION_VERSION_NAME) <= 16
