"""The units in deploy/ keep a process to what it needs, as systemd itself judges them."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import require_tool

UNITS = sorted((Path(__file__).resolve().parents[2] / "deploy" / "systemd").glob("*.service"))
EXPOSURE = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
NEEDED = {
    "User=fusionnode",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "StateDirectoryMode=0700",
    "UMask=0077",
    "SystemCallFilter=@system-service",
    "LimitCORE=0",
    "TasksMax=2048",
}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_without_privileges(unit: Path) -> None:
    assert set(unit.read_text(encoding="utf-8").splitlines()) >= NEEDED


@pytest.mark.system
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_little_that_a_unit_could_harm(unit: Path) -> None:
    tool = require_tool("systemd-analyze")
    judged = subprocess.run(
        [tool, "security", "--offline=true", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    found = EXPOSURE.search(judged.stdout)
    assert found, judged.stderr
    assert float(found[1]) < 2, "of 10, which is everything; more is OK to systemd up to 5"
