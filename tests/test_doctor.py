"""A probe that fails is a finding, never an exception, and secrets are not told."""

from pathlib import Path

import pytest

from fusionnode.demo.pacs import StoragePacs
from fusionnode.doctor import examine
from fusionnode.settings import Settings, WebDestinationSettings
from tests.support.nodes import make_settings, open_test_node, storage_pacs
from tests.support.pacs import find_dicomweb_root, running_orthanc


def _findings(settings: Settings) -> dict[str, tuple[bool | None, str]]:
    return {finding.subject: (finding.well, finding.words) for finding in examine(settings)}


def test_a_good_installation_is_well(tmp_path: Path) -> None:
    with storage_pacs(tmp_path) as pacs:
        assert isinstance(pacs, StoragePacs)
        open_test_node(tmp_path, pacs)
        findings = _findings(make_settings(tmp_path, pacs))
    assert {subject for subject, (well, _) in findings.items() if well is False} == set()
    assert "C-ECHO" in findings["destination pacs"][1]
    assert findings["torch"][1]


def test_everything_that_is_ill_is_told_in_one_go(tmp_path: Path) -> None:
    settings = make_settings(
        tmp_path,
        database_url="postgresql+psycopg://user:hunter2@127.0.0.1:1/none",
        broker_url="redis://:hunter2@127.0.0.1:1/0",
        pipelines=tmp_path / "missing",
        spool_reserve_mb=2**40,
    )
    findings = _findings(settings)
    ill = {subject for subject, (well, _) in findings.items() if well is False}
    assert ill == {"pipelines", "spool", "database", "broker", "destination pacs"}
    assert "hunter2" not in str(findings)


def test_a_node_that_any_host_can_reach_is_remarked_upon(tmp_path: Path) -> None:
    findings = _findings(make_settings(tmp_path, host="0.0.0.0"))
    assert "allow-list" in findings["reach"][1]


@pytest.mark.system
def test_a_dicomweb_server_is_asked_in_its_own_language(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "orthanc") as pacs:
        destinations = {"pacs": WebDestinationSettings(url=find_dicomweb_root(pacs))}
        findings = _findings(make_settings(tmp_path, destinations=destinations))
    assert findings["destination pacs"] == (True, f"{find_dicomweb_root(pacs)} answers HTTP 200")
