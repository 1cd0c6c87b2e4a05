"""The edges are put together from the site's settings, and a wrong site stops at start-up."""

from pathlib import Path

import pytest
import torch

from fusionnode.domain.model import ModelCard
from fusionnode.errors import ModelUnavailable, ModelUnknown, PipelineInvalid, SettingsInvalid
from fusionnode.fusion.cards import CARDS
from fusionnode.wiring import find_shared, load_pipelines, name_worker, open_fuser, open_node
from tests.support.nodes import make_settings


def test_open_node_makes_the_spool_and_the_ledger(tmp_path: Path) -> None:
    node = open_node(make_settings(tmp_path))
    assert node.ledger.list_jobs() == []
    assert (tmp_path / "spool" / "arrivals").is_dir()


def test_open_node_with_an_unknown_destination_stops_at_start_up(tmp_path: Path) -> None:
    with pytest.raises(PipelineInvalid, match="pacs"):
        open_node(make_settings(tmp_path, destinations={}))
    assert not (tmp_path / "spool").exists()


def test_open_node_with_a_database_nobody_knows_stops_at_start_up(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid):
        open_node(make_settings(tmp_path, database_url="oracle://nowhere"))


def test_load_pipelines_of_an_empty_folder_says_which(tmp_path: Path) -> None:
    with pytest.raises(PipelineInvalid, match=tmp_path.name):
        load_pipelines(make_settings(tmp_path, pipelines=tmp_path), None)


def test_find_shared_finds_what_comes_with_the_project() -> None:
    assert (find_shared("pipelines") / "mr-pt.yaml").is_file()
    assert (find_shared("dicom_samples") / "MANIFEST.toml").is_file()


def test_open_fuser_finds_a_rule_by_name_and_by_identifier() -> None:
    assert open_fuser("laplacian").card is open_fuser("laplacian@1").card


def test_open_fuser_refuses_a_name_nobody_has() -> None:
    with pytest.raises(ModelUnknown, match="magic"):
        open_fuser("magic")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_wanted_and_not_there_is_a_mistake_of_the_site() -> None:
    with pytest.raises(SettingsInvalid, match="GPU"):
        open_fuser("laplacian", "cuda")


@pytest.mark.parametrize("card", CARDS.values(), ids=lambda card: card.name)
def test_open_fuser_opens_every_fuser_that_is_said_to_be_available_and_no_other(card: ModelCard) -> None:
    if card.available:
        assert open_fuser(card.name).card is card
    else:
        with pytest.raises(ModelUnavailable, match="No trained weights"):
            open_fuser(card.name)


def test_workers_of_one_process_have_names_of_their_own() -> None:
    assert name_worker("fuse") != name_worker("send")
