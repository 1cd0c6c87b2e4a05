"""What real viewers in a real browser show of a fused series, pixel by pixel. ``make screenshots`` runs these."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from fusionnode.demo.pacs import OrthancPacs
from tests.support.tools import forgo
from tests.viewers.browser import Browser, running_browser
from tests.viewers.objects import DEFAULT, HEAD, Shown, make_objects, store
from tests.viewers.ohif import FOLDER as OHIF_FOLDER
from tests.viewers.ohif import Ohif, serving_ohif
from tests.viewers.orthanc import WebViewer, fetch_preview, find_id, running_viewer
from tests.viewers.screenshots import REMEDY, list_missing

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.viewers, pytest.mark.timeout(1800)]

FUSED, FRAMES = f"{DEFAULT}-fused", "frames-fused"


@pytest.fixture(scope="module", autouse=True)
def _viewers_are_installed() -> None:
    if missing := list_missing():
        forgo(f"not installed: {', '.join(missing)}; {REMEDY}")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    return make_objects(tmp_path_factory.mktemp("objects"), (DEFAULT, "frames"))


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, shown: dict[str, Shown]) -> Iterator[OrthancPacs]:
    with running_viewer(tmp_path_factory.mktemp("orthanc")) as pacs:
        store((shown[name] for name in ("mr", FUSED, FRAMES)), pacs)
        yield pacs


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def fused(shown: dict[str, Shown]) -> NDArray[np.uint8]:
    """The fused series as it was written, [slice, row, column, 3]."""
    return np.stack([dcmread(path).pixel_array for path in shown[FUSED].paths])


def first_middle_last(pictures: int) -> tuple[int, int, int]:
    return 0, pictures // 2, pictures - 1


def share_of_equals(found: NDArray[np.uint8], expected: NDArray[np.uint8], tolerance: int) -> float:
    """Share of the pixels no channel of which differs by more than ``tolerance``."""
    return float((np.abs(found.astype(int) - expected.astype(int)).max(axis=-1) <= tolerance).mean())


def grey(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luminance (ITU-R BT.601), which JPEG keeps at full resolution, as one channel."""
    luminance: NDArray[np.uint8] = np.rint(rgb @ (0.299, 0.587, 0.114)).astype(np.uint8)[..., None]
    return luminance


@pytest.mark.parametrize("name", [FUSED, FRAMES])
def test_the_web_viewer_shows_every_pixel_in_its_place_and_colour(
    name: str, browser: Browser, pacs: OrthancPacs, shown: dict[str, Shown], fused: NDArray[np.uint8]
) -> None:
    viewer = WebViewer(browser, pacs, shown[name].uid)
    assert viewer.length == len(fused)
    viewer.choose_quality("lossless")
    for index in range(1, len(fused)):  # the first was shown before the quality was chosen
        viewer.show(index)
        np.testing.assert_array_equal(viewer.read_pixels(*fused.shape[1:3]), fused[index])


def test_as_it_opens_the_web_viewer_shows_this_slice_and_none_of_its_neighbours_or_mirror_images(
    browser: Browser, pacs: OrthancPacs, shown: dict[str, Shown], fused: NDArray[np.uint8]
) -> None:
    viewer = WebViewer(browser, pacs, shown[FUSED].uid)
    middle = len(fused) // 2
    viewer.show(middle)
    found = grey(viewer.read_pixels(*fused.shape[1:3]))
    assert share_of_equals(found, grey(fused[middle]), 12) > 0.99
    expected = fused[middle]
    others = {
        "left and right": expected[:, ::-1],
        "front and back": expected[::-1],
        "rotated": expected[::-1, ::-1],
        "slice below": fused[middle - 1],
        "slice above": fused[middle + 1],
        "other end": fused[::-1][middle - 2],
        "red and blue": expected[..., ::-1],
    }
    assert {
        name: share for name, other in others.items() if (share := share_of_equals(found, grey(other), 12)) > 0.8
    } == {}


def test_mri_and_fused_series_are_in_step_and_say_who_and_what_they_are(
    browser: Browser, pacs: OrthancPacs, shown: dict[str, Shown]
) -> None:
    places = []
    for name in ("mr", FUSED):
        viewer = WebViewer(browser, pacs, shown[name].uid)
        seen = []
        for index in range(viewer.length):
            viewer.show(index)
            tags = json.loads(pacs.request(f"/instances/{viewer.find_instance()}/simplified-tags"))
            seen.append(tags["ImagePositionPatient"])
        places.append(seen)
        words = browser.read_text("#topright").splitlines()
        head = shown[name].instances[0]
        assert words[:2] == [head.PatientID, str(head.PatientName)]
        assert words[3] == head.SeriesDescription
    assert [[float(one) for one in place.split("\\")] for place in places[0]] == [
        [float(one) for one in place.split("\\")] for place in places[1]
    ]


def test_the_hot_nodule_in_the_patients_right_hemisphere_stands_on_the_left_of_the_screen(
    browser: Browser, pacs: OrthancPacs, shown: dict[str, Shown]
) -> None:
    manifest = tomllib.loads((HEAD.parent / "MANIFEST.toml").read_text(encoding="utf-8"))
    left_mm, back_mm, up_mm = manifest["landmarks"]["hot_nodule_mm"]
    slices = shown[FUSED].instances
    index = int(np.argmin([abs(float(ds.ImagePositionPatient[2]) - up_mm) for ds in slices]))
    viewer = WebViewer(browser, pacs, shown[FUSED].uid)
    viewer.show(index)
    picture = viewer.read_pixels(slices[0].Rows, slices[0].Columns)
    row, column = locate(slices[index], left_mm, back_mm)
    mirrored = locate(slices[index], -left_mm, back_mm)[1]
    assert column < slices[0].Columns / 2 < mirrored
    # The hotter, the whiter: in the nodule all of green and blue come back, in the cortex beside it little of them.
    nodule, cortex = mean_around(picture, row, column), mean_around(picture, row, mirrored)
    assert nodule[1] > cortex[1] + 40
    assert nodule[2] > cortex[2] + 40


def locate(ds: Dataset, left_mm: float, back_mm: float) -> tuple[int, int]:
    """Row and column of a place in an axial slice."""
    down, across = (float(value) for value in ds.PixelSpacing)
    return round((back_mm - float(ds.ImagePositionPatient[1])) / down), round(
        (left_mm - float(ds.ImagePositionPatient[0])) / across
    )


def mean_around(picture: NDArray[np.uint8], row: int, column: int) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = picture[row - 2 : row + 3, column - 2 : column + 3].mean(axis=(0, 1))
    return mean


def test_explorers_previews_are_the_pictures(
    pacs: OrthancPacs, shown: dict[str, Shown], fused: NDArray[np.uint8]
) -> None:
    ids = [find_id(pacs, "Instance", ds.SOPInstanceUID) for name in (FUSED, FRAMES) for ds in shown[name].instances]
    single, frames = ids[:-1], ids[-1]
    for index, instance in enumerate(single):
        np.testing.assert_array_equal(fetch_preview(pacs, instance), fused[index])
        np.testing.assert_array_equal(fetch_preview(pacs, frames, index), fused[index])


def test_ohif_shows_each_pixel_where_it_lies_in_the_patient_in_step_with_the_mri(
    tmp_path: Path, pacs: OrthancPacs, shown: dict[str, Shown], fused: NDArray[np.uint8]
) -> None:
    if not (OHIF_FOLDER / "index.html").exists():
        forgo("OHIF is not there; `make screenshots` fetches it with npm")
    with serving_ohif(f"http://127.0.0.1:{pacs.http_port}") as address:
        orders = {}
        for name in ("mr", FUSED):
            # OHIF does not always come up again in a browser that it ran in before.
            with running_browser(tmp_path / name) as browser:
                viewer = Ohif(browser, address, shown[name].study_uid, shown[name].uid)
                orders[name] = list_places(viewer, shown[name])
                if name == FUSED:
                    compare_pixels(viewer, shown[FUSED], fused)
        np.testing.assert_allclose(orders["mr"], orders[FUSED], atol=0.01)


def compare_pixels(viewer: Ohif, one: Shown, pictures: NDArray[np.uint8]) -> None:
    addresses = viewer.list_pictures()
    for index in first_middle_last(len(pictures)):
        ds = one.instances[index]
        viewer.show(next(place for place, each in enumerate(addresses) if f"/{ds.SOPInstanceUID}/" in each))
        # Its letters and buttons stand over two in a hundred pixels.
        assert share_of_equals(viewer.read_pixels(ds), pictures[index], 2) > 0.97


def list_places(viewer: Ohif, one: Shown) -> NDArray[np.float64]:
    """Position of each slice, LPS mm, in the order in which the viewer scrolls."""
    places = {str(ds.SOPInstanceUID): ds.ImagePositionPatient for ds in one.instances}
    uids = [Path(picture.partition("/frames/")[0]).name for picture in viewer.list_pictures()]
    return np.asarray([places[uid] for uid in uids], np.float64)
