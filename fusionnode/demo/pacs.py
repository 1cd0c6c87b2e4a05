"""The PACS of the demo: Orthanc where it is installed, otherwise a small storage SCP of ours."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Protocol

import pydicom
from pydicom import Dataset

from fusionnode.errors import DestinationUnreachable
from fusionnode.intake.listener import Listener
from fusionnode.intake.spool import Spool


class Pacs(Protocol):
    """A storage SCP that can be asked what it holds."""

    name: str
    ae_title: str
    port: int

    def stop(self) -> None:
        """End it."""

    def fetch_series(self, series_instance_uid: str) -> list[Dataset]:
        """Return every stored instance of the series, in any order."""


def start_pacs(folder: Path) -> Pacs:
    """Start Orthanc on free ports of this machine with its storage in ``folder``, or our own storage SCP.

    Raises:
        DestinationUnreachable: Orthanc is installed but did not come up.
    """
    binary = shutil.which("Orthanc")
    return OrthancPacs(folder, binary) if binary else StoragePacs(folder)


class StoragePacs:
    """Our own listener and spool in the part of a PACS."""

    def __init__(self, folder: Path) -> None:
        self.name = "fusionnode's own storage SCP (Orthanc is not installed)"
        self.ae_title = "DEMOPACS"
        self._spool = Spool(folder, reserve_bytes=0)
        self._spool.prepare()
        self._listener = Listener(self.ae_title, "127.0.0.1", 0, self._spool)
        self._listener.start()
        self.port = self._listener.port

    def stop(self) -> None:
        """Close the port."""
        self._listener.stop()

    def fetch_series(self, series_instance_uid: str) -> list[Dataset]:
        """Return every stored instance of the series, in any order."""
        datasets = (pydicom.dcmread(stored.path) for stored in self._spool.list_arrivals())
        return [ds for ds in datasets if series_instance_uid == ds.SeriesInstanceUID]


class OrthancPacs:
    """A real Orthanc with a throw-away configuration, reachable from this machine only."""

    def __init__(self, folder: Path, binary: str, extra: dict[str, Any] | None = None) -> None:
        self.name = "Orthanc"
        self.ae_title = "ORTHANC"
        self.port, self.http_port = _free_port(), _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        configuration = {**self._configuration(folder), **(extra or {})}
        (folder / "orthanc.json").write_text(json.dumps(configuration, indent=1), encoding="utf-8")
        self._folder, self._binary = folder, binary
        self.start()

    def start(self) -> None:
        """Run Orthanc, for the first time or again, with what it holds.

        Raises:
            DestinationUnreachable: it did not come up.
        """
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, str(self._folder / "orthanc.json")],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
            )
        self._wait_until_up()

    def stop(self) -> None:
        """Ask Orthanc to end, and wait for it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def fetch_series(self, series_instance_uid: str) -> list[Dataset]:
        """Return every stored instance of the series, in any order, through Orthanc's REST interface."""
        return [self._fetch_instance(one) for one in self.list_instances(series_instance_uid)]

    def list_instances(self, series_instance_uid: str) -> list[str]:
        """Return Orthanc's own ids of the stored instances of a series."""
        query = json.dumps({"Level": "Instance", "Query": {"SeriesInstanceUID": series_instance_uid}})
        found = json.loads(self.request("/tools/find", query.encode()))
        return [str(one) for one in found]

    def list_series(self) -> list[str]:
        """Return the Series Instance UIDs of everything stored."""
        found = json.loads(self.request("/series?expand"))
        return [str(one["MainDicomTags"]["SeriesInstanceUID"]) for one in found]

    def request(self, path: str, body: bytes | None = None, method: str | None = None) -> bytes:
        """Send one request to the REST interface and return the answer's body; by GET, or POST with a ``body``."""
        url = f"http://127.0.0.1:{self.http_port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method), timeout=30) as answer:
            content: bytes = answer.read()
            return content

    def _fetch_instance(self, instance: str) -> Dataset:
        import io

        return pydicom.dcmread(io.BytesIO(self.request(f"/instances/{instance}/file")))

    def _configuration(self, folder: Path) -> dict[str, Any]:
        return {
            "Name": "fusionnode demo PACS",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "index"),
            "Plugins": [],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "HttpPort": self.http_port,
            "DicomPort": self.port,
            "DicomAet": self.ae_title,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": True,
        }

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.request("/system")
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        self.stop()
        raise DestinationUnreachable("Orthanc did not come up.", remedy=f"Read {self._folder / 'orthanc.log'}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
