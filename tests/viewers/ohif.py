"""The OHIF viewer as its makers publish it, in front of a PACS that speaks DICOMweb."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from tests.viewers.browser import PATIENCE_SECONDS, Browser

FOLDER = Path(__file__).resolve().parents[2] / ".venv" / "viewers" / "ohif"
"""Where `make screenshots` puts it."""

_ROOT = "/dicom-web"
_VIEWPORT = "const v = window.cornerstone.getEnabledElements()[0].viewport; "
_PASSED_ON = ("Content-Type", "Content-Length")


class _Handler(SimpleHTTPRequestHandler):
    """The viewer's files, but for `_SCRIPTS`; every other page is its own page; DICOMweb is the PACS's."""

    protocol_version = "HTTP/1.1"

    def __init__(self, pacs: str, *arguments: Any, **options: Any) -> None:
        self._pacs = pacs
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(_ROOT):
            self._pass_on()
        elif path in _SCRIPTS:
            self._answer(200, {"Content-Type": "text/javascript"}, _SCRIPTS[path].encode())
        else:
            if not Path(self.translate_path(path)).is_file():
                self.path = "/index.html"
            super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Nobody reads its log."""

    def _pass_on(self) -> None:
        request = urllib.request.Request(self._pacs + self.path, headers={"Accept": self.headers.get("Accept", "*/*")})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
                self._answer(answer.status, headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                self._answer(error.code, {}, error.read())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


_CONFIGURATION = {
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "showCPUFallbackMessage": False,
    "showWarningMessageForCrossOrigin": False,
    "strictZSpacingForVolumeViewport": True,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "PACS",
                "name": "pacs",
                "wadoUriRoot": _ROOT,
                "qidoRoot": _ROOT,
                "wadoRoot": _ROOT,
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "omitQuotationForMultipartRequest": True,
                "singlepart": "pdf,video",
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}
_SCRIPTS = {
    # The tour that greets a newcomer would stand in every picture.
    "/app-config.js": f"""localStorage.setItem("shownTours", '["basicViewerTour"]');"""
    f"window.config = {json.dumps(_CONFIGURATION)};",
}


@contextmanager
def serving_ohif(pacs_address: str) -> Iterator[str]:
    """Serve the viewer on a free port until the block ends; ``pacs_address`` is what comes before /dicom-web."""
    handler = partial(_Handler, pacs_address, directory=str(FOLDER))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class Ohif:
    """OHIF with one series in its one viewport; a series without pixels it may answer with no viewport at all."""

    def __init__(self, browser: Browser, address: str, study_uid: str, series_uid: str) -> None:
        self._browser = browser
        query = {"StudyInstanceUIDs": study_uid, "initialSeriesInstanceUID": series_uid}
        browser.open(f"{address}/viewer?{urlencode(query)}")
        browser.await_value("return document.querySelector('.viewport-element')")
        browser.await_stillness()

    def list_pictures(self) -> list[str]:
        """Return the addresses (WADO-RS) of the pictures in the viewport, in the order in which it scrolls."""
        script = "return window.cornerstone.getEnabledElements().flatMap(e => e.viewport.getImageIds())"
        return [str(one) for one in self._browser.run(script)]

    def show_in_list(self, description: str) -> bool:
        """Scroll the list of series to the one so described; return whether it is there."""
        script = (
            "const found = [...document.querySelectorAll('*')]"
            ".filter(e => !e.children.length && e.textContent.trim() === arguments[0]).pop();"
            "if (found) found.scrollIntoView({block: 'center'}); return Boolean(found)"
        )
        listed = bool(self._browser.run(script, description))
        self._browser.await_stillness(0.5)
        return listed

    def show(self, index: int) -> None:
        """Scroll to a picture, counted from 0."""
        self._browser.run(_VIEWPORT + "return v.setImageIdIndex(arguments[0]).then(() => true)", index)
        self._browser.await_stillness(0.5)

    def read_pixels(self, ds: Dataset) -> NDArray[np.uint8]:
        """Return what stands where the pixels of the slice ``ds`` lie in the patient, RGB [row, column, 3].

        OHIF is asked where on the screen a place in the patient is; where the pixels are in the patient is read off
        the data set here. So a slice that OHIF put somewhere else would be noticed.
        """
        centres = _find_centres(ds).reshape(-1, 3)
        places = self._browser.run(
            _VIEWPORT + "v.setProperties({interpolationType: 0}); v.render();"
            "const r = v.canvas.getBoundingClientRect();"
            "return arguments[0].map(p => v.worldToCanvas(p)).map(([x, y]) => [r.top + y, r.left + x])",
            centres.tolist(),
        )
        down, across = np.rint(np.asarray(places, np.float64) - 0.5).astype(int).T
        shown = self._browser.await_stillness(0.5)[down, across]
        return shown.reshape(int(ds.Rows), int(ds.Columns), 3)


def open_planes(browser: Browser, address: str, study_uid: str) -> None:
    """Open a study in three planes (OHIF's "MPR")."""
    browser.open(f"{address}/viewer?{urlencode({'StudyInstanceUIDs': study_uid, 'hangingProtocolId': 'mpr'})}")
    browser.await_value("return document.querySelectorAll('.viewport-element').length > 2")
    browser.await_stillness()


def _find_centres(ds: Dataset) -> NDArray[np.float64]:
    """Centres of the pixels, LPS mm [row, column, 3] (PS3.3 C.7.6.2.1.1)."""
    across, down = np.asarray(ds.ImageOrientationPatient, np.float64).reshape(2, 3)
    rows = np.arange(ds.Rows)[:, None, None] * float(ds.PixelSpacing[0])
    columns = np.arange(ds.Columns)[None, :, None] * float(ds.PixelSpacing[1])
    centres: NDArray[np.float64] = np.asarray(ds.ImagePositionPatient, np.float64) + rows * down + columns * across
    return centres
