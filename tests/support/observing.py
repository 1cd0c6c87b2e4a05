"""Sends files to a running node, waits until it rests, and tells what became of each."""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.filereader import read_file_meta_info
from pynetdicom.dsutils import split_dataset

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.pair import Rejection
from fusionnode.domain.series import Series
from fusionnode.domain.terms import UNSETTLED, SeriesState
from fusionnode.errors import DestinationUnreachable, Refused
from fusionnode.flow.ports import Delivery, StoredFile
from fusionnode.index.header import read_header
from fusionnode.index.store import SqlLedger, open_ledger
from fusionnode.intake.spool import Spool, hash_dataset
from fusionnode.settings import Settings
from tests.support.verdicts import Verdict

UNSENDABLE = "unsendable"
_RESTING = frozenset({JobState.STORED, JobState.REFUSED, JobState.FAILED, JobState.SUPERSEDED})
_LOOKS = 4


@dataclass(frozen=True)
class Sent:
    """One file and what the node answered, or why it could not be sent. ``name``: what the spool should call it."""

    path: Path
    status: str
    name: str = ""

    @property
    def acknowledged(self) -> bool:
        """Whether the node has taken the responsibility."""
        return self.status == "0000"


def send_files(port: int, paths: Sequence[Path], called: str = "FUSIONNODE") -> list[Sent]:
    """Send each file byte for byte by C-STORE; one that breaks the association is tried once more by itself."""
    uids = {path: uid for path in paths if (uid := _find_uid(path))}
    statuses = _send(port, uids, called)
    for path in [path for path in uids if path not in statuses]:
        statuses |= {path: "aborted"} | _send(port, {path: uids[path]}, called)
    return [
        Sent(path, statuses[path], _name_in_spool(path, uids[path])) if path in uids else Sent(path, UNSENDABLE)
        for path in paths
    ]


def _send(port: int, uids: dict[Path, str], called: str) -> dict[Path, str]:
    destination = Destination("node", called, "127.0.0.1", port, "SCANNER")
    sender = AssociationSender(Path("/"), {"node": destination})
    deliveries = [
        Delivery("test", "node", str(read_file_meta_info(path).MediaStorageSOPClassUID), uid, str(path.absolute()))
        for path, uid in uids.items()
    ]
    statuses: dict[Path, str] = {}
    by_place = {str(path.absolute()): path for path in uids}
    try:
        for outcome in sender.send("node", deliveries):
            statuses[by_place[outcome.delivery.path]] = outcome.status
    except DestinationUnreachable:
        pass
    return statuses


def _find_uid(path: Path) -> str:
    """Return the UID to announce; empty where the file lacks what a sender needs (PS3.10 section 7.1)."""
    try:
        meta = read_file_meta_info(path)
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID  # noqa: B018 - are they there?
        split_dataset(path)
        return str(meta.MediaStorageSOPInstanceUID)
    except Exception:
        return ""


def _name_in_spool(path: Path, uid: str) -> str:
    _, offset = split_dataset(path)
    digest = hashlib.sha256(path.read_bytes()[offset:]).hexdigest()
    return f"{hashlib.sha256(uid.encode()).hexdigest()[:32]}-{digest}.dcm"


def find_lost(spool: Spool, sent: Iterable[Sent]) -> list[str]:
    """Return the acknowledged files that are not in the spool, or there with other bytes."""
    return [str(one.path) for one in sent if one.acknowledged and not _is_kept(spool, one.name)]


def _is_kept(spool: Spool, name: str) -> bool:
    path = _find(spool, name)
    return path is not None and hash_dataset(path) == name[33:97]


def _find(spool: Spool, name: str) -> Path | None:
    places = (spool.instances / name[:2] / name, spool.quarantine / name, spool.arrivals / name)
    return next((path for path in places if path.is_file()), None)


@dataclass(frozen=True)
class Rest:
    """What the ledger holds once nothing moves any more."""

    series: dict[str, Series]
    jobs: list[Job]
    rejections: list[Rejection]

    @property
    def unfinished(self) -> list[str]:
        """What is still on its way."""
        waiting = [f"series {one.key}: {one.state}" for one in self.series.values() if one.state in UNSETTLED]
        return waiting + [f"job {job.id}: {job.state}" for job in self.jobs if job.state not in _RESTING]


def await_rest(settings: Settings, process: "subprocess.Popen[bytes]", patience_seconds: float) -> Rest:
    """Wait until every arrival is indexed, every series settled and every job ended.

    Args:
        settings: of the node.
        process: the node.
        patience_seconds: of processor time that the node may use between two changes of its ledger, so that a busy
            machine does not look like a hang; of a node that only waits, a tenth of the time on the clock.

    Raises:
        AssertionError: the node died, or its patience was exceeded although something is unfinished.
    """
    spool, ledger = Spool(settings.spool), open_ledger(settings.ledger_url)
    spent, begun, last, quiet = measure_spent_seconds(process), time.monotonic(), "", 0
    while quiet < _LOOKS:
        arrivals = [one.place for one in spool.list_arrivals()]
        rest = _look(ledger)
        seen = repr([*arrivals, *rest.unfinished, *(f"{one.key} {one.state}" for one in rest.series.values())])
        quiet = quiet + 1 if seen == last and not arrivals and not rest.unfinished else 0
        if seen != last:
            spent, begun, last = measure_spent_seconds(process), time.monotonic(), seen
        busy, waited = measure_spent_seconds(process) - spent, time.monotonic() - begun
        assert max(busy, waited / 10) < patience_seconds, f"hangs: {arrivals} {rest.unfinished}"
        time.sleep(0.3)
    ledger.close()
    return rest


def measure_spent_seconds(process: "subprocess.Popen[bytes]") -> float:
    """Return the processor time a running process has used (proc(5): utime and stime).

    Raises:
        AssertionError: it has ended.
    """
    assert process.poll() is None, f"the node ended with status {process.returncode}"
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _look(ledger: SqlLedger) -> Rest:
    series = sorted(ledger.list_series(tuple(SeriesState)), key=lambda one: one.key.generation)
    by_uid = {one.key.series_instance_uid: one for one in series}
    return Rest(by_uid, ledger.list_jobs(limit=100_000), ledger.list_rejections())


def judge_item(spool: Spool, rest: Rest, sent: Sequence[Sent]) -> Verdict:
    """Return what became of the files of one input, and everything the node says about it."""
    if not any(one.acknowledged for one in sent):
        return _judge_unstored(sent)
    notes = [note.read_text().strip() for one in sent if (note := _note(spool, one.name)).is_file()]
    uids = _list_series_uids(spool, sent)
    series = [rest.series[uid] for uid in uids if uid in rest.series]
    jobs = [job for job in rest.jobs if {job.fixed.series_instance_uid, job.moving.series_instance_uid} & uids]
    words = [*(f"{job.state} {job.error}: {job.reason}" for job in jobs if job.state is not JobState.STORED), *notes]
    words += [f"{one.state}: {one.reason}" for one in series]
    words += [no.reason for no in rest.rejections if {key.series_instance_uid for key in no.series} & uids]
    words += sorted({f"answered {one.status}" for one in sent if not one.acknowledged})
    return Verdict(_decide(jobs, series, notes), "; ".join(words))


def list_fused_pairs(rest: Rest, folders: dict[str, str]) -> set[str]:
    """Return which series were fused, as "FOLDER+FOLDER"; ``folders`` maps series UIDs to their folders."""
    stored = [job for job in rest.jobs if job.state is JobState.STORED and job.fixed.series_instance_uid in folders]
    return {f"{folders[job.fixed.series_instance_uid]}+{folders[job.moving.series_instance_uid]}" for job in stored}


def _judge_unstored(sent: Sequence[Sent]) -> Verdict:
    statuses = sorted({one.status for one in sent})
    return Verdict(UNSENDABLE if statuses == [UNSENDABLE] else "turned away", f"answered {', '.join(statuses)}")


def _decide(jobs: list[Job], series: list[Series], notes: list[str]) -> str:
    states = {job.state for job in jobs}
    if JobState.STORED in states:
        return "fused"
    ended = sorted(f"{job.state} {job.error}" for job in jobs if job.state in {JobState.REFUSED, JobState.FAILED})
    if ended:
        return ended[0]
    if notes or any(one.state is SeriesState.QUARANTINED for one in series):
        return "quarantined"
    return "left alone"


def _note(spool: Spool, name: str) -> Path:
    return spool.quarantine / f"{name}.reason.txt"


def _list_series_uids(spool: Spool, sent: Sequence[Sent]) -> set[str]:
    uids = set()
    for one in sent:
        path = _find(spool, one.name) if one.acknowledged else None
        if path is not None:
            try:
                uids.add(read_header(StoredFile(path, path.name, "")).series_instance_uid)
            except Refused:
                continue
    return uids


def measure_peak_bytes(process: "subprocess.Popen[bytes]") -> int:
    """Return the largest resident set of a running process so far."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0
