"""A batch through a scaled-out site: it is killed half way, and a worker with it; every pair ends with one verdict."""

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusionnode.demo.pacs import OrthancPacs
from tests.support.pacs import running_orthanc
from tests.support.repackaged import make_patient, upload
from tests.support.running import FUSIONNODE, await_value, free_port, write_quick_pipelines, write_site
from tests.support.stack import Stack, running_stack

BEFORE_FUSION = {"queued", "preparing", "prepared"}

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Site:
    """A running stack whose archive and destination are the same running Orthanc."""

    stack: Stack
    orthanc: OrthancPacs
    out: Path
    arguments: Sequence[str]

    def start(self) -> "subprocess.Popen[str]":
        command = [FUSIONNODE, "batch", "--node", "--site", str(self.stack.site), "--out", str(self.out)]
        return subprocess.Popen(
            [*command, *self.arguments],
            env={**os.environ, **self.stack.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def count_fetched(self) -> int:
        """How many studies the batch has brought."""
        journal = self.out / "journal.jsonl"
        return journal.read_text().count('"fetched"') if journal.exists() else 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    port = free_port()
    node = {"DicomModalities": {"node": ["FUSIONNODE", "127.0.0.1", port]}}
    with running_orthanc(tmp_path / "orthanc", node) as pacs:
        archive = f'[archives.get]\nae_title = "{pacs.ae_title}"\nhost = "127.0.0.1"\nport = {pacs.port}\n'
        extra = f'pipelines = "{write_quick_pipelines(tmp_path)}"\n{archive}'
        path = write_site(tmp_path, port, {"pacs": (pacs.ae_title, pacs.port)}, extra, lease_seconds=4)
        arguments = ["--archive", "get", "--patients", str(tmp_path / "patients.csv")]
        with running_stack(path, port) as stack:
            yield Site(stack, pacs, tmp_path / "batch", arguments)


def _require_one_verdict_each(site: Site, pairs: int) -> None:
    """Run the batch to its end: each pair was stored once, by one job, as one series of ten slices."""
    process = site.start()
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    summary: dict[str, Any] = json.loads((site.out / "summary.json").read_text())
    assert summary["verdicts"] == {"stored": pairs}
    assert len({(row["fixed"], row["moving"]) for row in summary["rows"]}) == pairs
    assert {job["id"] for job in site.stack.jobs()} == {row["job"] for row in summary["rows"]}
    assert {(row["stored"], row["owed"]) for row in summary["rows"]} == {("10", "10")}
    for row in summary["rows"]:
        slices = site.orthanc.fetch_series(row["fused"])
        assert sorted(int(ds.InstanceNumber) for ds in slices) == list(range(1, 11))
    made = Counter(site.orthanc.list_series())
    assert len(made) == 3 * pairs, "an MRI, a PET and a fused series of each"


def _prepare(site: Site, pairs: int) -> None:
    patients = [make_patient(number) for number in range(pairs)]
    upload(site.orthanc, patients)
    list_ = site.out.with_name("patients.csv")
    list_.write_text("\n".join(["PatientID", *(one.patient_id for one in patients)]) + "\n")


def _kill(process: "subprocess.Popen[str]") -> None:
    assert process.poll() is None, process.communicate()[0]
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _await(process: "subprocess.Popen[str]", ask: Callable[[], object]) -> None:
    """Wait until the answer is true while the process runs."""
    await_value(lambda: process.poll() is not None or ask(), seconds=300, pause=0.01)


@pytest.mark.slow
def test_a_batch_and_a_worker_killed_half_way_cost_time_and_nothing_else(site: Site) -> None:
    _prepare(site, pairs=3)
    site.stack.kill("fuse", signal.SIGSTOP)
    process = site.start()
    _await(process, lambda: site.count_fetched() >= 1)
    _kill(process)
    assert site.count_fetched() < 3, "everything was fetched before it was killed"
    # What was brought is the site's: it is worked on whether or not somebody waits for it.
    await_value(lambda: [job for job in site.stack.jobs() if job["state"] == "prepared"])
    site.stack.kill("fuse", signal.SIGCONT)
    await_value(lambda: [job for job in site.stack.jobs() if job["state"] not in BEFORE_FUSION], pause=0.01)
    site.stack.kill("fuse")
    site.stack.do("start", "fuse")
    _require_one_verdict_each(site, pairs=3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_process_killed_in_its_turn_costs_time_and_nothing_else(site: Site) -> None:
    _prepare(site, pairs=12)
    for number, name in enumerate(("sweep", "prepare", "fuse", "send"), start=1):
        process = site.start()
        _await(process, lambda number=number: site.count_fetched() >= 2 * number and site.stack.jobs())  # type: ignore[misc]
        _kill(process)
        site.stack.kill(name)
        site.stack.do("start", name)
    assert site.count_fetched() < 12, "everything was fetched before it was killed"
    _require_one_verdict_each(site, pairs=12)
