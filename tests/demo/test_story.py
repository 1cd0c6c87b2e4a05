"""The demo from end to end, without Orthanc; with Orthanc it is what `make demo` runs."""

import io
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from fusionnode.demo.pacs import StoragePacs
from fusionnode.demo.story import tell_story
from fusionnode.errors import OutputOccupied
from tests.support.running import write_quick_pipelines


# CI runs the demo itself.
@pytest.mark.slow
def test_tell_story_leaves_the_fused_series_and_their_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionnode.demo.story.start_pacs", StoragePacs)
    monkeypatch.setenv("FUSIONNODE_PIPELINES", str(write_quick_pipelines(tmp_path)))
    text = io.StringIO()
    out = tmp_path / "out"
    tell_story(out, Console(file=text, width=400))
    assert "storage SCP" in text.getvalue()
    for name in ("mr-pt", "mr-nm"):
        assert len(list((out / "fused" / name).iterdir())) == 45
        with Image.open(out / f"{name}.png") as picture:
            assert picture.size[0] > 900
        assert str(out / f"{name}.png") in text.getvalue()


def test_tell_story_never_clears_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputOccupied):
        tell_story(tmp_path, Console(file=io.StringIO()))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
