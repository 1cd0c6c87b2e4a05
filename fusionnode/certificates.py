"""When certificates run out: reads their validity from PEM files, and nothing else of them."""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fusionnode.errors import SettingsInvalid

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME = 0xA0, 0x17
_BEFORE_VALIDITY = 3  # serialNumber, signature, issuer (RFC 5280 section 4.1)


def read_ends(path: Path) -> list[datetime]:
    """Return when each certificate of a PEM file runs out (notAfter, UTC), in the order of the file.

    Raises:
        SettingsInvalid: the file cannot be read, or holds no certificate.
    """
    try:
        found = _PEM.findall(path.read_text(encoding="ascii", errors="replace"))
        ends = [_read_end(ssl.PEM_cert_to_DER_cert(one)) for one in found]
    except (OSError, ValueError, IndexError) as problem:
        raise _name_unusable(path) from problem
    if not ends:
        raise _name_unusable(path)
    return ends


def find_end(path: Path, *, is_authority: bool) -> datetime:
    """Return from when on a file is of no use (UTC).

    One's own is that once the first certificate of its chain has run out, one of authorities once the last has.

    Raises:
        SettingsInvalid: as `read_ends`.
    """
    return (max if is_authority else min)(read_ends(path))


def _name_unusable(path: Path) -> SettingsInvalid:
    return SettingsInvalid(
        f"No certificate can be read from {path}.", remedy="Name a PEM file of certificates that this process may read."
    )


def _read_end(der: bytes) -> datetime:
    """Return notAfter of a certificate (RFC 5280 section 4.1.2.5)."""
    certificate = next(_walk(der))[1]
    parts = _walk(next(_walk(certificate))[1])
    tag, _ = next(parts)
    for _ in range(_BEFORE_VALIDITY - (tag != _VERSION)):
        next(parts)
    _, end = _walk(next(parts)[1])
    text = end[1].decode("ascii")
    if end[0] == _UTC_TIME:  # two digits of the year: 50 and above are of the last century
        text = f"{'19' if text[:2] >= '50' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element that stands in ``data`` one after the other (X.690 section 8.1)."""
    place = 0
    while place < len(data):
        tag, length, place = data[place], data[place + 1], place + 2
        if length & 0x80:
            width = length & 0x7F
            length, place = int.from_bytes(data[place : place + width], "big"), place + width
        if place + length > len(data):
            raise ValueError("cut off")
        yield tag, data[place : place + length]
        place += length
