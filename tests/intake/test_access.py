"""Who may send: the laws of an allow-list, then the ways an administrator writes one."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.intake.access import (
    CALLED_UNKNOWN,
    CALLING_UNKNOWN,
    AllowedPeer,
    AllowList,
    parse_address,
    parse_network,
)

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(lambda one: parse_address(str(one)))
TITLES = st.sampled_from(["MR1", "PET", "STRANGER", ""])
SITE = AllowList(
    (
        AllowedPeer("MR1", (parse_network("10.1.2.0/24"), parse_network("fd00:1::/64"))),
        AllowedPeer("PET"),
        AllowedPeer("", (parse_network("10.9.9.9"),)),
    ),
    called="NODE",
)


@given(ADDRESSES, TITLES, TITLES)
def test_nobody_gets_in_whose_address_was_turned_away_before(address: IPv4Address, calling: str, called: str) -> None:
    bound = AllowList(SITE.peers[::2], "NODE")
    if not bound.admits(address):
        assert bound.judge(address, calling, called) == CALLING_UNKNOWN


@given(ADDRESSES, TITLES)
def test_one_more_peer_never_shuts_anybody_out(address: IPv4Address, calling: str) -> None:
    fewer = AllowList(SITE.peers[:1])
    if fewer.judge(address, calling, "ANY") is None:
        assert AllowList(SITE.peers).judge(address, calling, "ANY") is None


@given(ADDRESSES, TITLES, TITLES)
def test_without_peers_and_title_everybody_gets_in(address: IPv4Address, calling: str, called: str) -> None:
    assert AllowList().admits(address)
    assert AllowList().judge(address, calling, called) is None


@pytest.mark.parametrize(
    ("address", "calling", "called", "expected"),
    [
        ("10.1.2.77", "MR1", "NODE", None),
        ("::ffff:10.1.2.77", "MR1", "NODE", None),
        ("fd00:1::77", "MR1", "NODE", None),
        ("10.1.3.77", "MR1", "NODE", CALLING_UNKNOWN),
        ("fd00:2::77", "MR1", "NODE", CALLING_UNKNOWN),
        ("10.1.2.77", "mr1", "NODE", CALLING_UNKNOWN),
        ("192.168.7.7", "PET", "NODE", None),
        ("10.9.9.9", "ANYTHING", "NODE", None),
        ("10.1.2.77", "MR1", "OTHER", CALLED_UNKNOWN),
        ("10.1.2.77", "STRANGER", "OTHER", CALLING_UNKNOWN),
    ],
)
def test_a_peer_needs_its_title_and_its_network_and_calls_the_right_one(
    address: str, calling: str, called: str, expected: object
) -> None:
    assert SITE.judge(parse_address(address), calling, called) == expected


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("0.0.0.0/0", "8.8.8.8", "::1"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1"),
        ("::ffff:10.0.0.0/104", "10.7.7.7", "11.7.7.7"),
    ],
)
def test_networks_hold_what_they_say(text: str, inside: str, outside: str) -> None:
    assert parse_address(inside) in parse_network(text)
    assert parse_address(outside) not in parse_network(text)


def test_mapped_addresses_and_networks_are_those_they_map() -> None:
    assert parse_address("::ffff:10.0.0.1") == IPv4Address("10.0.0.1")
    assert parse_network("::ffff:10.0.0.0/120") == IPv4Network("10.0.0.0/24")
    assert isinstance(parse_address("::10.0.0.1"), IPv6Address)


@pytest.mark.parametrize("text", ["10.0.0.5/24", "scanner.example", "10.0.0.0/33", ""])
def test_what_is_no_network_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_network(text)
