"""The summary of a batch: read from ledger and journal at its end, as CSV for people and JSON for programs."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from fusionnode import __version__
from fusionnode.batch.earlier import EarlierResult, read_facts
from fusionnode.batch.folder import BatchFolder
from fusionnode.batch.verdicts import COLUMNS, FINAL, Evidence, Row, Verdict, count_verdicts, list_rows
from fusionnode.domain.job import Job, JobEvent
from fusionnode.domain.series import Series
from fusionnode.domain.terms import SeriesState
from fusionnode.durable import write_whole
from fusionnode.index.event_log import Event
from fusionnode.index.store import SqlLedger, open_ledger
from fusionnode.pipeline.schema import Pipeline
from fusionnode.settings import Settings

_MOTION = re.compile(r"rotation ([\d.]+) deg, displacement ([\d.]+) mm")
_OVERLAP = re.compile(r"overlap ([\d.]+)")
EVERYTHING = 1_000_000
"""More jobs than a batch has."""


def write_summary(
    folder: BatchFolder, settings: Settings, pipelines: Mapping[str, Pipeline], now: datetime
) -> dict[str, Any]:
    """Write ``summary.csv`` and ``summary.json`` and return what is in the latter; no patient attribute is among it.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    ledger = open_ledger(settings.ledger_url)
    try:
        rows = _list_all_rows(folder, settings, ledger, pipelines, now)
    finally:
        ledger.close()
    fetched = folder.list_notes("fetched")
    facts = {
        "fusionnode": __version__,
        "final": all(row.verdict in FINAL for row in rows),
        "verdicts": count_verdicts(rows),
        "studies": len({note["study"] for note in folder.list_notes("found")}),
        "instances": sum(note["instances"] for note in fetched),
        "unusable_files": len(folder.list_notes("unusable")),
        "seconds": round(sum(float(row.seconds) for row in rows if row.seconds), 1),
        "rows": [asdict(row) for row in rows],
    }
    write_whole(folder.root / "summary.json", json.dumps(facts, indent=2) + "\n")
    write_whole(folder.root / "summary.csv", _write_csv(rows))
    return facts


def list_torn(folder: BatchFolder) -> dict[str, str]:
    """Return why, by UID, of the series that never came whole."""
    torn: dict[str, str] = {}
    for note in folder.list_notes("torn", "whole"):
        if note["what"] == "whole":
            torn.pop(note["series"], None)
        elif note["series"]:
            torn[note["series"]] = f"{note['error']}: {note['reason']}"
    return torn


def list_whole(folder: BatchFolder) -> set[str]:
    """Return the UIDs of the series that an archive handed over whole."""
    return {note["series"] for note in folder.list_notes("whole")} - list_torn(folder).keys()


def list_results(folder: BatchFolder) -> list[EarlierResult]:
    """Return the fused series that were found beside what was fetched."""
    return [read_facts(note) for note in folder.list_notes("earlier")]


def list_fetched_series(folder: BatchFolder, ledger: SqlLedger, *, everything: bool) -> dict[str, Series]:
    """Return the series of the batch by UID: ``everything`` in the ledger, or only what was fetched."""
    if everything:
        series: Iterable[Series] = ledger.list_series(tuple(SeriesState))
    else:
        uids = dict.fromkeys(uid for note in folder.list_notes("fetched") for uid in note["series"])
        uids |= dict.fromkeys(list_torn(folder))
        series = [one for uid in uids for one in ledger.list_named(uid)]
    # Of what a node's retention deleted meanwhile there is nothing to tell but the jobs.
    return {one.key.series_instance_uid: one for one in series if one.instances}


def _list_all_rows(
    folder: BatchFolder, settings: Settings, ledger: SqlLedger, pipelines: Mapping[str, Pipeline], now: datetime
) -> list[Row]:
    own = folder.owns_node
    series = list_fetched_series(folder, ledger, everything=own)
    jobs = ledger.list_jobs(limit=EVERYTHING) if own else ledger.list_jobs_on(list(series))
    torn = list_torn(folder)
    skipped = {(note["fixed"], note["moving"]): note["there"] for note in folder.list_notes("skipped")}
    for job in jobs:
        skipped.pop((job.fixed.series_instance_uid, job.moving.series_instance_uid), None)
    evidence = Evidence(
        pipelines=pipelines,
        series=series,
        jobs=jobs,
        pseudonyms={uid: folder.make_pseudonym(one.head.patient.patient_id) for uid, one in series.items()},
        skipped=skipped,
        torn=torn,
        written=own and folder.results.is_dir(),
        now=now,
    )
    by_id = {job.id: job for job in jobs}
    rows = [_add_figures(row, by_id.get(row.job), ledger, settings) for row in list_rows(evidence)]
    return [*rows, *_list_unfetched(folder, rows), *_list_unfound(folder)]


def _list_unfetched(folder: BatchFolder, told: Iterable[Row]) -> Iterator[Row]:
    """Yield a row for each study that did not come whole, unless a series of it is ``told`` of as not fetched."""
    lost = [row for row in told if row.verdict is Verdict.NOT_FETCHED]
    reasons = " ".join(row.reason for row in lost)
    dealt_with = {note["study"] for note in folder.list_notes("fetched")} | {row.study for row in lost}
    trouble = {note["study"]: note for note in folder.list_notes("torn")}
    for note in folder.list_notes("found"):
        torn = trouble.get(note["study"])
        if note["study"] in dealt_with or (torn and torn["series"] and torn["series"] in reasons):
            continue
        reason = f"{torn['error']}: {torn['reason']}" if torn else "not all of it was asked for yet"
        yield Row(Verdict.NOT_FETCHED, reason, note["patient"], note["study"])


def _list_unfound(folder: BatchFolder) -> Iterator[Row]:
    """Yield a row for each question to which the archive knew no study."""
    for note in folder.list_notes("asked"):
        if not note["studies"]:
            where = f"row {note['row']} of the patient list" if note["row"] else "the query"
            yield Row(Verdict.NOT_FOUND, f"nothing was found for {where}", note["patient"])


def _add_figures(row: Row, job: Job | None, ledger: SqlLedger, settings: Settings) -> Row:
    if job is None:
        return row
    stored, owed = ledger.count_deliveries(job.id)
    seconds = _sum_seconds(ledger.list_events(job.id))
    row = replace(row, stored=str(stored), owed=str(owed), seconds=f"{seconds:.1f}")
    words = _read_derivation(settings.spool / "outbox" / job.id)
    if motion := _MOTION.search(words):
        row = replace(row, rotation_deg=motion[1], displacement_mm=motion[2])
    overlap = _OVERLAP.search(words)
    return replace(row, overlap=overlap[1].rstrip(".")) if overlap else row


def _sum_seconds(events: Sequence[Event]) -> float:
    """Return for how long workers had the job, in seconds."""
    claims = [(one, after) for one, after in pairwise(events) if one.what == JobEvent.CLAIMED]
    return sum((after.at - one.at).total_seconds() for one, after in claims)


def _read_derivation(outbox: Path) -> str:
    """Return how the fused series was derived, in its own words; empty where it is not there."""
    try:
        ds = pydicom.dcmread(outbox / "0001.dcm", stop_before_pixels=True, specific_tags=["DerivationDescription"])
    except (OSError, InvalidDicomError):
        return ""
    return str(ds.get("DerivationDescription", ""))


def _write_csv(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
