"""The demo as a story: a scanner sends, the node works, the PACS receives, and we look at the picture."""

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from rich.console import Console

from fusionnode.capture.identity import FusedIdentity
from fusionnode.capture.sheet import encode_png
from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.demo.pacs import Pacs, start_pacs
from fusionnode.domain.images import FusedStack
from fusionnode.domain.job import Job, JobState
from fusionnode.errors import DeliveryIncomplete, OutputOccupied
from fusionnode.flow.fuse_pair import PairSources, prepare_pair
from fusionnode.flow.ports import Delivery
from fusionnode.flow.preview import render_preview
from fusionnode.intake.folder import read_folder
from fusionnode.logs import StepClock
from fusionnode.pipeline.schema import Pipeline
from fusionnode.settings import DestinationSettings, Settings, SettleSettings
from fusionnode.wiring import Node, find_shared, open_node
from fusionnode.worker.inline import EmbeddedNode

logger = logging.getLogger(__name__)

_MARK = ".fusionnode-demo"
_SAMPLES = "dicom_samples"
_ENDED = (JobState.STORED, JobState.REFUSED, JobState.FAILED)


def tell_story(out: Path, console: Console) -> None:
    """Run the demo and leave everything in ``out``.

    Raises:
        OutputOccupied: ``out`` holds something that no earlier demo made.
        DeliveryIncomplete: the fused series did not arrive.
    """
    out = out.resolve()
    _clear(out)
    head = find_shared(_SAMPLES) / "head"
    with _running_pacs(out / "pacs") as pacs:
        console.print(f"PACS: {pacs.name}, {pacs.ae_title} on 127.0.0.1:{pacs.port}", soft_wrap=True)
        with _running_node(out / "spool", pacs) as (node, port):
            console.print(f"node: FUSIONNODE on 127.0.0.1:{port}, embedded, SQLite", soft_wrap=True)
            _send_all(head, port, console)
            jobs = _await_jobs(node, expected=2)
        console.print("[bold]arrived in the PACS[/]", markup=True)
        for job in jobs:
            _show(_Scene(out, head, pacs, node.pipelines[job.pipeline]), job, console)


def _clear(out: Path) -> None:
    if out.exists() and not (out / _MARK).exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputOccupied(f"{out} holds something that no demo made.", remedy="Name another folder with --out.")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARK).touch()


@contextmanager
def _running_pacs(folder: Path) -> Iterator[Pacs]:
    pacs = start_pacs(folder)
    try:
        yield pacs
    finally:
        pacs.stop()


@contextmanager
def _running_node(spool: Path, pacs: Pacs) -> Iterator[tuple[Node, int]]:
    settings = Settings(
        port=0,
        spool=spool,
        spool_reserve_mb=0,
        destinations={"pacs": DestinationSettings(ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port)},
        # Nothing else sends here, so a series may be taken as complete sooner than beside a real scanner.
        settle=SettleSettings(idle_seconds=2, slow_seconds=10, gap_seconds=20, sweep_seconds=0.5),
    )
    node = open_node(settings)
    embedded = EmbeddedNode(node)
    embedded.start()
    try:
        yield node, embedded.port
    finally:
        embedded.stop()


def _send_all(head: Path, port: int, console: Console) -> None:
    """Send all three series at the same time, each over its own association, as three scanners would."""
    folders = sorted(folder for folder in head.iterdir() if folder.is_dir())
    threads = [threading.Thread(target=_send_folder, args=(folder, port, console)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _send_folder(folder: Path, port: int, console: Console) -> None:
    destinations = {"node": Destination("node", "FUSIONNODE", "127.0.0.1", port, folder.name.upper())}
    sender = AssociationSender(folder, destinations)
    deliveries = [
        Delivery("demo", "node", ds.SOPClassUID, ds.SOPInstanceUID, path.name)
        for path in sorted(folder.glob("*.dcm"))
        for ds in [_header(path)]
    ]
    stored = sum(outcome.stored for outcome in sender.send("node", deliveries))
    console.print(f"scanner {folder.name}: {stored} of {len(deliveries)} instances acknowledged", soft_wrap=True)


def _header(path: Path) -> Dataset:
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True)


def _await_jobs(node: Node, expected: int, patience_seconds: float = 300) -> list[Job]:
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        jobs = node.ledger.list_jobs()
        if len(jobs) >= expected and all(job.state in _ENDED for job in jobs):
            break
        time.sleep(0.2)
    unstored = [
        f"{job.id}: {job.state} {job.reason}" for job in node.ledger.list_jobs() if job.state is not JobState.STORED
    ]
    if unstored or len(node.ledger.list_jobs()) < expected:
        raise DeliveryIncomplete(f"The demo did not end well: {unstored or 'no pair was found'}.")
    return sorted(node.ledger.list_jobs(), key=lambda job: job.pipeline)


@dataclass(frozen=True)
class _Scene:
    out: Path
    head: Path
    pacs: Pacs
    pipeline: Pipeline


def _show(scene: _Scene, job: Job, console: Console) -> None:
    """Fetch the series back from the PACS, keep its files, and draw the picture from what was stored."""
    stored = scene.pacs.fetch_series(FusedIdentity(job.id).series_uid)
    stored.sort(key=lambda ds: int(ds.InstanceNumber))
    folder = scene.out / "fused" / job.pipeline
    folder.mkdir(parents=True)
    for ds in stored:
        ds.save_as(folder / f"{int(ds.InstanceNumber):04d}.dcm", enforce_file_format=True)
    modality = scene.pipeline.moving.modality[0]
    moving = {"PT": "pt", "NM": "nm"}[modality]
    series = read_folder(scene.head / "mr"), read_folder(scene.head / moving)
    sources = PairSources(*series, shared_frame=job.shared_frame)
    prepared = prepare_pair(sources, scene.pipeline, StepClock(logger))
    rgb = np.stack([ds.pixel_array for ds in stored])
    sheet = render_preview(
        prepared, FusedStack(rgb, scene.pipeline.fusion.model), scene.pipeline.fusion.palette, modality
    )
    picture = scene.out / f"{job.pipeline}.png"
    picture.write_bytes(encode_png(sheet))
    console.print(f"  {stored[0].SeriesDescription}: {len(stored)} slices in {folder}", soft_wrap=True)
    console.print(f"  picture: {picture}", soft_wrap=True)
