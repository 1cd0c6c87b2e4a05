"""Says whether an audit trail is whole: every record in its place, and no file missing (edge)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionnode.errors import SettingsInvalid
from fusionnode.traces.chain import check_lines, read_seal
from fusionnode.traces.trail import SUFFIX

_LONGEST_OPENING = 1 << 16


@dataclass(frozen=True)
class TrailFinding:
    """One thing found in a trail. ``sound`` is False where something was changed or is missing.

    Attributes:
        file: its name; ``line`` counts from 1, 0 means the file as a whole.
    """

    file: str
    line: int
    sound: bool
    words: str


@dataclass(frozen=True)
class TrailVerdict:
    """What a look at a whole trail found."""

    files: int
    records: int
    findings: tuple[TrailFinding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return all(one.sound for one in self.findings)


def verify_trail(folder: Path, key: bytes) -> TrailVerdict:
    """Read all files of a trail, one at a time, and hold each against its chain and against the files that name it.

    Raises:
        SettingsInvalid: there is no such folder, or a file cannot be read, or was sealed with a key and none is given.
    """
    if not folder.is_dir():
        raise _name_unusable(folder, "is not there")
    findings: list[TrailFinding] = []
    records = 0
    try:
        paths = sorted(folder.glob(f"*{SUFFIX}"))
        openings = {path.name: _read_opening(path) for path in paths}
        findings += _compare_keys(folder, openings, key)
        named = _collect_named(openings)
        findings += [
            TrailFinding(name, 0, sound=False, words=f"is missing; {by[0][0]} names it")
            for name, by in named.items()
            if name not in openings
        ]
        for path in paths:
            text = path.read_text("utf-8", "replace")
            records += text.count("\n")
            keyed = openings[path.name].get("keyed", True)
            findings += _look_at(path.name, text, key if keyed else b"", named.get(path.name, []))
    except OSError as problem:
        raise _name_unusable(folder, f"cannot be read: {problem.strerror}") from None
    return TrailVerdict(len(paths), records, tuple(findings))


def _compare_keys(folder: Path, openings: dict[str, dict[str, Any]], key: bytes) -> Iterator[TrailFinding]:
    """Yield the files that claim to have had no key though one before them had."""
    since_keyed = False
    for name, opening in openings.items():
        if opening.get("keyed") and not key:
            raise _name_unusable(folder, f"was sealed with a key ({name}), and none is set")
        if since_keyed and not opening.get("keyed", True):
            yield TrailFinding(name, 1, sound=False, words="says that there was no key; earlier files had one")
        since_keyed = since_keyed or bool(opening.get("keyed"))


def _collect_named(openings: dict[str, dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """Return for each file that others name who named it with which seal."""
    named: dict[str, list[tuple[str, str]]] = {}
    for by, opening in openings.items():
        after = opening.get("after")
        for name, seal in after.items() if isinstance(after, dict) else ():
            named.setdefault(name, []).append((by, str(seal)))
    return named


def _look_at(name: str, text: str, key: bytes, named: list[tuple[str, str]]) -> Iterator[TrailFinding]:
    lines = text.split("\n")[:-1]
    for flaw in check_lines(lines, key):
        yield TrailFinding(name, flaw.line, sound=False, words=flaw.words)
    if text and not text.endswith("\n"):
        yield TrailFinding(name, len(lines) + 1, sound=True, words="ends in the middle of a record, as after a crash")
    for number, line in enumerate(lines, start=1):
        if '"lost":' in line and '"message":' not in line:
            yield TrailFinding(name, number, sound=True, words="tells of records that could not be kept")
    seals = {read_seal(line) for line in lines}
    for by, seal in named:
        if seal and seal not in seals:
            yield TrailFinding(name, 0, sound=False, words=f"lacks its end; {by} names a record that is not there")


def _read_opening(path: Path) -> dict[str, Any]:
    """Return the first record of a file; empty where it holds none."""
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline(_LONGEST_OPENING)
    try:
        opening = json.loads(line) if line.endswith("\n") else {}
    except ValueError:
        return {}
    return opening if isinstance(opening, dict) else {}


def _name_unusable(folder: Path, why: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"The audit trail {folder} {why}.", remedy="Name the folder and the key that the node writes it with."
    )
