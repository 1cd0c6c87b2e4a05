"""Every odd input through a real node and through `fusionnode fuse`: the verdict that the manifests expect of it.

Whatever it is: nothing crashes, stands still for a minute, takes 2 GB of memory, or is lost from the spool.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.command_server import CommandServer
from tests.support.every_input import (
    Item,
    describe_patient_change,
    group_by_node,
    list_edge_cases,
    list_public_data,
    read_pictures,
    try_fuse,
    try_node,
)
from tests.support.verdicts import EDGE_CASES, PUBLIC_DATA, REPOSITORY, Expectation, Verdict, load_expectations

IMPATIENT = "idle_seconds = 1\nslow_seconds = 2.5\ngap_seconds = 3\nsweep_seconds = 0.3"
PATIENT = "idle_seconds = 1\nslow_seconds = 4\ngap_seconds = 5\nsweep_seconds = 0.3"


def _make_cases(folder: Path, expectations: Sequence[Expectation]) -> list[Item]:
    # In a process of its own: the cases break rules that tests otherwise hold while writing.
    names = [one.name for one in expectations]
    subprocess.run(
        [sys.executable, "-m", "dicom_samples.edge_cases.make", str(folder), *names], check=True, cwd=REPOSITORY
    )
    return list_edge_cases(folder, expectations)


def _list_mismatches(server: CommandServer, folder: Path, items: Sequence[Item], settle: str) -> list[str]:
    """Try every item both ways and return what is not as expected."""
    found = try_node(folder / "node", items, settle)
    words = {f"{item.label}, node": item.expected.node.find_mismatch(found[item.label]) for item in items}
    out = folder / "out"
    out.mkdir()
    for item in items:
        verdict = try_fuse(server, item, out / _flatten(item))
        words[f"{item.label}, fuse"] = item.expected.fuse.find_mismatch(verdict) or _compare_output(item, verdict, out)
    return [f"{label}: {word}" for label, word in words.items() if word]


def _flatten(item: Item) -> str:
    return item.label.replace("/", "_")


def _compare_output(item: Item, found: Verdict, out: Path) -> str:
    own = out / _flatten(item)
    if found.verdict != "fused":
        return ""
    if changed := describe_patient_change(own, item.fixed):
        return f"the fused series changes {changed}"
    if item.expected.like and not np.array_equal(read_pictures(own), read_pictures(out / item.expected.like)):
        return f"the pictures are not those of {item.expected.like}"
    return ""


@pytest.mark.system
def test_the_most_telling_edge_cases(commands: CommandServer, tmp_path: Path) -> None:
    items = _make_cases(tmp_path / "cases", [one for one in load_expectations(EDGE_CASES) if one.quick])
    mismatches = _list_mismatches(commands, tmp_path, items, IMPATIENT)
    assert not mismatches, "\n".join(mismatches)


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_edge_case(commands: CommandServer, tmp_path: Path) -> None:
    items = _make_cases(tmp_path / "cases", load_expectations(EDGE_CASES))
    mismatches = _list_mismatches(commands, tmp_path, items, PATIENT)
    assert not mismatches, "\n".join(mismatches)


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(7200)
def test_every_file_of_the_public_data(commands: CommandServer, tmp_path: Path, real_data: Path) -> None:
    items, forgotten = list_public_data(real_data, tmp_path / "single", load_expectations(PUBLIC_DATA))
    assert forgotten == [], "no verdict is expected of these"
    mismatches = []
    for name, group in group_by_node(items).items():
        (tmp_path / name).mkdir()
        mismatches += _list_mismatches(commands, tmp_path / name, group, PATIENT)
    assert not mismatches, "\n".join(mismatches)
