"""Tells of what happens a thousand times a minute once a minute, with the number of times. Pure but for its memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass
class _Held:
    told_at: float
    since: int = 0


class Repeats(Generic[Key]):
    """Holds back what was told a moment ago, and counts it; what is new is told only so often, too.

    Args:
        seconds: for which a second one like it is held back.
        most: kinds that are told within that time; those beyond are counted under what ``fold`` makes of them.
        fold: returns a kind that stands for many; it must have few answers.
    """

    def __init__(self, seconds: float, most: int, fold: Callable[[Key], Key]) -> None:
        self._seconds, self._most, self._fold = seconds, most, fold
        self._held: OrderedDict[Key, _Held] = OrderedDict()

    def note(self, key: Key, now: float) -> tuple[bool, list[tuple[Key, int]]]:
        """Take one in. Returns whether it is to be told, and what was held back and is due: kinds with their numbers.

        ``now`` is in seconds and never goes back.
        """
        due = self.drain(now - self._seconds)
        new = key not in self._held and len(self._held) < self._most
        if not new and key not in self._held:
            key = self._fold(key)
        held = self._held.setdefault(key, _Held(now))
        held.since += not new
        return new, due

    def drain(self, before: float = float("inf")) -> list[tuple[Key, int]]:
        """Forget what was first told at ``before`` or earlier; return what was held back of it."""
        due = []
        while self._held and next(iter(self._held.values())).told_at <= before:
            key, held = self._held.popitem(last=False)
            due += [(key, held.since)] if held.since else []
        return due
