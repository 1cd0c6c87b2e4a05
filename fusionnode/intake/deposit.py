"""Puts instances that this node fetched itself into the spool, under the rules of those that are sent to it (edge)."""

import hashlib
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import UID

from fusionnode.domain.uids import parse_uid
from fusionnode.errors import DatasetUnreadable
from fusionnode.flow.ports import StoredFile
from fusionnode.intake.peek import peek_identity, read_length
from fusionnode.intake.spool import Spool, translate_full
from fusionnode.intake.streaming import StoreRequest, encode_header

_CHUNK_BYTES = 1 << 20
_META_GROUP = b"\x02\x00"
_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID = 0x0002, 0x0003, 0x0010
_VALUE_BYTES = 1 << 20


@dataclass(frozen=True)
class FileMeta:
    """What the file meta information of a DICOM file says (PS3.10 section 7.1); texts are empty where it is silent.

    Attributes:
        offset: of the data set's first byte.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int


def deposit(spool: Spool, request: StoreRequest, dataset: BinaryIO) -> StoredFile:
    """Make an encoded data set durable in the spool. When this returns, a power cut does not lose it.

    Args:
        spool: prepared.
        request: what the peer announced.
        dataset: positioned at the data set's first byte; read to its end.

    Raises:
        UidMalformed: an announced UID is none.
        DatasetUnreadable: these are no data elements, or those of another instance or class than was announced.
        SpoolFull: too little space is left.
    """
    request = replace(
        request,
        sop_class_uid=parse_uid(request.sop_class_uid),
        sop_instance_uid=parse_uid(request.sop_instance_uid),
    )
    start = dataset.tell()
    identity = peek_identity(dataset, request.transfer_syntax)
    announced = (request.sop_class_uid, request.sop_instance_uid)
    if identity is not None and (identity.sop_class_uid, identity.sop_instance_uid) != announced:
        raise DatasetUnreadable(f"The data set of {announced[1]} is of another instance or class.")
    dataset.seek(start)
    spool.check_space()
    path = spool.incoming / f"{uuid.uuid4().hex}.part"
    try:
        digest = _write(path, request, dataset)
        return spool.accept(path, request.sop_instance_uid, digest)
    except OSError as problem:
        raise translate_full(problem) from problem
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def deposit_file(spool: Spool, file: BinaryIO, sender: str) -> StoredFile:
    """Make the data set of a DICOM file durable in the spool; ``sender`` is noted as where it came from (AE title).

    Raises:
        UidMalformed, DatasetUnreadable: it is no usable DICOM file; see `read_file_meta` and `deposit`.
        SpoolFull: too little space is left.
    """
    meta = read_file_meta(file)
    file.seek(meta.offset)
    request = StoreRequest(meta.sop_class_uid, meta.sop_instance_uid, UID(meta.transfer_syntax_uid), sender)
    return deposit(spool, request, file)


def read_file_meta(file: BinaryIO) -> FileMeta:
    """Read the file meta information of a DICOM file, whether it states its length or not.

    Raises:
        DatasetUnreadable: it is no DICOM file, or does not say in which transfer syntax it is encoded.
    """
    file.seek(0)
    if file.read(132)[128:] != b"DICM":
        raise DatasetUnreadable("It is no DICOM file.")
    found: dict[int, str] = {}
    offset = file.tell()
    # What follows the group may be encoded otherwise, so its tag is looked at before anything else of it.
    while len(head := file.read(8)) == 8 and head[:2] == _META_GROUP:
        element, value = int.from_bytes(head[2:4], "little"), _read_value(file, head)
        found[element] = value.decode("ascii", errors="replace").rstrip("\0 ")
        offset = file.tell()
    if not found.get(_TRANSFER_SYNTAX_UID):
        raise DatasetUnreadable("Its file meta information names no transfer syntax.")
    return FileMeta(
        found.get(_SOP_CLASS_UID, ""), found.get(_SOP_INSTANCE_UID, ""), found[_TRANSFER_SYNTAX_UID], offset
    )


def _read_value(file: BinaryIO, head: bytes) -> bytes:
    length = read_length(file, head, "<", implicit=False)
    if length <= _VALUE_BYTES:
        return file.read(length)
    raise DatasetUnreadable("Its file meta information is larger than any should be.")


def _write(path: Path, request: StoreRequest, dataset: BinaryIO) -> str:
    """Write a DICOM file and return the SHA-256 of its data set."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        file.write(encode_header(request))
        while chunk := dataset.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
