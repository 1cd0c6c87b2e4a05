"""Every mistake of a pipeline or site file is told, and good files pass."""

from pathlib import Path

import pytest

from fusionnode.check import check_paths

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_files_that_come_with_the_project_are_good() -> None:
    results = check_paths([REPOSITORY / "pipelines", REPOSITORY / "deploy" / "site.toml"])
    assert [(result.kind, result.mistakes) for result in results] == [("pipeline", ()), ("site file", ())]


def test_a_site_that_anybody_can_send_to_is_told(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('host = "0.0.0.0"\n')
    [result] = check_paths([site])
    assert "any host" in result.mistakes[0]
    site.write_text('host = "0.0.0.0"\n[peers.mr1]\nnetworks = ["10.1.2.0/24"]\n')
    assert check_paths([site])[0].mistakes == ()


def test_every_mistake_of_a_pipeline_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: Not A Name\nversion: '1'\nfixed: {modality: [XX]}\nhost: example\n")
    [result] = check_paths([path])
    told = " ".join(result.mistakes)
    assert all(word in told for word in ("name", "fixed.modality", "moving", "output", "host"))


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    good = next((REPOSITORY / "pipelines").glob("*.yaml")).read_text()
    path = tmp_path / "typo.yaml"
    path.write_text(good.replace("model: mask-attention", "model: mask-atention"))
    [result] = check_paths([path])
    assert any("mask-atention" in mistake for mistake in result.mistakes)


@pytest.mark.parametrize("name", ["missing.toml", "missing.yaml"])
def test_a_missing_file_is_told(tmp_path: Path, name: str) -> None:
    [result] = check_paths([tmp_path / name])
    assert "does not exist" in result.mistakes[0]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    assert "no pipeline file" in check_paths([tmp_path])[0].mistakes[0]
