"""The scaled-out form: Redis, PostgreSQL, listener, sweep and three workers as processes; one of them is killed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from fusionnode.capture.identity import FusedIdentity
from fusionnode.demo.pacs import OrthancPacs
from fusionnode.settings import load_settings
from fusionnode.traces.verify import verify_trail
from tests.support.running import await_value, free_port, storescu, write_site
from tests.support.stack import Stack, running_stack
from tests.support.tools import require_tool

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def stack(tmp_path: Path, orthanc: OrthancPacs) -> Iterator[Stack]:
    port = free_port()
    site = write_site(tmp_path, port, {"pacs": (orthanc.ae_title, orthanc.port)}, lease_seconds=8)
    with running_stack(site, port) as running:
        yield running


@pytest.mark.system
def test_a_fuse_worker_killed_in_mid_job_costs_time_and_nothing_else(stack: Stack, orthanc: OrthancPacs) -> None:
    require_tool("storescu")
    stack.do("stop", "fuse")
    head = REPOSITORY / "dicom_samples" / "head"
    storescu(load_settings(stack.site).port, head / "mr", head / "pt")
    [job] = await_value(lambda: [job for job in stack.jobs() if job["state"] == "prepared"])
    stack.do("start", "fuse")
    await_value(lambda: stack.jobs()[0]["state"] == "fusing", pause=0.01)
    stack.kill("fuse")
    # A starved worker may have missed a heartbeat, so that its job is free again already.
    assert stack.jobs()[0]["state"] in {"fusing", "prepared"}, "the worker ended before it was killed"
    stack.do("start", "fuse")
    await_value(lambda: stack.jobs()[0]["state"] == "stored")
    [stored] = stack.jobs()
    assert stored["id"] == job["id"]
    assert stored["stored"] == stored["owed"]
    slices = len(list((head / "mr").iterdir()))
    fused = orthanc.fetch_series(FusedIdentity(job["id"]).series_uid)
    assert len({ds.SOPInstanceUID for ds in fused}) == len(fused) == slices
    series = [one for one in orthanc.list_series() if one != fused[0].SeriesInstanceUID]
    assert len(series) == 1, "beside the fused series there is only the registration object's"
    check_trail(load_settings(stack.site).spool / "audit", slices)
    for series in ("mr", "pt"):
        check_logs(stack.state, job["id"], pydicom.dcmread(next((head / series).iterdir()), stop_before_pixels=True))


def check_logs(folder: Path, job_id: str, sent: pydicom.Dataset) -> None:
    """No process, Redis and PostgreSQL neither, writes down whose images they are; the job is told."""
    told = {path.stem: path.read_text(errors="replace") for path in folder.glob("*.log")}
    assert told.keys() >= {"listen", "sweep", "prepare", "fuse", "send", "postgres", "redis"}
    assert all(job_id in told[name] for name in ("prepare", "fuse", "send"))
    keywords = (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "AccessionNumber",
        "StudyDescription",
        "SeriesDescription",
    )
    for secret in [str(sent[keyword].value) for keyword in keywords]:
        assert secret
        assert [name for name, text in told.items() if secret in text] == []


def check_trail(folder: Path, slices: int) -> None:
    """The files of all processes, that of the killed one too, make one whole trail: who brought what where."""
    assert verify_trail(folder, b"").sound
    told = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    roles = {one["begun"]["role"] for one in told if "begun" in one}
    assert roles == {"listen", "sweep", "work.prepare", "work.fuse", "work.send"}
    moved = [one for one in told if one.get("event") == "DICOM Instances Transferred"]
    ways = [(one["participants"][0]["name"], one["objects"][0]["instances"]) for one in moved]
    assert ("STORESCU", slices) in ways
    assert ("FUSIONNODE", slices) in ways
