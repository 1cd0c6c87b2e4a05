"""Says whether an audit trail is whole: every record in its place, and no file missing (edge)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionnode.errors import SettingsInvalid
from fusionnode.traces.chain import check_lines, read_seal
from fusionnode.traces.trail import SUFFIX


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
    """Read all files of a trail and hold each against its chain and against the files that name it.

    Raises:
        SettingsInvalid: there is no such folder, or a file cannot be read, or was sealed with a key and none is given.
    """
    try:
        texts = {path.name: path.read_text("utf-8", "replace") for path in sorted(folder.glob(f"*{SUFFIX}"))}
    except OSError as problem:
        raise _name_unusable(folder, f"cannot be read: {problem.strerror}") from None
    if not folder.is_dir():
        raise _name_unusable(folder, "is not there")
    findings: list[TrailFinding] = []
    records, since_keyed = 0, False
    for name, text in texts.items():
        lines = _split_whole(text)
        records += len(lines)
        opening = _read_opening(lines)
        if opening.get("keyed") and not key:
            raise _name_unusable(folder, f"was sealed with a key ({name}), and none is set")
        if since_keyed and not opening.get("keyed", True):
            words = "says that there was no key; earlier files had one"
            findings.append(TrailFinding(name, 1, sound=False, words=words))
        since_keyed = since_keyed or bool(opening.get("keyed"))
        findings += _look_at(name, text, lines, key if opening.get("keyed", True) else b"")
        findings += _look_before(name, opening, texts)
    return TrailVerdict(len(texts), records, tuple(findings))


def _look_at(name: str, text: str, lines: list[str], key: bytes) -> Iterator[TrailFinding]:
    for flaw in check_lines(lines, key):
        yield TrailFinding(name, flaw.line, sound=False, words=flaw.words)
    if text and not text.endswith("\n"):
        yield TrailFinding(name, len(lines) + 1, sound=True, words="ends in the middle of a record, as after a crash")
    for number, line in enumerate(lines, start=1):
        if '"lost":' in line and "message" not in line:
            yield TrailFinding(name, number, sound=True, words="tells of records that could not be kept")


def _look_before(name: str, opening: dict[str, Any], texts: dict[str, str]) -> Iterator[TrailFinding]:
    """Yield what is missing of the files that ``name`` says were there when it was begun."""
    after = opening.get("after")
    for earlier, seal in after.items() if isinstance(after, dict) else ():
        if earlier not in texts:
            yield TrailFinding(earlier, 0, sound=False, words=f"is missing; {name} names it")
        elif seal and seal not in {read_seal(line) for line in _split_whole(texts[earlier])}:
            yield TrailFinding(earlier, 0, sound=False, words=f"lacks its end; {name} names a record that is not there")


def _split_whole(text: str) -> list[str]:
    return text.split("\n")[:-1]


def _read_opening(lines: list[str]) -> dict[str, Any]:
    try:
        opening = json.loads(lines[0]) if lines else {}
    except ValueError:
        return {}
    return opening if isinstance(opening, dict) else {}


def _name_unusable(folder: Path, why: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"The audit trail {folder} {why}.", remedy="Name the folder and the key that the node writes it with."
    )
