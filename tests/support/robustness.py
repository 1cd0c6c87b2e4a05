"""Every odd file to a listener, by DCMTK where it will, raw where it will not: ``python -m tests.support.robustness``.

It prints how many files got which answer, and with ``--each`` the answer to each.
"""

import argparse
import hashlib
import itertools
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian, MRImageStorage
from pynetdicom.dsutils import decode, split_dataset
from pynetdicom.pdu import A_ASSOCIATE_AC

from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.intake.statuses import Status
from tests.support.tools import require_tool
from tests.support.wire import (
    ABORTED,
    ACCEPTED,
    DATA,
    REJECTED,
    RELEASE_RQ,
    Pdu,
    connected,
    encode_request,
    encode_store,
    read_pdu,
    read_pdus,
)

NO_CONTEXT, REJECTION, ABORT, UNSENT = "no presentation context", "rejected", "aborted", "not sent"
"""Answers that are no status; ``UNSENT``: DCMTK would not, or could not."""

CLEAN = frozenset({*(one.name for one in Status), NO_CONTEXT, REJECTION, ABORT})

_SECONDS = 120
_OWN, _AS_MR, _AS_IMPLICIT_MR = 1, 3, 5
_STATUS = 0x00000900
_INVENTED = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    """What a listener answered to one file.

    Attributes:
        path: of the file.
        way: it was sent, "DCMTK" or "raw".
        word: name of a `Status`, or one of the others above.
        sop_instance_uid: as announced, where it was.
        sha256: of the data set as it was sent, where we know; DCMTK may write it anew.
    """

    path: Path
    way: str
    word: str
    sop_instance_uid: str = ""
    sha256: str = ""


def send_everything(port: int, paths: Iterable[Path]) -> Iterator[Answer]:
    """Send each file by DCMTK, and raw too where that brought no status."""
    for path in paths:
        answer = _send_by_dcmtk(port, path)
        yield answer
        if answer.word not in Status.__members__:
            yield _send_raw(port, path)


def list_files(root: Path) -> list[Path]:
    """Return every file of the robustness data; read-only."""
    return sorted(path for path in (root / "robustness").rglob("*") if path.is_file())


def list_unkept(spool: Spool, answers: Iterable[Answer]) -> list[str]:
    """Return the acknowledged files that the spool does not hold, or not as they were sent."""
    return [str(one.path) for one in answers if one.word == Status.SUCCESS.name and not _is_kept(spool, one)]


def _is_kept(spool: Spool, answer: Answer) -> bool:
    digests = {hash_dataset(path) for path in spool.find_files(answer.sop_instance_uid)}
    return answer.sha256 in digests if answer.sha256 else bool(digests)


def render_table(answers: Iterable[Answer]) -> str:
    """Return how many files got which answer."""
    counts = Counter((one.way, one.word) for one in answers)
    rows = [f"| {way} | {word} | {count} |" for (way, word), count in sorted(counts.items())]
    return "\n".join(["| sent | answer | files |", "|---|---|---:|", *rows])


def _send_by_dcmtk(port: int, path: Path) -> Answer:
    command = [require_tool("dcmsend"), "--debug", "--no-uid-checks", "-aec", "FUSIONNODE", "127.0.0.1", str(port)]
    # One of the files crashes it.
    done = subprocess.run(
        [*command, str(path)],
        capture_output=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    told = (done.stdout + done.stderr).decode("latin-1")
    uid = re.search(r"Affected SOP Instance UID\s*:\s*([0-9.]+)", told)
    return Answer(path, "DCMTK", _find_word(told), uid[1] if uid else "")


def _find_word(told: str) -> str:
    if status := re.search(r"DIMSE Status\s*:\s*0x([0-9a-f]{4})", told):
        return Status(int(status[1], 16)).name
    words = {"No Acceptable Presentation Contexts": NO_CONTEXT, "Association Rejected": REJECTION}
    return next((word for text, word in words.items() if text in told), UNSENT)


def _send_raw(port: int, path: Path) -> Answer:
    """Write what the file holds as the data set of a C-STORE request, whatever it is."""
    content = path.read_bytes()
    head, offset = _read_leniently(path), _find_dataset(path)
    sop_class = str(head.get("SOPClassUID") or MRImageStorage)
    uid = str(head.get("SOPInstanceUID") or f"1.2.3.4.{next(_INVENTED)}")
    syntax = str(getattr(head, "file_meta", Dataset()).get("TransferSyntaxUID") or ImplicitVRLittleEndian)
    offered = [(_OWN, sop_class, syntax), (_AS_MR, MRImageStorage, syntax)]
    offered.append((_AS_IMPLICIT_MR, MRImageStorage, ImplicitVRLittleEndian))
    with connected(port) as peer:
        peer.sendall(encode_request(called="FUSIONNODE", offered=offered))
        answer = read_pdu(peer)
        if answer.kind != ACCEPTED:
            return Answer(path, "raw", _name_end([answer]))
        context = _choose_context(answer)
        announced = sop_class if context == _OWN else MRImageStorage
        for pdu in encode_store(content[offset:], uid, announced, context):
            peer.sendall(pdu)
        peer.sendall(RELEASE_RQ)
        word = _name_end(read_pdus(peer))
    return Answer(path, "raw", word, uid, hashlib.sha256(content[offset:]).hexdigest())


def _read_leniently(path: Path) -> Dataset:
    try:
        ds = dcmread(path, force=True, stop_before_pixels=True)
        ds.get("SOPClassUID"), ds.get("SOPInstanceUID")
    except Exception:
        return Dataset()
    return ds


def _find_dataset(path: Path) -> int:
    try:
        return int(split_dataset(path)[1])
    except Exception:
        return 0


def _choose_context(accepted: Pdu) -> int:
    pdu = A_ASSOCIATE_AC()
    pdu.decode(struct.pack(">BxL", accepted.kind, len(accepted.body)) + accepted.body)
    return min(one.context_id for one in pdu.presentation_context if one.result == 0)


def _name_end(pdus: list[Pdu]) -> str:
    """Return what an association ended with; no word of `CLEAN` where it just ended."""
    for pdu in pdus:
        if pdu.kind == DATA:
            command = decode(BytesIO(pdu.body[6:]), True, True)
            return Status(command[_STATUS].value).name
        if pdu.kind in (ABORTED, REJECTED):
            return ABORT if pdu.kind == ABORTED else REJECTION
    return "closed"


def main() -> None:
    """Send everything to a listener of this process."""
    from tests.fuzz.targets import listening

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=Path(os.environ.get("FUSIONNODE_REAL_DATA", "")))
    parser.add_argument("--each", action="store_true")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, listening(Path(scratch), patience_seconds=60) as target:
        answers = list(send_everything(target.listener.port, list_files(told.data)))
        lines = [f"{one.way}\t{one.word}\t{one.path}" for one in answers] if told.each else [render_table(answers)]
        lost = len(list_unkept(target.spool, answers))
        lines.append(f"{len({one.path for one in answers})} files, {lost} of those acknowledged lost")
        sys.stdout.write("\n".join(lines) + "\n")
        target.require_life()


if __name__ == "__main__":
    main()
