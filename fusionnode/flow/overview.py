"""What the ledger tells of the whole at a glance, for monitoring; no patient and no UID."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fusionnode.domain.terms import Step


@dataclass(frozen=True)
class Backlog:
    """The jobs that wait for a step and whose time has come.

    Attributes:
        since: when the one that waits longest last changed (UTC); None where none waits.
    """

    step: Step
    jobs: int
    since: datetime | None


@dataclass(frozen=True)
class Debt:
    """What is owed to a destination.

    Attributes:
        instances: not stored there yet, those given up included.
        given_up: jobs that were given up for it.
        since: when the oldest job was made that still owes it something (UTC); None where none does.
    """

    destination: str
    instances: int
    given_up: int
    since: datetime | None


@dataclass(frozen=True)
class Tries:
    """How often instances were tried at a destination, by the status each was answered with last."""

    destination: str
    status: str
    instances: int
    attempts: int


@dataclass(frozen=True)
class Happening:
    """One line of the ledger's log, by its number there."""

    number: int
    at: datetime
    subject: str
    what: str
    detail: str


class Overview(Protocol):
    """Reads the ledger as a whole. Every method raises `LedgerUnavailable` where the database does not answer."""

    def count_jobs(self) -> dict[str, int]:
        """Jobs by state."""

    def count_series(self) -> dict[str, int]:
        """Series by the state of their present generation."""

    def list_backlogs(self, now: datetime) -> list[Backlog]:
        """What waits for each step."""

    def list_debts(self) -> list[Debt]:
        """What is owed to each destination that ever was owed anything."""

    def list_tries(self) -> list[Tries]:
        """How the destinations answered."""

    def find_last_happening(self) -> int:
        """Number of the last line of the log; 0 where there is none."""

    def list_happenings(self, after: int, limit: int = 1000) -> Sequence[Happening]:
        """The lines of the log with a number above ``after``, in their order."""
