"""The scaled-out form: Redis, PostgreSQL, listener, sweep and three workers as processes; one of them is killed."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusionnode.capture.identity import FusedIdentity
from fusionnode.demo.pacs import OrthancPacs
from tests.support.running import FUSIONNODE, await_port, await_value, free_port, list_jobs, storescu, write_site
from tests.support.tools import require_postgres, require_tool

REPOSITORY = Path(__file__).resolve().parents[2]
STACK = REPOSITORY / "deploy" / "local-stack.sh"


@dataclass(frozen=True)
class Stack:
    """A running stack: its site file, its folder, and the environment its processes share."""

    site: Path
    state: Path
    port: int
    environment: dict[str, str]

    def do(self, action: str, *name: str) -> None:
        subprocess.run(
            [str(STACK), action, str(self.site), str(self.state), *name],
            env={**os.environ, **self.environment},
            check=True,
            timeout=120,
        )

    def kill(self, name: str) -> None:
        os.killpg(int((self.state / f"{name}.pid").read_text()), signal.SIGKILL)

    def jobs(self) -> list[dict[str, Any]]:
        return list_jobs(self.site, self.environment)


@pytest.fixture
def stack(tmp_path: Path, orthanc: OrthancPacs) -> Iterator[Stack]:
    require_tool("redis-server")
    require_postgres()
    redis_port, postgres_port, port = free_port(), free_port(), free_port()
    environment = {
        "REDIS_PORT": str(redis_port),
        "POSTGRES_PORT": str(postgres_port),
        "FUSIONNODE": FUSIONNODE,
        "FUSIONNODE_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "FUSIONNODE_DATABASE_URL": f"postgresql+psycopg://fusionnode@127.0.0.1:{postgres_port}/fusionnode",
    }
    site = write_site(tmp_path, port, {"pacs": (orthanc.ae_title, orthanc.port)}, lease_seconds=4)
    # Not below pytest's own folder: that is closed to the user PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="stack-") as state:
        running = Stack(site, Path(state), port, environment)
        try:
            running.do("up")
            await_port(port)
            yield running
        finally:
            running.do("down")


@pytest.mark.system
@pytest.mark.timeout(240)
def test_a_fuse_worker_killed_in_mid_job_costs_time_and_nothing_else(stack: Stack, orthanc: OrthancPacs) -> None:
    require_tool("storescu")
    stack.do("stop", "fuse")
    head = REPOSITORY / "dicom_samples" / "head"
    storescu(stack.port, head / "mr", head / "pt")
    [job] = await_value(lambda: [job for job in stack.jobs() if job["state"] == "prepared"], seconds=90)
    stack.do("start", "fuse")
    await_value(lambda: stack.jobs()[0]["state"] == "fusing", seconds=60, pause=0.01)
    stack.kill("fuse")
    assert stack.jobs()[0]["state"] == "fusing", "the worker ended before it was killed"
    stack.do("start", "fuse")
    await_value(lambda: stack.jobs()[0]["state"] == "stored", seconds=90)
    [stored] = stack.jobs()
    assert stored["id"] == job["id"]
    assert stored["stored"] == stored["owed"]
    slices = len(list((head / "mr").iterdir()))
    fused = orthanc.fetch_series(FusedIdentity(job["id"]).series_uid)
    assert len({ds.SOPInstanceUID for ds in fused}) == len(fused) == slices
    series = [one for one in orthanc.list_series() if one != fused[0].SeriesInstanceUID]
    assert len(series) == 1, "beside the fused series there is only the registration object's"
