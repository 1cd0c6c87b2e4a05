"""Takes pictures of what viewers make of everything that fusionnode writes, to be looked at.

``make screenshots`` (``python -m tests.viewers.screenshots FOLDER``) makes all objects of the sample head, puts them
into a real Orthanc, and opens each series in the viewers that are there: Orthanc's Web viewer plug-in, Orthanc Explorer
and OHIF. ``seen.json`` says what stood on the page beside the picture.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fusionnode.demo.pacs import OrthancPacs
from tests.viewers.browser import Browser, list_missing_programs, running_browser
from tests.viewers.objects import DEFAULT, HEAD, Shown, make_objects, store
from tests.viewers.ohif import FOLDER as OHIF_FOLDER
from tests.viewers.ohif import Ohif, open_planes, serving_ohif
from tests.viewers.orthanc import GDCM_PLUGIN, PLUGIN, WebViewer, find_id, open_explorer, running_viewer

REMEDY = "deploy/install-services.sh --viewers installs what is missing"


@dataclass(frozen=True)
class Album:
    """A folder of pictures and, by the name of each, what was said on the page."""

    folder: Path
    seen: dict[str, dict[str, object]]

    def keep(self, name: str, picture: NDArray[np.uint8], /, **words: object) -> None:
        """Add a picture."""
        path = self.folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        self.seen[name] = words

    def close(self) -> None:
        """Write down what was said."""
        (self.folder / "seen.json").write_text(json.dumps(self.seen, indent=1), encoding="utf-8")


def list_missing() -> list[str]:
    """Return what of Chromium and the Web viewer plug-in is not installed."""
    return [*list_missing_programs(), *([] if PLUGIN.exists() else ["orthanc-webviewer"])]


def take_all(folder: Path) -> None:
    """Fill ``folder`` with the pictures."""
    album = Album(folder, {})
    with tempfile.TemporaryDirectory() as scratch:
        shown = _leave_out_copies(make_objects(Path(scratch) / "objects"))
        with running_browser(Path(scratch) / "chromium") as browser:
            with running_viewer(Path(scratch) / "orthanc") as pacs:
                store(shown.values(), pacs)
                _visit_web_viewer(browser, pacs, shown, album, "web-viewer")
                _visit_explorer(browser, pacs, shown, album)
                if (OHIF_FOLDER / "index.html").exists():
                    _visit_ohif(Path(scratch) / "ohif", pacs, shown, album)
            if GDCM_PLUGIN.exists():
                with running_viewer(Path(scratch) / "gdcm", gdcm=True) as pacs:
                    compressed = {"j2k-fused": shown["j2k-fused"]}
                    store(compressed.values(), pacs)
                    _visit_web_viewer(browser, pacs, compressed, album, "web-viewer-with-gdcm")
    album.close()


def _leave_out_copies(shown: Mapping[str, Shown]) -> dict[str, Shown]:
    """Every variant has the same registration object."""
    return {name: one for name, one in shown.items() if not name.endswith("registration") or DEFAULT in name}


def _visit_web_viewer(
    browser: Browser, pacs: OrthancPacs, shown: Mapping[str, Shown], album: Album, place: str
) -> None:
    for one in shown.values():
        viewer = WebViewer(browser, pacs, one.uid)
        for index in _choose(viewer.length):
            viewer.show(index)
            message = browser.take_alert() or viewer.message
            text = {"corner": browser.read_text("#topright"), "window": browser.read_text("#bottomleft")}
            album.keep(f"{place}/{one.name}-{index + 1:03}", browser.photograph(), message=message, **text)


def _visit_explorer(browser: Browser, pacs: OrthancPacs, shown: Mapping[str, Shown], album: Album) -> None:
    open_explorer(browser, pacs, "Study", shown["mr"].study_uid)
    album.keep("explorer/study", browser.await_stillness())
    for one in shown.values():
        open_explorer(browser, pacs, "Instance", one.instances[len(one.instances) // 2].SOPInstanceUID)
        browser.run("document.querySelector('#instance-preview').click()")
        album.keep(f"explorer/{one.name}", browser.await_stillness())


def _visit_ohif(scratch: Path, pacs: OrthancPacs, shown: Mapping[str, Shown], album: Album) -> None:
    """Open each series in a new browser: after some pages in the same one OHIF no longer comes up."""
    with serving_ohif(f"http://127.0.0.1:{pacs.http_port}") as address:
        study = [one for one in shown.values() if one.study_uid == shown["mr"].study_uid]
        for one in (one for one in study if one.pictures):
            with running_browser(scratch / one.name) as browser:
                _leaf_through(Ohif(browser, address, one.study_uid, one.uid), browser, one, album)
        with running_browser(scratch / "list") as browser:
            viewer = Ohif(browser, address, shown["mr"].study_uid, shown["mr"].uid)
            for one in (one for one in study if not one.pictures):
                listed = viewer.show_in_list(one.instances[0].SeriesDescription)
                album.keep(f"ohif/{one.name}", browser.photograph(), listed=listed)
        _leave_only(pacs, shown, shown[f"{DEFAULT}-fused"])
        with running_browser(scratch / "planes") as browser:
            open_planes(browser, address, shown["mr"].study_uid)
            album.keep("ohif/fused-in-three-planes", browser.photograph())


def _leaf_through(viewer: Ohif, browser: Browser, one: Shown, album: Album) -> None:
    pictures = viewer.list_pictures()
    # Where it cannot show a series it opens another one, or none.
    opened = bool(pictures) and one.uid in pictures[0]
    for index in _choose(len(pictures)) if opened else ():
        viewer.show(index)
        album.keep(f"ohif/{one.name}-{index + 1:03}", browser.photograph(), picture=pictures[index])
    if not opened:
        album.keep(f"ohif/{one.name}", browser.photograph(), text=browser.read_text("body")[-2000:])


def _leave_only(pacs: OrthancPacs, shown: Mapping[str, Shown], wanted: Shown) -> None:
    """Delete everything else, because OHIF chooses by itself which series it cuts into planes."""
    for one in shown.values():
        if one is not wanted:
            pacs.request(f"/series/{find_id(pacs, 'Series', one.uid)}", method="DELETE")


def _choose(length: int) -> Iterator[int]:
    """The first picture, the middle one and the last one."""
    yield from sorted({0, length // 2, length - 1} if length else set())


if __name__ == "__main__":
    if missing := list_missing():
        sys.exit(f"not installed: {', '.join(missing)}; {REMEDY}")
    if not (OHIF_FOLDER / "index.html").exists():
        sys.stdout.write("OHIF is not there (`make screenshots` fetches it with npm) and is left out\n")
    logging.disable(logging.INFO)
    take_all(Path(sys.argv[1]))
    sys.stdout.write(f"{sys.argv[1]} written, of {HEAD}\n")
