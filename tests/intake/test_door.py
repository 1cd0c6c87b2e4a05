"""The door decides by address, by what an association request says and by how many there are, and tells of refusals."""

import pytest
from pynetdicom import AE, Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.transport import AddressInformation

from fusionnode.flow.observing import RemotePeer, Unobserved
from fusionnode.intake import access
from fusionnode.intake.access import AllowedPeer, AllowList, parse_network
from fusionnode.intake.door import Door, Entrance, describe_peer
from fusionnode.intake.limits import ListenerLimits

HERE = "10.1.1.1"
LIST = AllowList((AllowedPeer("MR1", (parse_network("10.0.0.0/8"),)),), "NODE")


class _Witness(Unobserved):
    def __init__(self) -> None:
        self.seen: list[tuple[RemotePeer, str]] = []

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        self.seen.append((peer, reason))


@pytest.fixture
def witness() -> _Witness:
    return _Witness()


def _ask(calling: str = "MR1", called: str = "NODE", address: str = HERE, context: str = "3.1.1.1") -> Association:
    assoc = Association(AE(), "acceptor")
    request = A_ASSOCIATE()
    request.calling_ae_title, request.called_ae_title = calling, called
    request.application_context_name = f"1.2.840.10008.{context}"
    assoc.requestor.primitive = request
    assoc.requestor.address_info = AddressInformation(address, 104)
    return assoc


def test_an_address_outside_the_list_is_turned_away_and_told(
    witness: _Witness, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(Entrance(LIST), witness)
    assert door.admits("10.1.1.1", [])
    assert door.admits("::ffff:10.1.1.1", [])
    assert not door.admits("192.168.1.1", [])
    assert witness.seen == [(RemotePeer(address="192.168.1.1"), "address not allowed")]
    assert "192.168.1.1 turned away" in caplog.text


def test_nobody_is_let_in_while_the_spool_is_congested_and_then_everybody_again() -> None:
    congested = True
    door = Door(is_congested=lambda: congested)
    assert door.judge(_ask(), [HERE]) == access.CONGESTED
    congested = False
    assert door.judge(_ask(), [HERE]) is None


def test_half_open_connections_are_bounded_for_each_address_and_in_all(witness: _Witness) -> None:
    door = Door(Entrance(limits=ListenerLimits(max_half_open=5, max_half_open_per_address=2)), witness)
    assert door.admits("10.0.0.1", ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"])
    assert not door.admits("10.0.0.2", ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"])
    assert not door.admits("10.0.0.9", [f"10.0.0.{n}" for n in range(5)])
    assert [reason for _, reason in witness.seen] == ["too many connections without an association"] * 2


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, None),
        ({"calling": "MR2"}, access.CALLING_UNKNOWN),
        ({"address": "11.1.1.1"}, access.CALLING_UNKNOWN),
        ({"called": "OTHER"}, access.CALLED_UNKNOWN),
        ({"context": "3.1.1.2"}, access.CONTEXT_UNSUPPORTED),
    ],
)
def test_a_request_is_judged_by_what_it_says_and_where_it_comes_from(
    asked: dict[str, str], expected: access.Rejection | None
) -> None:
    assert Door(Entrance(LIST)).judge(_ask(**asked), []) == expected


def test_beyond_the_limit_a_request_is_rejected_for_the_moment() -> None:
    door = Door(Entrance(limits=ListenerLimits(max_associations=2)))
    assert door.judge(_ask(), [HERE, "10.0.0.2"]) is None
    assert door.judge(_ask(), [HERE, "10.0.0.2", "10.0.0.3"]) == access.TOO_MANY


def test_one_address_takes_no_more_associations_than_are_its_share() -> None:
    door = Door(Entrance(limits=ListenerLimits(max_associations=9, max_associations_per_address=2)))
    assert door.judge(_ask(), [HERE, HERE, "10.0.0.2", "10.0.0.2", "10.0.0.2"]) is None
    assert door.judge(_ask(), [HERE] * 3) == access.TOO_MANY


@pytest.fixture
def rejections() -> list[access.Rejection]:
    return [one for one in vars(access).values() if isinstance(one, access.Rejection)]


def test_whoever_is_rejected_stays_outside_though_nobody_can_be_told(
    rejections: list[access.Rejection],
) -> None:
    class Broken(_Witness):
        def association_refused(self, peer: RemotePeer, reason: str) -> None:
            raise ZeroDivisionError

    assoc = _ask("MR7")
    with pytest.raises(ZeroDivisionError):
        Door(observer=Broken()).reject(assoc, rejections[0])
    assert assoc.is_rejected


def test_every_rejection_is_one_of_the_standard_and_is_told_in_words(
    rejections: list[access.Rejection], witness: _Witness
) -> None:
    assert len(rejections) == 6
    for rejection in rejections:
        assoc = _ask("MR7")
        Door(observer=witness).reject(assoc, rejection)
        sent = assoc.dul.to_provider_queue.get_nowait()
        assert (sent.result, sent.result_source, sent.diagnostic) == rejection
        assert assoc.is_rejected
    assert [peer.ae_title for peer, _ in witness.seen] == ["MR7"] * 6
    assert len({reason for _, reason in witness.seen}) == 6


def test_the_peer_is_described_by_what_it_asked() -> None:
    assert describe_peer(_ask(" MR1 ")) == RemotePeer("MR1", "NODE", "10.1.1.1")
