from copy import deepcopy

import pytest
from pydicom import uid
from pydicom.pixels import get_decoder
from pynetdicom.presentation import build_context, negotiate_as_acceptor

from fusionnode.intake.contexts import (
    STORAGE_CLASSES,
    TRANSFER_SYNTAXES,
    SharedContexts,
    build_contexts,
)


def test_no_class_and_no_syntax_is_listed_twice() -> None:
    assert len(set(STORAGE_CLASSES)) == len(STORAGE_CLASSES)
    assert len(set(TRANSFER_SYNTAXES)) == len(TRANSFER_SYNTAXES)


def test_what_is_taken_is_what_can_be_decoded_here_and_nothing_else() -> None:
    assert {syntax for syntax in uid.AllTransferSyntaxes if _can_be_read(syntax)} == set(TRANSFER_SYNTAXES)


def _can_be_read(syntax: uid.UID) -> bool:
    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


@pytest.mark.parametrize("syntax", [uid.MPEG2MPML, uid.HEVCMP51, uid.UID("1.2.840.10008.1.2.4.204"), uid.JPEG2000MC])
def test_a_peer_that_has_only_video_or_references_is_not_accepted(syntax: uid.UID) -> None:
    wanted = build_context(uid.MRImageStorage, syntax)
    wanted.context_id = 1
    (result,), _ = negotiate_as_acceptor([wanted], SharedContexts(build_contexts()))
    assert result.result == 4, "transfer syntaxes not supported, PS3.8 table 9-18"


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
