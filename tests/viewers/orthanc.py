"""Orthanc's own two viewers: its Web viewer plug-in and its Explorer."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fusionnode.demo.pacs import OrthancPacs
from tests.support.pacs import DICOMWEB_PLUGIN, running_orthanc
from tests.viewers.browser import Browser

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancWebViewer.so")
GDCM_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancGdcm.so")
QUALITIES = {"low": "L", "medium": "M", "lossless": "H"}
_COMPRESSIONS = {"low": "jpeg80", "medium": "jpeg95", "lossless": "deflate"}
_CANVAS = "const [e] = cornerstone.getEnabledElements(); "


@contextmanager
def running_viewer(folder: Path, *, gdcm: bool = False) -> Iterator[OrthancPacs]:
    """Run Orthanc with its Web viewer and DICOMweb, and on demand with its plug-in that decodes through GDCM."""
    plugins = [DICOMWEB_PLUGIN, PLUGIN, *([GDCM_PLUGIN] if gdcm else [])]
    extra = {"Plugins": [str(one) for one in plugins], "WebViewer": {"CachePath": str(folder / "cache")}}
    with running_orthanc(folder, extra) as pacs:
        yield pacs


def find_id(pacs: OrthancPacs, level: str, uid: str) -> str:
    """Return Orthanc's own id of a study, series or instance (``level`` "Study", "Series", "Instance") by its UID."""
    query = {"Level": level, "Query": {"SOPInstanceUID" if level == "Instance" else f"{level}InstanceUID": uid}}
    (found,) = json.loads(pacs.request("/tools/find", json.dumps(query).encode()))
    return str(found)


class WebViewer:
    """The Web viewer with one series open, in the state in which it opens: JPEG of 95 %, fitted to the window."""

    def __init__(self, browser: Browser, pacs: OrthancPacs, series_uid: str) -> None:
        self._browser = browser
        series = find_id(pacs, "Series", series_uid)
        browser.open(f"http://127.0.0.1:{pacs.http_port}/web-viewer/app/viewer.html?series={series}")
        self.message = browser.take_alert()

    @property
    def length(self) -> int:
        """Number of pictures it scrolls through; 0 where it shows none."""
        script = "const s = $('#slider'); return s.hasClass('ui-slider') ? 1 + s.slider('option', 'max') : 0"
        return int(self._browser.run(script))

    def show(self, index: int) -> None:
        """Scroll to a picture, counted from 0, as somebody does who drags the slider."""
        self._browser.run(
            "const s = $('#slider'); s.slider('value', arguments[0]);"
            "s.slider('option', 'slide').call(s[0], null, {value: arguments[0]})",
            index,
        )

    def choose_quality(self, quality: str) -> None:
        """Press one of the three buttons of its tool bar; holds for pictures that it has not shown before."""
        # Its own handler stumbles after it has done its work, as any script that pressed the button would hear.
        self._browser.run(
            "const wanted = arguments[0]; setTimeout(() => $('.jsPanel .toolbar-quality button')"
            ".filter((_, one) => $(one).text().trim() === wanted).click())",
            QUALITIES[quality],
        )
        self._browser.await_value("return compression === arguments[0]", _COMPRESSIONS[quality])

    def read_pixels(self, rows: int, columns: int) -> NDArray[np.uint8]:
        """Return the picture as it stands on the screen, RGB [row, column, 3], one value per pixel of the image.

        Every pixel of the image is first made a square of whole pixels of the screen, without interpolation.
        """
        place = self._browser.run(
            _CANVAS + "const r = e.canvas.getBoundingClientRect(), v = cornerstone.getViewport(e.element);"
            "v.scale = Math.floor(Math.min(r.height / arguments[0], r.width / arguments[1]));"
            "v.translation = {x: 0, y: 0}; v.pixelReplication = true; cornerstone.setViewport(e.element, v);"
            "return [r.top + r.height / 2, r.left + r.width / 2, v.scale]",
            rows,
            columns,
        )
        middle_row, middle_column, scale = place
        down = middle_row + (np.arange(rows) + 0.5 - rows / 2) * scale
        across = middle_column + (np.arange(columns) + 0.5 - columns / 2) * scale
        return self._browser.photograph()[np.ix_(down.astype(int), across.astype(int))]

    def find_instance(self) -> str:
        """Return Orthanc's own id of the instance on the screen."""
        return str(self._browser.run(_CANVAS + "return e.image.imageId")).partition("_")[0]


def open_explorer(browser: Browser, pacs: OrthancPacs, level: str, uid: str) -> None:
    """Open Orthanc Explorer's page of a study, series or instance."""
    page = f"{level.lower()}?uuid={find_id(pacs, level, uid)}"
    browser.open(f"http://127.0.0.1:{pacs.http_port}/app/explorer.html#{page}")
    browser.await_value("return document.querySelectorAll('.ui-page-active li').length > 3")
    browser.await_stillness()


def fetch_preview(pacs: OrthancPacs, instance: str, frame: int = 0) -> NDArray[np.uint8]:
    """Return the preview of an instance, by Orthanc's id, that Explorer shows of a frame, RGB [row, column, 3]."""
    picture = pacs.request(f"/instances/{instance}/frames/{frame}/preview")
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
