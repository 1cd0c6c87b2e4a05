"""Every kind of output at once: looked at as files, and as a PACS has stored them."""

import logging
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGLSLossless, RLELossless
from scipy.ndimage import map_coordinates

from fusionnode.capture.identity import FusedIdentity
from fusionnode.demo.pacs import OrthancPacs
from fusionnode.domain.images import Window
from fusionnode.domain.terms import Unit
from fusionnode.flow.fuse_pair import capture_fused
from fusionnode.logs import StepClock
from fusionnode.pipeline.parse import parse_pipeline
from fusionnode.pipeline.schema import Compression, OutputGrid, Sheet
from fusionnode.worker.files import FilesRequest, fuse_folders
from tests.support.captures import (
    Scene,
    make_request,
    make_scene,
    make_scene_with,
    reformat,
    with_output,
    with_uptake,
)
from tests.support.enhanced import make_enhanced_pet
from tests.support.running import (
    await_value,
    free_port,
    list_jobs,
    serving,
    storescu,
    write_quick_pipelines,
    write_site,
)
from tests.support.stored import assert_same_geometry
from tests.support.tools import require_tool, validate_object

SAMPLES = Path(__file__).resolve().parents[2] / "dicom_samples" / "head"
MANY = "compression: jpegls, colour_bar: true, resampled: true, sheet: pdf, blending: true"
ONE = "compression: rle, grid: isotropic, multiframe: true, resampled: true, sheet: image, blending: true"


def write_pipelines(folder: Path) -> Path:
    """PET with every option that makes many objects, SPECT with every option that makes one of them."""
    own = write_quick_pipelines(folder)
    for name, options in (("mr-pt", MANY), ("mr-nm", ONE)):
        path = own / f"{name}.yaml"
        lines = "".join(f"\n  {option}" for option in options.split(", "))
        text, found = re.subn(r"(?m)^output:$", f"output:{lines}", path.read_text(encoding="utf-8"))
        assert found == 1
        path.write_text(text, encoding="utf-8")
    return own


def read_grid(ordered: list[Dataset]) -> NDArray[np.float64]:
    """LPS mm from (slice, row, column, 1), by the book; for slices sorted along their normal."""
    first, last = ordered[0], ordered[-1]
    across, down = np.asarray(first.ImageOrientationPatient, float).reshape(2, 3)
    place, end = (np.asarray(ds.ImagePositionPatient, float) for ds in (first, last))
    matrix = np.eye(4)
    matrix[:3, 0] = (end - place) / (len(ordered) - 1)
    matrix[:3, 1], matrix[:3, 2] = down * float(first.PixelSpacing[0]), across * float(first.PixelSpacing[1])
    matrix[:3, 3] = place
    return matrix


def read_folder(folder: Path) -> list[Dataset]:
    return sorted((dcmread(path) for path in folder.glob("*.dcm")), key=lambda ds: float(ds.ImagePositionPatient[2]))


def read_voxels(ordered: list[Dataset]) -> NDArray[np.float64]:
    return np.stack([ds.pixel_array * float(ds.get("RescaleSlope", 1)) for ds in ordered])


def test_the_matrix_of_the_registration_object_alone_carries_the_pet_onto_the_mri(tmp_path: Path) -> None:
    pipelines = write_pipelines(tmp_path)
    pipeline = parse_pipeline((pipelines / "mr-pt.yaml").read_text(encoding="utf-8"), "mr-pt.yaml")
    out = tmp_path / "out"
    request = FilesRequest(SAMPLES / "mr", SAMPLES / "pt", out)
    report = fuse_folders(request, [pipeline], datetime(2026, 1, 2, tzinfo=UTC))
    assert {"registration.dcm", "sheet.dcm", "blending.dcm", "resampled/0001.dcm"} <= set(report["files"])
    pet, mri, resampled = (read_folder(folder) for folder in (SAMPLES / "pt", SAMPLES / "mr", out / "resampled"))
    moving = next(
        item.MatrixRegistrationSequence[0].MatrixSequence[0]
        for item in dcmread(out / "registration.dcm").RegistrationSequence
        if item.FrameOfReferenceUID == pet[0].FrameOfReferenceUID
    )
    mri_from_pet = np.asarray(moving.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)
    # Against how the samples were made: a place in the MRI, where the PET has it, and back by the object alone.
    truth = tomllib.loads((SAMPLES.parent / "MANIFEST.toml").read_text(encoding="utf-8"))
    pet_from_mri = np.asarray(truth["truth"]["pet"]["moving_from_fixed"])
    for place_mm in truth["landmarks"].values():
        place = np.append(place_mm, 1.0)
        assert np.linalg.norm((mri_from_pet @ pet_from_mri @ place - place)[:3]) < 1.0
    index_from_index = np.linalg.inv(mri_from_pet @ read_grid(pet)) @ read_grid(mri)
    shape = (len(mri), mri[0].Rows, mri[0].Columns)
    places = np.indices(shape).reshape(3, -1)
    wanted = index_from_index[:3, :3] @ places + index_from_index[:3, 3:]
    voxels = read_voxels(pet)
    expected = map_coordinates(voxels, wanted, order=1, mode="constant", cval=np.nan).reshape(shape)
    inside = np.isfinite(expected)
    assert inside.mean() > 0.5
    # Stored values are rounded; both programs interpolate linearly.
    np.testing.assert_allclose(read_voxels(resampled)[inside], expected[inside], atol=voxels.max() * 1e-4)
    assert resampled[0].Units == pet[0].Units


@dataclass(frozen=True)
class Stored:
    """What Orthanc holds of one job, a series each."""

    fused: list[Dataset]
    registration: list[Dataset]
    resampled: list[Dataset]
    sheet: list[Dataset]
    blending: list[Dataset]

    def list_first(self) -> list[Dataset]:
        return [series[0] for series in (self.fused, self.registration, self.resampled, self.sheet, self.blending)]


def fetch(orthanc: OrthancPacs, job_id: str) -> Stored:
    identity = FusedIdentity(job_id)
    uids = (
        identity.series_uid,
        identity.registration_series_uid,
        identity.resampled_series_uid,
        identity.sheet_series_uid,
        identity.blending_series_uid,
    )
    return Stored(*(orthanc.fetch_series(uid) for uid in uids))


@pytest.mark.system
def test_every_kind_of_object_reaches_the_pacs_and_is_read_there(orthanc: OrthancPacs, tmp_path: Path) -> None:
    require_tool("storescu")
    port = free_port()
    destinations = {"pacs": (orthanc.ae_title, orthanc.port)}
    site = write_site(tmp_path, port, destinations, f'pipelines = "{write_pipelines(tmp_path)}"')
    with serving(site, port, tmp_path / "serve.log"):
        assert [one.returncode for one in storescu(port, *(SAMPLES / one for one in ("mr", "nm", "pt")))] == [0, 0, 0]

        def finished() -> list[dict[str, str]]:
            jobs = list_jobs(site)
            assert not [job for job in jobs if job["state"] in {"refused", "failed"}], jobs
            return jobs if len(jobs) == 2 and all(job["state"] == "stored" for job in jobs) else []

        jobs = await_value(finished, seconds=200, pause=1)
    many, one = (fetch(orthanc, job["id"]) for job in sorted(jobs, key=lambda job: job["pipeline"], reverse=True))
    slices = len(list((SAMPLES / "mr").iterdir()))
    assert [len(series) for series in vars(many).values()] == [slices, 1, slices, 1, 1]
    assert [len(series) for series in vars(one).values()] == [1, 1, 1, 1, 1]
    assert many.fused[0].file_meta.TransferSyntaxUID == many.resampled[0].file_meta.TransferSyntaxUID == JPEGLSLossless
    assert {ds.file_meta.TransferSyntaxUID for ds in (one.fused[0], one.resampled[0], one.sheet[0])} == {RLELossless}
    assert one.fused[0].NumberOfFrames > slices
    for index, series in enumerate((many.fused, many.resampled)):
        assert_same_geometry(series, SAMPLES / "mr", tmp_path / f"series{index}")
    for ds in (*many.list_first(), *one.list_first()):
        assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []


def make_philips() -> Scene:
    scene = make_scene_with("moving", Units="CNTS")
    for ds in scene.moving:
        ds.add_new((0x7053, 0x0010), "LO", "Philips PET Private Group")
        ds.add_new((0x7053, 0x1000), "DS", "0.000237")
    return scene


def make_apart() -> Scene:
    """By the clocks of two time zones, and without a body part."""
    scene = make_scene()
    for headers, offset in ((scene.fixed, "+0200"), (scene.moving, "+0100")):
        for ds in headers:
            ds.TimezoneOffsetFromUTC = offset
    return scene


def make_enhanced() -> Scene:
    scene = make_scene(shared=True)
    return replace(scene, moving=[make_enhanced_pet(scene.moving)])


SCENES: dict[str, Callable[[], Scene]] = {
    "PET": make_scene,
    "SPECT": lambda: make_scene("NM"),
    "shared frame": lambda: make_scene(shared=True),
    "enhanced PET": make_enhanced,
    "Philips": make_philips,
    "time zones": make_apart,
}
OPTIONS: dict[str, dict[str, object]] = {
    "plain": {"sheet": Sheet.PDF},
    "multi-frame": {"multiframe": True, "sheet": Sheet.IMAGE, "compression": Compression.RLE, "opacity": 0.3},
    "JPEG-LS": {"colour_bar": True, "compression": Compression.JPEGLS},
    "JPEG 2000": {"multiframe": True, "colour_bar": True, "compression": Compression.JPEG2000},
    "isotropic": {"grid": OutputGrid.ISOTROPIC},
}


def make_everything(scene: Scene, options: dict[str, object]) -> list[Dataset]:
    request = make_request(scene, page=np.full((40, 36, 3), 200, np.uint8))
    if request.prepared.moving_frame_of_reference_uid == request.prepared.frame_of_reference_uid:
        # As where nobody vouches for the frame that both name: registered all the same.
        request = replace(request, prepared=replace(request.prepared, moving_frame_of_reference_uid=""))
    if options.get("grid") is OutputGrid.ISOTROPIC:
        request = reformat(request)
    request = with_uptake(request)
    units = Unit.CNTS if scene.moving[0].get("Units") == "CNTS" or scene.moving[0].Modality == "NM" else Unit.SUVBW
    prepared = replace(request.prepared, moving_window=Window(0.0, 8.25, units))
    options = {"resampled": True, "blending": True, "sheet": Sheet.PDF, **options}
    return capture_fused(with_output(replace(request, prepared=prepared), **options), StepClock(logging.getLogger()))


@pytest.mark.system
@pytest.mark.parametrize(
    ("scene", "options"),
    [*((scene, "plain") for scene in SCENES), *((scene, one) for scene in ("PET", "SPECT") for one in [*OPTIONS][1:])],
)
def test_a_validator_finds_no_error_whatever_is_asked_for_and_warns_of_nothing_unexplained(
    scene: str, options: str, tmp_path: Path
) -> None:
    page = (SAMPLES.parents[1] / "docs" / "reference" / "fused-series.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`(\w+)`", page.split("## What a validator warns of")[1]))
    kinds = {}
    for ds in make_everything(SCENES[scene](), OPTIONS[options]):
        kinds[ds.SOPClassUID, ds.Modality] = ds
    assert len(kinds) == 5
    for ds in kinds.values():
        spoken = validate_object(ds, tmp_path)
        assert [line for line in spoken if line.startswith("Error")] == []
        for line in spoken:
            path = re.findall(r"(\w+)\([0-9a-f]{4},[0-9a-f]{4}\)", line) if line.startswith("Warning") else []
            assert not path or explained & set(path), line
