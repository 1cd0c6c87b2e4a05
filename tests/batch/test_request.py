"""What may be asked of a batch."""

from pathlib import Path
from typing import Any

import pytest

from fusionnode.batch.request import RESULTS, BatchRequest, Existing, choose_pipelines
from fusionnode.errors import ListInvalid, ModelUnknown, PipelineInvalid, SettingsInvalid
from fusionnode.retrieval.wishes import Wish, read_range
from fusionnode.settings import Settings
from fusionnode.wiring import load_pipelines

OUT = Path("out")
INSTALLED = load_pipelines(Settings(), None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"archive": "a"},
        {"archive": "a", "modalities": ("PT",)},
        {"archive": "a", "folders": (OUT,), "dates": "20240301"},
        {"folders": (OUT,), "dates": "20240301"},
        {"archive": "a", "dates": "20240301", "modalities": ("CT",)},
        {"archive": "a", "dates": "20240301", "into_node": True, "network": "laplacian"},
        {"archive": "a", "dates": "20240301", "into_node": True, "existing": Existing.ADD},
    ],
)
def test_what_does_not_go_together_is_told_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsInvalid):
        BatchRequest(OUT, **wrong).check()


@pytest.mark.parametrize("right", [{"archive": "a", "dates": "20240301"}, {"folders": (OUT,)}])
def test_what_goes_together_is_taken(right: dict[str, Any]) -> None:
    BatchRequest(OUT, **right).check()


def test_without_a_list_there_is_one_wish() -> None:
    request = BatchRequest(OUT, archive="a", dates="20240301", modalities=("PT",))
    assert request.read_wishes() == (Wish(dates=read_range("20240301"), modalities=("PT",)),)


def test_a_list_that_is_missing_or_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    with pytest.raises(ListInvalid):
        BatchRequest(OUT, archive="a", patients=path).read_wishes()
    path.write_bytes("PatientID\nMüller\n".encode("latin-1"))
    with pytest.raises(ListInvalid) as caught:
        BatchRequest(OUT, archive="a", patients=path).read_wishes()
    assert "ller" not in str(caught.value)


def test_another_list_makes_another_batch_and_other_workers_do_not(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("PatientID\nMEIER\n")
    one = BatchRequest(OUT, archive="a", patients=path)
    described = one.describe()
    assert "MEIER" not in str(described)
    assert BatchRequest(OUT, archive="a", patients=path, workers=4).describe() == described
    path.write_text("PatientID\nMEIER\nMUELLER\n")
    assert one.describe() != described


def test_another_network_makes_another_edition_and_so_other_uids() -> None:
    chosen = choose_pipelines(BatchRequest(OUT, network="laplacian"), INSTALLED)
    assert set(chosen) == set(INSTALLED)
    for name, pipeline in chosen.items():
        assert pipeline.fusion.model == "laplacian"
        assert pipeline.edition != INSTALLED[name].edition
        assert pipeline.identifier == INSTALLED[name].identifier
        assert pipeline.destinations == (RESULTS,)
    own = INSTALLED["mr-pt"].fusion.model
    assert choose_pipelines(BatchRequest(OUT, network=own), INSTALLED)["mr-pt"].edition == INSTALLED["mr-pt"].edition


def test_one_pipeline_and_its_destinations_are_chosen_by_name() -> None:
    [chosen] = choose_pipelines(BatchRequest(OUT, pipeline="mr-pt", destinations=("a", "b")), INSTALLED).values()
    assert (chosen.name, chosen.destinations) == ("mr-pt", ("a", "b"))


def test_unknown_names_are_told() -> None:
    with pytest.raises(PipelineInvalid, match="mr-pt"):
        choose_pipelines(BatchRequest(OUT, pipeline="mr-ct"), INSTALLED)
    with pytest.raises(ModelUnknown):
        choose_pipelines(BatchRequest(OUT, network="nope"), INSTALLED)
