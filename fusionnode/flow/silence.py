"""Which workers went silent: told by leases that nobody renews while this process looks on, by no clock of any host."""

from collections.abc import Iterable

from fusionnode.domain.job import Lease


class Silence:
    """Remembers since when each lease has not been renewed.

    The wall clocks of the hosts never come into it: one that is ahead would take running steps from living workers, one
    that jumped back would leave those of the dead with them. It knows nothing after a start of the process and then
    counts from the first look: a dead worker is found later by a restart, never a living one sooner.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._since: dict[Lease, float] = {}

    def find_lapsed(self, leases: Iterable[Lease], monotonic: float) -> list[Lease]:
        """Return those of all ``leases`` held now that were the same for as long as one lasts; ``monotonic`` in s."""
        self._since = {lease: self._since.get(lease, monotonic) for lease in leases}
        return [lease for lease, since in self._since.items() if monotonic - since > self._lease_seconds]
