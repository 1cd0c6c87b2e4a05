"""The processes that run for long: they serve what monitoring asks, and the trail has them from start to stop."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fusionnode.settings import Settings
from fusionnode.trace_settings import HttpSettings
from fusionnode.worker import service
from fusionnode.worker.service import run_listen, run_serve, run_sweeping
from tests.support.nodes import make_pair, make_settings, send_series
from tests.support.pacs import find_free_port
from tests.support.running import await_value


@contextmanager
def running(run: Callable[[Settings, threading.Event], None], folder: Path) -> Iterator[Settings]:
    """Run a process as a thread, and end it as a signal would."""
    ports = {"port": find_free_port(), "http": HttpSettings(port=find_free_port())}
    settings, stop = make_settings(folder, **ports), threading.Event()
    thread = threading.Thread(target=run, args=(settings, stop))
    thread.start()
    try:
        await_value(lambda: answers(settings, "/readyz"), seconds=60)
        yield settings
    finally:
        stop.set()
        thread.join()


def answers(settings: Settings, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.http.port}{path}", timeout=30) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def list_told(settings: Settings) -> list[dict[str, Any]]:
    lines = [line for path in sorted((settings.spool / "audit").iterdir()) for line in path.read_text().splitlines()]
    return [one for one in map(json.loads, lines) if "message" in one]


def test_a_listener_alone_tells_of_what_it_takes_and_needs_no_database(tmp_path: Path) -> None:
    with running(run_listen, tmp_path) as settings:
        fixed, _ = make_pair()
        assert set(send_series(settings, settings.port, fixed, tmp_path / "scanner")) == {"0000"}
        await_value(lambda: "fusionnode_associations_open 0.0" in answers(settings, "/metrics"))
        assert 'fusionnode_instances_received_total{status="0000"} 10.0' in answers(settings, "/metrics")
        assert set(json.loads(answers(settings, "/readyz"))["checks"]) == {"spool", "audit", "listener"}
        assert set(json.loads(answers(settings, "/healthz"))["checks"]) == {"listener", "audit"}
    told = [
        (one["event"], one["objects"][0].get("instances") if one["objects"] else None) for one in list_told(settings)
    ]
    assert told == [
        ("Application Activity: Application Start", None),
        ("Association Opened", None),
        ("Begin Transferring DICOM Instances", None),
        ("DICOM Instances Transferred", 10),
        ("Application Activity: Application Stop", None),
    ]
    assert not (settings.spool / "ledger.sqlite").exists()


def test_a_whole_node_tells_of_its_ledger_and_its_threads(tmp_path: Path) -> None:
    with running(run_serve, tmp_path) as settings:
        health = json.loads(answers(settings, "/healthz"))
        assert (health["well"], set(health["checks"])) == (True, {"listener", "threads", "sweep", "audit"})
        assert set(json.loads(answers(settings, "/readyz"))["checks"]) == {"spool", "audit", "listener", "database"}
        await_value(lambda: "fusionnode_last_sweep_timestamp_seconds 0.0" not in answers(settings, "/metrics"))
        assert "fusionnode_ledger_up 1.0" in answers(settings, "/metrics")
    assert [one["event"].partition(": ")[2] for one in list_told(settings)] == ["Application Start", "Application Stop"]


def ask_health(settings: Settings) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.http.sweep_port}/healthz", timeout=30) as answer:
            return answer.status, json.loads(answer.read())["checks"]
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.loads(refusal.read())["checks"]
    except OSError:
        return 0, {}


@pytest.mark.parametrize("housekeeping_lives", [True, False])
def test_the_sweep_alone_says_whether_it_goes_round_and_whether_its_threads_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, housekeeping_lives: bool
) -> None:
    if not housekeeping_lives:
        monkeypatch.setattr(service, "repeat_housekeeping", lambda *_: None)
    away = f"redis://127.0.0.1:{find_free_port()}/0"
    settings = make_settings(tmp_path, broker_url=away, http=HttpSettings(sweep_port=find_free_port()))
    stop = threading.Event()
    thread = threading.Thread(target=run_sweeping, args=(settings, stop))
    thread.start()
    try:
        await_value(lambda: ask_health(settings)[0], seconds=60)
        status, checks = ask_health(settings)
    finally:
        stop.set()
        thread.join()
    assert status == (200 if housekeeping_lives else 503)
    assert {name: one["well"] for name, one in checks.items()} == {
        "sweep": True,
        "audit": True,
        "housekeeping": housekeeping_lives,
    }
    assert "went on" in checks["sweep"]["words"]
