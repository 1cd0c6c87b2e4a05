"""Which workers went silent: told by leases that nobody renews while this process looks on, by no clock of any host."""

from collections.abc import Iterable

from fusionnode.domain.job import Lease

_LOOKS = 4
"""No single pause between two looks counts for more than this part of a lease."""


class Silence:
    """Adds up for how long each lease has not been renewed before these eyes.

    The wall clocks of the hosts never come into it: one that is ahead would take running steps from living workers, one
    that jumped back would leave those of the dead with them. Nor does time in which nobody looked, as the database was
    away or this host stood still: the workers could not renew then, and need a moment to do so. After a start of the
    process it knows nothing: a dead worker is found later by a restart, never a living one sooner.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._silent: dict[Lease, float] = {}
        self._looked_at: float | None = None

    def find_lapsed(self, leases: Iterable[Lease], monotonic: float) -> list[Lease]:
        """Return those of all ``leases`` held now that were the same for as long as one lasts; ``monotonic`` in s."""
        passed = 0.0 if self._looked_at is None else monotonic - self._looked_at
        counted = min(passed, self._lease_seconds / _LOOKS)
        self._looked_at = monotonic
        self._silent = {lease: self._silent[lease] + counted if lease in self._silent else 0.0 for lease in leases}
        return [lease for lease, seconds in self._silent.items() if seconds > self._lease_seconds]
