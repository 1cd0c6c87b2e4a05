"""The folder that stands for a destination."""

import os
from pathlib import Path

import pydicom
import pytest

from fusionnode.batch.results import ResultFolder
from fusionnode.errors import DestinationUnreachable, SpoolFileMissing
from fusionnode.flow.ports import Delivery, Sender
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series

DATASETS = make_mr_series(Layout(slices=3))


def _owe(spool: Path) -> list[Delivery]:
    paths = write_series(spool / "outbox" / "job", DATASETS)
    return [
        Delivery("job", "results", ds.SOPClassUID, ds.SOPInstanceUID, str(path.relative_to(spool)))
        for ds, path in zip(DATASETS, paths, strict=True)
    ]


def test_each_instance_lies_under_its_study_and_series(tmp_path: Path) -> None:
    sender: Sender = ResultFolder(tmp_path / "spool", tmp_path / "out")
    deliveries = _owe(tmp_path / "spool")
    for _ in range(2):
        assert [outcome.stored for outcome in sender.send("results", deliveries)] == [True] * 3
    ds = DATASETS[0]
    folder = tmp_path / "out" / ds.StudyInstanceUID / ds.SeriesInstanceUID
    assert {pydicom.dcmread(path).SOPInstanceUID for path in folder.iterdir()} == {ds.SOPInstanceUID for ds in DATASETS}
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
    assert not sender.offers_commitment("results")
    assert sender.echo("results")


def test_what_is_told_as_stored_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink()))
    outcomes = ResultFolder(tmp_path / "spool", tmp_path / "out").send("results", _owe(tmp_path / "spool"))
    next(outcomes)
    series = tmp_path / "out" / DATASETS[0].StudyInstanceUID / DATASETS[0].SeriesInstanceUID
    assert {tmp_path, *series.parents[:2], series} <= set(synced), "every new name lies in a folder that was synced"
    assert synced[-1] == series
    assert synced[-2].parent == series, "the content before its name"


def test_what_is_gone_from_the_outbox_is_named(tmp_path: Path) -> None:
    deliveries = _owe(tmp_path)
    (tmp_path / deliveries[1].path).unlink()
    outcomes = ResultFolder(tmp_path, tmp_path / "out").send("results", deliveries)
    assert next(outcomes).stored
    with pytest.raises(SpoolFileMissing):
        next(outcomes)


def test_a_folder_that_cannot_be_written_to_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(DestinationUnreachable):
        list(ResultFolder(tmp_path, tmp_path / "out").send("results", _owe(tmp_path)))
    with pytest.raises(DestinationUnreachable):
        ResultFolder(tmp_path, tmp_path / "out").request_commitment("results", "1.2", [])
