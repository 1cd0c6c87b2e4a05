"""How large a file may be that has to be held in memory whole (middle)."""

import io
import zlib
from typing import BinaryIO

from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from fusionnode.errors import DatasetUnreadable

MAX_INSTANCE_BYTES = 1 << 29
"""Beyond the largest objects met in practice; a worker has to hold one whole, and its voxels beside it."""

_CHUNK_BYTES = 1 << 20


def require_bounded(stream: BinaryIO, name: str) -> None:
    """Refuse a file beyond all need, also one that is deflated (PS3.5 A.5): a few kilobytes may hold gigabytes.

    ``stream`` stands at the beginning of a file as of PS3.10 section 7.1; ``name`` is what a refusal calls it.

    Raises:
        DatasetUnreadable: it takes more than `MAX_INSTANCE_BYTES`, as stored or inflated.
        InvalidDicomError: it is no such file.
        Whatever else pydicom and zlib raise on malformed bytes.
    """
    read_preamble(stream, False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    deflated = meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian
    size = _measure_inflated(stream) if deflated else stream.seek(0, io.SEEK_END)
    if size > MAX_INSTANCE_BYTES:
        raise DatasetUnreadable(
            f"{name} takes more than {MAX_INSTANCE_BYTES} bytes.",
            remedy="Send the series as single-frame objects or uncompressed, or with fewer voxels.",
        )


def _measure_inflated(stream: BinaryIO) -> int:
    """Return the bytes of a deflated data set, or some number beyond the bound; nothing inflated is kept."""
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while size <= MAX_INSTANCE_BYTES and (deflated := inflater.unconsumed_tail or stream.read(_CHUNK_BYTES)):
        size += len(inflater.decompress(deflated, _CHUNK_BYTES))
    return size
