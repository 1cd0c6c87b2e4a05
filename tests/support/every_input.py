"""Puts inputs through a real node and through `fusionnode fuse`, within bounds of time and memory."""

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from fusionnode.intake.spool import Spool
from fusionnode.settings import load_settings
from tests.support.command_server import CRASHED, CommandServer
from tests.support.nodes import storage_pacs
from tests.support.observing import (
    Rest,
    Sent,
    await_rest,
    find_lost,
    judge_item,
    list_fused_pairs,
    measure_peak_bytes,
    send_files,
)
from tests.support.running import free_port, serving, write_site
from tests.support.verdicts import REPOSITORY, Expectation, Verdict

LIMIT_SECONDS = 60.0
LIMIT_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Item:
    """One input: its files, what is expected of it, and the folders the command gets."""

    label: str
    expected: Expectation
    files: tuple[Path, ...]
    fixed: Path
    moving: Path


def list_edge_cases(folder: Path, expectations: Iterable[Expectation]) -> list[Item]:
    """Return the edge cases that were made below ``folder``.

    They are fused with ``maximum``, which looks at one voxel at a time: turning the picture round changes nothing else.
    """
    return [
        Item(
            one.name,
            replace(one, options=("--network", "maximum")),
            _list_files(folder / one.name),
            folder / one.name / "mr",
            folder / one.name / (one.moving or "pt"),
        )
        for one in expectations
    ]


def list_public_data(root: Path, scratch: Path, expectations: Iterable[Expectation]) -> tuple[list[Item], list[str]]:
    """Return one item for each path a pattern names, the first pattern winning, and the files that none names."""
    items, taken = [], set()
    for one in expectations:
        for path in sorted(path for pattern in one.files or (one.name,) for path in root.glob(pattern)):
            files = [file for file in _list_files(path) if file not in taken]
            if files:
                taken |= set(files)
                items.append(_make_item(root, scratch, one, path, tuple(files)))
    forgotten = [str(file.relative_to(root)) for file in _list_files(root) if file not in taken | {root / "README.md"}]
    return items, forgotten


def _make_item(root: Path, scratch: Path, expected: Expectation, path: Path, files: tuple[Path, ...]) -> Item:
    label = path.relative_to(root).as_posix()
    folder = path
    if path.is_file():
        folder = scratch / label.replace("/", "_")
        folder.mkdir(parents=True)
        shutil.copyfile(path, folder / "0001.dcm")
    fixed = _locate(root, expected.fixed) if expected.fixed else folder
    moving = _locate(root, expected.moving) if expected.moving else folder
    return Item(label, expected, files, fixed, moving)


def _locate(root: Path, place: str) -> Path:
    return REPOSITORY / place if place.startswith("dicom_samples") else root / place


def _list_files(path: Path) -> tuple[Path, ...]:
    return (path,) if path.is_file() else tuple(sorted(one for one in path.rglob("*") if one.is_file()))


def try_node(folder: Path, items: Sequence[Item], settle: str) -> dict[str, Verdict]:
    """Send all items to a node that has nothing else to do and return what became of each.

    Args:
        folder: for the node and its PACS.
        items: each is sent in an association of its own.
        settle: the node's patience, as the lines of its site file.

    Raises:
        AssertionError: the node died, stood still, took too much memory or lost an acknowledged instance.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with storage_pacs(folder) as pacs:
        port = free_port()
        site = write_site(folder, port, {"pacs": (pacs.ae_title, pacs.port)})
        own = f"[settle]\n{settle}\n[work]\nlease_seconds = 60\n"
        site.write_text(re.sub(r"(?s)\[settle\].*", own, site.read_text()))
        settings = load_settings(site)
        with serving(site, port, folder / "serve.log") as process:
            sent = {item.label: send_files(port, item.files) for item in items}
            rest = await_rest(settings, process, LIMIT_SECONDS)
            assert measure_peak_bytes(process) < LIMIT_BYTES
        spool = Spool(settings.spool)
        assert find_lost(spool, [one for files in sent.values() for one in files]) == []
        assert "Traceback" not in (folder / "serve.log").read_text(errors="replace")
        return {item.label: _judge(spool, rest, item, sent[item.label]) for item in items}


def _judge(spool: Spool, rest: Rest, item: Item, sent: Sequence[Sent]) -> Verdict:
    found = judge_item(spool, rest, sent)
    if not item.expected.jobs:
        return found
    folders = {}
    for path in item.files:
        folders[str(dcmread(path, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID)] = path.parent.name
    pairs = list_fused_pairs(rest, folders)
    if pairs != set(item.expected.jobs):
        return Verdict(f"{found.verdict} {sorted(pairs)}", found.because)
    return found


def try_fuse(server: CommandServer, item: Item, out: Path) -> Verdict:
    """Run ``fusionnode fuse`` on the item and return what became of it.

    Raises:
        AssertionError: it crashed, hung or took too much memory.
    """
    log = out.with_name(f"{out.name}.log")
    command = ["--quiet", "fuse", str(item.fixed), str(item.moving), "--out", str(out), *item.expected.options]
    ended = server.run(command, log, LIMIT_SECONDS)
    assert not ended.timed_out, f"{item.label} hangs for {ended.seconds:.0f} s"
    assert 0 <= ended.status < CRASHED, f"{item.label} crashes ({ended.status}): {ended.output[-2000:]}"
    assert ended.peak_bytes < LIMIT_BYTES, f"{item.label} took {ended.peak_bytes} bytes"
    words = " ".join(ended.output.split())
    if ended.status == 0:
        return Verdict("fused", words)
    named = re.findall(r"^(\w+): ", ended.output, re.MULTILINE)
    return Verdict(f"refused {named[-1] if named else 'without a name'}", words)


def read_pictures(out: Path) -> NDArray[np.uint8]:
    """Return the fused slices below a folder [slice, row, column, colour], rows to the back, columns to the left."""
    fused = [dcmread(path) for path in sorted((out / "fused").glob("*.dcm"))]
    fused.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    return np.stack([_turn(ds) for ds in fused])


def _turn(ds: Dataset) -> NDArray[np.uint8]:
    row_to_left, column_to_back = float(ds.ImageOrientationPatient[0]) > 0, float(ds.ImageOrientationPatient[4]) > 0
    pixels: NDArray[np.uint8] = ds.pixel_array
    return pixels[:: 1 if column_to_back else -1, :: 1 if row_to_left else -1]


def describe_patient_change(out: Path, fixed: Path) -> str:
    """Return what a fused series says otherwise about the patient than the MRI it lies on, or empty text."""
    source = next(ds for path in sorted(fixed.iterdir()) if (ds := _read(path)) is not None)
    fused = dcmread(next((out / "fused").glob("*.dcm")))
    changed = [word for word in ("PatientName", "PatientID", "PatientBirthDate") if fused.get(word) != source.get(word)]
    return ", ".join(changed)


def _read(path: Path) -> Dataset | None:
    try:
        return dcmread(path)
    except Exception:
        return None


def group_by_node(items: Iterable[Item]) -> dict[str, list[Item]]:
    """Return the items by the node they are sent to: data sets that use the same UIDs stay out of each other's way."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        parts = item.label.split("/")
        apart = {"robustness": "-".join(parts[:2]), "compressed_wg04": parts[0]}
        groups[apart.get(parts[0], "others")].append(item)
    return dict(groups)
