"""The committed samples are what the script makes, and their stated motion is the motion they show."""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from scipy import ndimage

from dicom_samples.make_samples import make_samples
from fusionnode.domain.motion import RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import Volume
from fusionnode.volumes.assemble import assemble_volume

SAMPLES = Path(__file__).resolve().parents[2] / "dicom_samples"
MANIFEST = tomllib.loads((SAMPLES / "MANIFEST.toml").read_text())
SERIES = {"pet": "pt", "spect": "nm"}


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(name: str) -> list[Dataset]:
    return [dcmread(path) for path in sorted((SAMPLES / "head" / name).glob("*.dcm"))]


@pytest.fixture(scope="module")
def volumes() -> dict[str, Volume]:
    return {name: assemble_volume(_read(name)) for name in ("mr", "pt", "nm")}


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return folder


def _truth(title: str) -> NDArray[np.float64]:
    return RigidMotion(np.array(MANIFEST["truth"][title]["moving_from_fixed"])).moving_from_fixed


def _sample(moving: Volume, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    index_from_patient = np.linalg.inv(moving.grid.patient_from_index)
    index = index_from_patient[:3, :3] @ points_mm + index_from_patient[:3, 3:]
    return np.asarray(ndimage.map_coordinates(moving.voxels.astype(np.float64), index, order=1))


def _measure_agreement(fixed: Volume, moving: Volume, moving_from_fixed: NDArray[np.float64]) -> float:
    """Correlation ratio: the share of the uptake's variance that the MR's grey level explains."""
    index = np.indices(fixed.grid.shape, dtype=np.float64)[:, 4:-4, 8:-8:2, 4:-4:2].reshape(3, -1)
    points = fixed.grid.patient_from_index[:3, :3] @ index + fixed.grid.patient_from_index[:3, 3:]
    uptake = _sample(moving, moving_from_fixed[:3, :3] @ points + moving_from_fixed[:3, 3:])
    grey = fixed.voxels[tuple(index.astype(int))]
    bins = np.minimum((grey / 50).astype(int), 40)
    counts = np.bincount(bins, minlength=41)
    means = np.bincount(bins, uptake, 41) / np.maximum(counts, 1)
    return float(np.sum(counts * (means - uptake.mean()) ** 2) / np.sum((uptake - uptake.mean()) ** 2))


def _nudge(axis: int, amount: float, *, turn: bool) -> NDArray[np.float64]:
    matrix = np.eye(4)
    if not turn:
        matrix[axis, 3] = amount
        return matrix
    first, second = [other for other in range(3) if other != axis]
    cosine, sine = np.cos(np.radians(amount)), np.sin(np.radians(amount))
    matrix[[first, second], [first, second]] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def test_the_manifest_lists_every_file_and_no_other() -> None:
    found = {path.relative_to(SAMPLES).as_posix(): _hash_file(path) for path in (SAMPLES / "head").rglob("*.dcm")}
    assert MANIFEST["sha256"] == found


def test_the_samples_stay_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 5_000_000


def test_making_them_again_gives_the_same_samples(again: Path) -> None:
    """Bit for bit on the machine that made them; within one grey level where the last bit of a float differs."""
    made = tomllib.loads((again / "MANIFEST.toml").read_text())
    assert {key: made[key] for key in ("truth", "landmarks")} == {key: MANIFEST[key] for key in ("truth", "landmarks")}
    assert set(made["sha256"]) == set(MANIFEST["sha256"])
    differing = [place for place, digest in made["sha256"].items() if digest != MANIFEST["sha256"][place]]
    for place in differing:
        _assert_nearly_equal(dcmread(SAMPLES / place), dcmread(again / place))


def _assert_nearly_equal(committed: Dataset, made: Dataset) -> None:
    rounded = {"PixelData", "RescaleSlope", "CountsAccumulated"}
    assert {elem.keyword for elem in committed} == {elem.keyword for elem in made}
    for elem in committed:
        assert elem.keyword in rounded or elem.value == made[elem.tag].value
    levels = [ds.pixel_array * float(ds.get("RescaleSlope", 1)) for ds in (committed, made)]
    grey_level = float(committed.get("RescaleSlope", 1))
    assert np.mean(np.abs(levels[0] - levels[1]) > 1.01 * grey_level) <= 0.001


def test_nobody_is_named_and_nothing_came_from_a_clock() -> None:
    for name in ("mr", "pt", "nm"):
        for ds in _read(name):
            assert ds.PatientName == "FUSIONNODE^SAMPLE"
            assert ds.ContentDate in {"20250310", "20250313"}


def test_the_series_are_told_apart_but_belong_to_one_patient() -> None:
    heads = [_read(name)[0] for name in ("mr", "pt", "nm")]
    assert len({ds.FrameOfReferenceUID for ds in heads}) == 3
    assert len({ds.SeriesInstanceUID for ds in heads}) == 3
    assert len({ds.PatientID for ds in heads}) == 1
    assert heads[0].StudyInstanceUID == heads[1].StudyInstanceUID != heads[2].StudyInstanceUID


def test_they_become_volumes_with_the_units_they_claim(volumes: dict[str, Volume]) -> None:
    assert volumes["mr"].grid.shape == (45, 160, 128)
    assert volumes["pt"].unit is Unit.SUVBW
    activity_bqml = max(float(ds.pixel_array.max() * ds.RescaleSlope) for ds in _read("pt"))
    dose_left_bq = 185e6 * 2 ** (-3600 / 6586.2)
    assert volumes["pt"].voxels.max() == pytest.approx(activity_bqml * 70_000 / dose_left_bq, rel=1e-4)
    assert len({ds.RescaleSlope for ds in _read("pt")}) > 30


@pytest.mark.parametrize(("title", "tolerance_mm"), [("pet", 1.0), ("spect", 2.0)])
def test_the_hot_nodule_lies_where_the_truth_puts_it(
    volumes: dict[str, Volume], title: str, tolerance_mm: float
) -> None:
    moving = volumes[SERIES[title]]
    expected = (_truth(title) @ [*MANIFEST["landmarks"]["hot_nodule_mm"], 1.0])[:3]
    smooth = ndimage.gaussian_filter(moving.voxels, 0.7)
    peak = np.unravel_index(int(smooth.argmax()), smooth.shape)
    window = tuple(slice(place - 2, place + 3) for place in peak)
    weights = np.clip(smooth[window] - 0.6 * smooth.max(), 0, None)
    index = np.array(peak) - 2 + ndimage.center_of_mass(weights)
    found = (moving.grid.patient_from_index @ [*index, 1.0])[:3]
    assert np.linalg.norm(found - expected) < tolerance_mm


@pytest.mark.parametrize("title", ["pet", "spect"])
def test_the_cold_cortex_is_on_the_left(volumes: dict[str, Volume], title: str) -> None:
    left, back, up = MANIFEST["landmarks"]["cold_cortex_mm"]
    offsets = np.random.RandomState(0).uniform(-6, 6, (3, 400))
    sides = []
    for side in (left, -left):
        points = _truth(title) @ np.vstack([np.array([[side], [back], [up]]) + offsets, np.ones(400)])
        sides.append(_sample(volumes[SERIES[title]], points[:3]).mean())
    assert sides[0] < 0.75 * sides[1]


@pytest.mark.parametrize("title", ["pet", "spect"])
def test_no_motion_near_the_truth_fits_better(volumes: dict[str, Volume], title: str) -> None:
    fixed, moving, truth = volumes["mr"], volumes[SERIES[title]], _truth(title)
    best = _measure_agreement(fixed, moving, truth)
    for axis in range(3):
        for amount in (-3.0, 3.0):
            for turn in (False, True):
                assert _measure_agreement(fixed, moving, truth @ _nudge(axis, amount, turn=turn)) < best
    assert _measure_agreement(fixed, moving, np.eye(4)) < best
    assert _measure_agreement(fixed, moving, np.linalg.inv(truth)) < best
