"""A file is measured by what it takes in memory, not by what it takes on the disk."""

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from fusionnode.errors import DatasetUnreadable
from fusionnode.volumes import bounds
from fusionnode.volumes.bounds import require_bounded

LIMIT = 1 << 14


def make_file(zeros: int, syntax: UID) -> io.BytesIO:
    """A file whose data set is one private element of so many zeros."""
    body = b"\x09\x00\x10\x10OB\0\0" + zeros.to_bytes(4, "little") + bytes(zeros)
    if syntax == DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = deflater.compress(body) + deflater.flush()
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    length = b"\x02\x00\x00\x00UL\x04\x00" + len(element).to_bytes(4, "little")
    return io.BytesIO(bytes(128) + b"DICM" + length + element + body)


@given(zeros=st.integers(0, 4 * LIMIT).map(lambda number: number // 2 * 2))
def test_a_deflated_file_is_bounded_by_what_it_inflates_to(zeros: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_INSTANCE_BYTES", LIMIT)
        stream = make_file(zeros, DeflatedExplicitVRLittleEndian)
        assert len(stream.getvalue()) < LIMIT
        if zeros + 12 <= LIMIT:
            require_bounded(stream, "it")
        else:
            with pytest.raises(DatasetUnreadable, match=f"it takes more than {LIMIT} bytes"):
                require_bounded(stream, "it")


@pytest.mark.parametrize(("zeros", "bounded"), [(LIMIT - 400, True), (LIMIT, False)])
def test_another_file_is_bounded_by_its_length(monkeypatch: pytest.MonkeyPatch, zeros: int, bounded: bool) -> None:
    monkeypatch.setattr(bounds, "MAX_INSTANCE_BYTES", LIMIT)
    stream = make_file(zeros, ExplicitVRLittleEndian)
    if bounded:
        require_bounded(stream, "it")
        return
    with pytest.raises(DatasetUnreadable, match="takes more than"):
        require_bounded(stream, "it")


def test_what_is_no_dicom_file_is_told_apart() -> None:
    with pytest.raises(InvalidDicomError):
        require_bounded(io.BytesIO(b"a note about the series" * 20), "notes.txt")
