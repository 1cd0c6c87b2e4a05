"""Records of the audit trail: one JSON object on a line, each sealed with the hash of the one before. Pure.

A record that is changed, taken out, put in or moved breaks the chain. With a key the seals are HMACs (RFC 2104), which
nobody can make anew who does not have it; without one they show damage and carelessness, not malice.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

BEGINNING = "0" * 64

_SEAL = re.compile(r',"seal":"([0-9a-f]{64})"\}')


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a line of a file, counted from 1."""

    line: int
    words: str


def seal_record(record: Mapping[str, Any], previous: str, key: bytes) -> tuple[str, str]:
    """Return the line of a record, without its end, and its seal; ``previous`` is that of the record before."""
    body = json.dumps(record, ensure_ascii=True, separators=(",", ":"))
    seal = _compute(body, previous, key)
    return f'{body[:-1]},"seal":"{seal}"}}', seal


def read_seal(line: str) -> str:
    """Return the seal that a line carries; empty where it carries none."""
    found = _SEAL.search(line)
    return found[1] if found and found.end() == len(line) else ""


def check_lines(lines: Iterable[str], key: bytes) -> Iterator[Flaw]:
    """Yield what is wrong with the lines of one file, in their order."""
    previous = BEGINNING
    for number, line in enumerate(lines, start=1):
        seal = read_seal(line)
        if not seal:
            yield Flaw(number, "is no whole record")
            return
        body = line[: -len(f',"seal":"{seal}"}}')] + "}"
        if not hmac.compare_digest(seal, _compute(body, previous, key)):
            yield Flaw(number, "does not follow from the line before: it, or what stood there, was changed")
            return
        if _read_number(body) != number - 1:
            yield Flaw(number, "is not numbered as it should be")
        previous = seal


def _compute(body: str, previous: str, key: bytes) -> str:
    text = f"{previous}\n{body}".encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest() if key else hashlib.sha256(text).hexdigest()


def _read_number(body: str) -> int:
    try:
        return int(json.loads(body)["n"])
    except (ValueError, KeyError, TypeError):
        return -1
