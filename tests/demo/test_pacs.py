"""Both kinds of PACS of the demo take an instance and give it back."""

from pathlib import Path

import pytest

from fusionnode.demo.pacs import OrthancPacs, Pacs, StoragePacs
from tests.support.datasets import make_mr_series
from tests.support.nodes import make_settings, send_series
from tests.support.tools import require_tool


def _check(pacs: Pacs, folder: Path) -> None:
    series = make_mr_series()
    settings = make_settings(folder, ae_title=pacs.ae_title)
    try:
        assert set(send_series(settings, pacs.port, series, folder / "scratch")) == {"0000"}
        found = pacs.fetch_series(series[0].SeriesInstanceUID)
        assert pacs.fetch_series("1.2.3") == []
    finally:
        pacs.stop()
    assert {ds.SOPInstanceUID: ds.PixelData for ds in found} == {ds.SOPInstanceUID: ds.PixelData for ds in series}


def test_our_own_storage_scp_gives_back_what_it_took(tmp_path: Path) -> None:
    _check(StoragePacs(tmp_path / "pacs"), tmp_path)


@pytest.mark.system
def test_orthanc_gives_back_what_it_took(tmp_path: Path) -> None:
    _check(OrthancPacs(tmp_path / "pacs", require_tool("Orthanc")), tmp_path)
