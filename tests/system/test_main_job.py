"""The main job beside real peers: DCMTK sends, `fusionnode serve` works, Orthanc receives."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from fusionnode.capture.identity import FusedIdentity
from fusionnode.demo.pacs import OrthancPacs
from tests.support.running import (
    await_value,
    free_port,
    list_jobs,
    serving,
    storescu,
    write_quick_pipelines,
    write_site,
)
from tests.support.stored import assert_same_geometry, head_grid_mm, mean_error_mm, moving_from_fixed
from tests.support.tools import require_tool, validate_object

SAMPLES = Path(__file__).resolve().parents[2] / "dicom_samples" / "head"


@dataclass(frozen=True)
class Case:
    """One pair of folders below the real data."""

    name: str
    fixed: str
    moving: str
    shared_frame: bool = False


CASES = (
    Case("pet_axial", "aanlib/pet_axial/mr", "aanlib/pet_axial/pt"),
    Case("spect_a", "aanlib/spect_a/mr", "aanlib/spect_a/nm"),
    Case("STS_003", "sts_pet_mr/STS_003/MR_T1", "sts_pet_mr/STS_003/PET", shared_frame=True),
    Case("pet_hybrid", "aanlib/pet_hybrid/mr", "aanlib/pet_hybrid/pt", shared_frame=True),
    Case("STS_001", "sts_pet_mr/STS_001/MR_T1", "sts_pet_mr/STS_001/PET", shared_frame=True),
    Case("STS_004", "sts_pet_mr/STS_004/MR_T1", "sts_pet_mr/STS_004/PET", shared_frame=True),
)


@dataclass(frozen=True)
class Arrived:
    """What Orthanc holds of one job."""

    fused: list[Dataset]
    registration: list[Dataset]


def _run_node(folder: Path, orthanc: OrthancPacs, folders: list[Path], expected: int, extra: str = "") -> list[Arrived]:
    """Send everything at once and wait until ``expected`` jobs are stored; return them in order of their ids.

    ``extra`` are lines of the node's site file.
    """
    require_tool("storescu")
    port = free_port()
    site = write_site(folder, port, {"pacs": (orthanc.ae_title, orthanc.port)}, extra)
    with serving(site, port, folder / "serve.log"):
        senders = storescu(port, *folders)
        assert [process.returncode for process in senders] == [0] * len(folders)

        def stored() -> bool:
            jobs = list_jobs(site)
            assert not [job for job in jobs if job["state"] in {"refused", "failed"}], jobs
            return len(jobs) >= expected and all(job["state"] == "stored" for job in jobs)

        await_value(stored, seconds=270, pause=1)
        jobs = sorted(list_jobs(site), key=lambda job: job["id"])
    assert len(jobs) == expected
    return [
        Arrived(
            orthanc.fetch_series(FusedIdentity(job["id"]).series_uid),
            orthanc.fetch_series(FusedIdentity(job["id"]).registration_series_uid),
        )
        for job in jobs
    ]


def _series_uid(folder: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True).FrameOfReferenceUID)


def _check(arrived: Arrived, fixed: Path, shared_frame: bool, scratch: Path) -> None:
    slices = len(list(fixed.iterdir()))
    assert sorted(int(ds.InstanceNumber) for ds in arrived.fused) == list(range(1, slices + 1))
    assert len(arrived.registration) == (0 if shared_frame else 1)
    assert_same_geometry(arrived.fused, fixed, scratch)
    assert any(np.ptp(ds.pixel_array.astype(int), axis=-1).max() > 60 for ds in arrived.fused), "there is no colour"
    for ds in [arrived.fused[0], arrived.fused[-1], *arrived.registration]:
        assert not [line for line in validate_object(ds, scratch) if line.startswith("Error")]


@pytest.mark.system
@pytest.mark.timeout(300)
def test_samples_sent_by_three_scanners_come_back_fused(orthanc: OrthancPacs, tmp_path: Path) -> None:
    arrived = _run_node(tmp_path, orthanc, [SAMPLES / one for one in ("mr", "nm", "pt")], expected=2)
    for index, one in enumerate(arrived):
        _check(one, SAMPLES / "mr", shared_frame=False, scratch=tmp_path / str(index))


@pytest.mark.system
@pytest.mark.real_data
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cases", [CASES[:1], pytest.param(CASES, marks=pytest.mark.slow)], ids=["one", "all"])
def test_real_series_sent_interleaved_come_back_fused(
    orthanc: OrthancPacs, tmp_path: Path, real_data: Path, cases: tuple[Case, ...]
) -> None:
    folders = [real_data / folder for case in cases for folder in (case.moving, case.fixed)]
    # The samples above are fused by the default network; here it is the way that counts.
    quick = f'pipelines = "{write_quick_pipelines(tmp_path)}"'
    arrived = _run_node(tmp_path, orthanc, folders, len(cases), quick)
    by_frame = {str(one.fused[0].FrameOfReferenceUID): one for one in arrived}
    truth = json.loads((real_data / "aanlib" / "truth.json").read_text())
    for case in cases:
        fixed = real_data / case.fixed
        one = by_frame[_series_uid(fixed)]
        _check(one, fixed, case.shared_frame, tmp_path / case.name)
        if one.registration:
            found = moving_from_fixed(one.registration[0])
            expected = np.asarray(truth[case.name]["moving_from_fixed_lps_mm"])
            assert mean_error_mm(found, expected, head_grid_mm(fixed)) < 5.0
