"""Reads whose data an encoded data set holds, from its first kilobytes, for those who watch (edge)."""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

from pydicom.uid import UID

from fusionnode.domain.uids import parse_uid
from fusionnode.errors import DatasetUnreadable, UidMalformed
from fusionnode.flow.observing import NOBODY, Subject
from fusionnode.intake.peek import inflate_head, read_length

_PATIENT_ID, _ISSUER, _STUDY, _SERIES = 0x00100020, 0x00100021, 0x0020000D, 0x0020000E
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED_LENGTH = 0xFFFFFFFF
_VALUE_BYTES = 256
_MOST_ELEMENTS = 20_000
_DEEPEST = 16


def read_subject(dataset: BinaryIO, transfer_syntax: UID) -> Subject:
    """Return the patient, study and series of an encoded data set (PS3.5 section 7).

    Args:
        dataset: positioned at its first element; seekable.
        transfer_syntax: how it is encoded.

    Returns:
        What it says; `NOBODY` where it cannot be told with little effort. It is asked for a trail, not for a decision.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        source = inflate_head(dataset) if transfer_syntax.is_deflated else dataset
        found = _Walk(source, transfer_syntax).find()
    except (DatasetUnreadable, struct.error):
        return NOBODY
    texts = {tag: _decode(value) for tag, value in found.items()}
    study, series = (_keep_uid(texts.get(tag, "")) for tag in (_STUDY, _SERIES))
    return Subject(study, series, texts.get(_PATIENT_ID, ""), texts.get(_ISSUER, ""))


class _Walk:
    """One way through the elements, with bounds on how many and how deep."""

    def __init__(self, source: BinaryIO, transfer_syntax: UID) -> None:
        self._source = source
        self._order = "<" if transfer_syntax.is_little_endian else ">"
        self._implicit = transfer_syntax.is_implicit_VR
        self._left = _MOST_ELEMENTS

    def find(self) -> dict[int, bytes]:
        """Return the values looked for, by tag."""
        found: dict[int, bytes] = {}
        for tag, length in self._heads():
            if tag > _SERIES:
                break
            if tag in (_PATIENT_ID, _ISSUER, _STUDY, _SERIES) and length <= _VALUE_BYTES:
                found[tag] = self._source.read(length)
            else:
                self._pass_over(length, depth=0)
        return found

    def _heads(self) -> Iterator[tuple[int, int]]:
        """Yield (tag, length) with the source at the value, until the bytes end."""
        while len(head := self._source.read(8)) == 8:
            self._left -= 1
            if self._left < 0:
                raise DatasetUnreadable("It begins with more elements than any data set should.")
            group, element = struct.unpack_from(f"{self._order}HH", head)
            tag = group << 16 | element
            if group == 0xFFFE:
                # Items have no value representation, whatever the transfer syntax (PS3.5 section 7.5).
                yield tag, int(struct.unpack_from(f"{self._order}I", head, 4)[0])
            else:
                yield tag, read_length(self._source, head, self._order, implicit=self._implicit)

    def _pass_over(self, length: int, depth: int) -> None:
        if length != _UNDEFINED_LENGTH:
            self._source.seek(length, io.SEEK_CUR)
            return
        if depth > _DEEPEST:
            raise DatasetUnreadable("It is nested deeper than any data set should be.")
        for tag, inner in self._heads():
            if tag in (_SEQUENCE_END, _ITEM_END):
                return
            self._pass_over(inner, depth + 1)


def _keep_uid(text: str) -> str:
    """Return a UID, or nothing: words that stand in its place may be a patient's."""
    try:
        return parse_uid(text)
    except UidMalformed:
        return ""


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8").strip("\0 ")
    except UnicodeDecodeError:
        return value.decode("latin-1").strip("\0 ")
