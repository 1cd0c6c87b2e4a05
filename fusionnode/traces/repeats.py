"""Tells of what happens a thousand times a minute once a minute, with the number of times. Pure but for its memory."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass
class _Held:
    told_at: float
    since: int = 0


class Repeats(Generic[Key]):
    """Holds back what was told a moment ago, and counts it.

    Args:
        seconds: for which a second one like it is held back.
        most: kinds that are remembered; the oldest gives way.
    """

    def __init__(self, seconds: float, most: int = 4096) -> None:
        self._seconds, self._most = seconds, most
        self._held: OrderedDict[Key, _Held] = OrderedDict()

    def note(self, key: Key, now: float) -> tuple[bool, list[tuple[Key, int]]]:
        """Take one in. Returns whether it is to be told, and what was held back and is due: kinds with their numbers.

        ``now`` is in seconds and never goes back.
        """
        due = self.drain(now - self._seconds)
        held = self._held.get(key)
        if held is not None:
            held.since += 1
            return False, due
        self._held[key] = _Held(now)
        while len(self._held) > self._most:
            oldest, left = self._held.popitem(last=False)
            due += [(oldest, left.since)] if left.since else []
        return True, due

    def drain(self, before: float = float("inf")) -> list[tuple[Key, int]]:
        """Forget what was first told at ``before`` or earlier; return what was held back of it."""
        due = []
        while self._held and next(iter(self._held.values())).told_at <= before:
            key, held = self._held.popitem(last=False)
            due += [(key, held.since)] if held.since else []
        return due
