"""What is offered covers what is to be sent, within the limits of the Standard."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)
from pynetdicom.presentation import build_context

from fusionnode.delivery.offers import MAX_CONTEXTS, Parcel, choose_syntax, group_parcels, list_contexts
from fusionnode.flow.ports import Delivery

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)


def _parcel(sop_class: int, syntax: str) -> Parcel:
    delivery = Delivery("job", "pacs", f"1.2.{sop_class}", "1.2.3", "file.dcm")
    return Parcel(delivery, Path("file.dcm"), delivery.sop_class_uid, str(syntax))


PARCELS = st.lists(st.builds(_parcel, st.integers(1, 200), st.sampled_from(SYNTAXES)), max_size=300)


@given(PARCELS)
def test_groups_keep_every_parcel_in_order_and_fit_one_association(parcels: list[Parcel]) -> None:
    groups = group_parcels(parcels)
    assert [parcel for group in groups for parcel in group] == parcels
    assert all(1 <= len(list_contexts(group)) <= MAX_CONTEXTS for group in groups)


@given(PARCELS)
def test_a_peer_that_accepts_everything_gets_every_instance_as_it_is_stored(parcels: list[Parcel]) -> None:
    for group in group_parcels(parcels):
        accepted = list_contexts(group)
        assert all(choose_syntax(parcel, accepted) == parcel.transfer_syntax_uid for parcel in group)


def test_few_kinds_of_object_need_one_association_however_many_they_are() -> None:
    assert len(group_parcels([_parcel(number % 3, ExplicitVRLittleEndian) for number in range(1000)])) == 1


def test_plain_data_falls_back_to_the_other_plain_syntax_only() -> None:
    implicit, big = build_context("1.2.1", ImplicitVRLittleEndian), build_context("1.2.1", ExplicitVRBigEndian)
    assert choose_syntax(_parcel(1, ExplicitVRLittleEndian), [big, implicit]) == ImplicitVRLittleEndian
    assert choose_syntax(_parcel(1, ExplicitVRLittleEndian), [big]) == ""


def test_compressed_data_falls_back_to_plain_data_and_to_no_other_compression() -> None:
    plain = [build_context("1.2.1", syntax) for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)]
    other = build_context("1.2.1", JPEG2000Lossless)
    assert choose_syntax(_parcel(1, RLELossless), [other, *plain]) == ExplicitVRLittleEndian
    assert choose_syntax(_parcel(1, RLELossless), [other, plain[1]]) == ImplicitVRLittleEndian
    assert choose_syntax(_parcel(1, RLELossless), [other]) == ""


def test_a_context_of_another_class_is_of_no_use() -> None:
    assert choose_syntax(_parcel(2, ExplicitVRLittleEndian), [build_context("1.2.1", ExplicitVRLittleEndian)]) == ""
