"""How much, how long and how many a listener allows its peers (edge)."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fusionnode.dimse.sockets import PDU_LIMIT_BYTES
from fusionnode.errors import SettingsInvalid


@dataclass(frozen=True)
class ListenerLimits:
    """What the listener allows its peers.

    Attributes:
        max_associations: open at the same time; further ones are rejected as transient, so peers try again.
        max_associations_per_address: the same, of one address.
        max_half_open: connections without an association request at the same time; further ones are closed.
        max_half_open_per_address: the same, of one address.
        max_pdu_bytes: largest PDU we ask for, 4096 to `PDU_LIMIT_BYTES`; never unlimited.
        acse_seconds: for a TLS handshake, and for a whole association request after it.
        network_seconds: without a byte before an association is aborted, and for a whole PDU from its first byte;
            below the age at which the evidence of an association is stale.
        least_bytes_per_second: of a message that has begun, in every `network_seconds` of it.
    """

    max_associations: int = 64
    max_associations_per_address: int = 32
    max_half_open: int = 128
    max_half_open_per_address: int = 32
    max_pdu_bytes: int = 131072
    acse_seconds: float = 30.0
    network_seconds: float = 90.0
    least_bytes_per_second: int = 1024

    def check(self) -> None:
        """Check that they can be kept.

        Raises:
            SettingsInvalid: one is out of range.
        """
        inside = (self.max_associations, self.max_associations_per_address)
        counts = (*inside, self.max_half_open, self.max_half_open_per_address)
        if 4096 <= self.max_pdu_bytes <= PDU_LIMIT_BYTES and min(counts) >= 1:
            return
        raise SettingsInvalid(
            "The listener's limits are out of range.",
            remedy=f"max_pdu_bytes is 4096 to {PDU_LIMIT_BYTES}, every number of connections at least 1.",
            max_associations=self.max_associations,
            max_pdu_bytes=self.max_pdu_bytes,
        )


DEFAULT_LIMITS = ListenerLimits()


class Pace:
    """Tells a message that arrives from one that a peer only pretends to send, a few bytes before every time-out.

    Args:
        limits: `network_seconds` is the length of a window, `least_bytes_per_second` what has to come in each.
        clock: seconds that only grow.
    """

    def __init__(self, limits: ListenerLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._least = limits.network_seconds, limits.least_bytes_per_second
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """A message begins."""
        self._since, self._count = self._clock(), 0

    def keeps(self, count: int) -> bool:
        """Note that ``count`` bytes more came; whether they come fast enough."""
        self._count += count
        elapsed = self._clock() - self._since
        if elapsed < self._seconds:
            return True
        enough = self._count >= elapsed * self._least
        self.begin()
        return enough
