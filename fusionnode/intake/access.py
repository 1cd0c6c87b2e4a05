"""Who may send to this node: by address, by the AE title of the caller, by the AE title that is called (edge)."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96


class Rejection(NamedTuple):
    """What an A-ASSOCIATE-RJ says (PS3.8 section 9.3.4): result, source, reason."""

    result: int
    source: int
    diagnostic: int


NO_REASON = Rejection(1, 1, 1)
CONTEXT_UNSUPPORTED = Rejection(1, 1, 2)
CALLING_UNKNOWN = Rejection(1, 1, 3)
CALLED_UNKNOWN = Rejection(1, 1, 7)
TOO_MANY = Rejection(2, 3, 2)
CONGESTED = Rejection(2, 3, 1)


@dataclass(frozen=True)
class AllowedPeer:
    """Somebody who may send.

    Attributes:
        ae_title: it has to call itself so; empty: anything.
        networks: it has to come from one of them; empty: from anywhere.
    """

    ae_title: str = ""
    networks: tuple[Network, ...] = ()

    def lives_at(self, address: Address) -> bool:
        """Whether it may come from ``address``."""
        return not self.networks or any(address in network for network in self.networks)


@dataclass(frozen=True)
class AllowList:
    """Whom a listener lets in.

    Attributes:
        peers: those who may send; empty: everybody.
        called: the AE title they have to call; empty: any.
    """

    peers: tuple[AllowedPeer, ...] = ()
    called: str = ""

    def admits(self, address: Address) -> bool:
        """Whether anybody may come from ``address``, whatever its AE title."""
        return not self.peers or any(peer.lives_at(address) for peer in self.peers)

    def judge(self, address: Address, calling: str, called: str) -> Rejection | None:
        """Return why an association request is turned away, None where it is not.

        The caller is looked at first, so that a stranger does not learn what this node is called.
        """
        known = any(peer.ae_title in ("", calling) and peer.lives_at(address) for peer in self.peers)
        if self.peers and not known:
            return CALLING_UNKNOWN
        return None if self.called in ("", called) else CALLED_UNKNOWN


ANYBODY = AllowList()


def parse_address(text: str) -> Address:
    """Read an IP address; an IPv4 address inside an IPv6 one (RFC 4291 section 2.5.5.2) is taken for what it is.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def parse_network(text: str) -> Network:
    """Read a network in CIDR notation, or one address; mapped IPv4 networks are taken for what they are.

    Raises:
        ValueError: it is none, or has bits set to the right of its prefix.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        return network if mapped is None else IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
