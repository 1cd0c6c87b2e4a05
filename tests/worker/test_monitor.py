"""What monitoring may ask: the checks say what is ill, and nothing is served where nobody wants it."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionnode.errors import FusionNodeError, SettingsInvalid, SpoolFull
from fusionnode.intake.spool import Spool
from fusionnode.settings import Settings
from fusionnode.trace_settings import HttpSettings
from fusionnode.wiring import build_watcher
from fusionnode.worker.monitor import (
    Monitor,
    check_audit,
    check_broker,
    check_database,
    check_spool,
    check_threads,
    check_true,
)
from tests.support.nodes import make_settings, open_test_node
from tests.support.pacs import find_free_port


def test_a_spool_without_room_or_without_folders_cannot_take_images(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve_bytes=0)
    spool.prepare()
    assert "MiB free" in check_spool(spool)
    assert list(spool.incoming.iterdir()) == []
    with pytest.raises(SpoolFull):
        check_spool(Spool(tmp_path / "spool", reserve_bytes=1 << 62))
    shutil.rmtree(spool.incoming)
    with pytest.raises(FileNotFoundError):
        check_spool(spool)


def test_a_trail_that_cannot_be_written_makes_the_node_unready_until_it_can(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    place = settings.spool / "audit"
    watcher = build_watcher(settings, "serve")
    place.write_text("in the way")
    watcher.command_given("retry", "j1", {})
    with pytest.raises(FusionNodeError, match="1 records wait"):
        check_audit(watcher)
    place.unlink()
    assert check_audit(watcher) == "written"
    watcher.trail.close()


def test_database_and_broker_answer_or_are_ill(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    assert check_database(node.ledger) == "answers"
    assert "embedded" in check_broker(node.settings)
    away = Settings(broker_url=f"redis://127.0.0.1:{find_free_port()}/0")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="refused"):
        check_broker(away)


@pytest.mark.parametrize("check", [check_true(lambda: False, "listening"), check_threads(lambda: ["sweep"])])
def test_what_does_not_run_is_named(check: Callable[[], str]) -> None:
    with pytest.raises(FusionNodeError, match=r"Not listening|Ended: sweep"):
        check()
    assert check_true(lambda: True, "listening")() == "listening"
    assert check_threads(list)() == "all run"


def test_without_a_port_nothing_is_served_and_nothing_runs(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with Monitor(make_settings(tmp_path), build_watcher(make_settings(tmp_path), "serve"), None, {}, {}) as monitor:
        assert monitor.endpoint is None
        assert not set(threading.enumerate()) - before


def test_readiness_names_what_fails(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    watcher = build_watcher(node.settings, "serve")
    ready = {"listener": check_true(lambda: False, "listening")}
    with Monitor(node.settings, watcher, 0, {}, ready, node.ledger) as monitor:
        assert monitor.endpoint is not None
        url = f"http://127.0.0.1:{monitor.endpoint.port}"
        with pytest.raises(urllib.error.HTTPError) as unready:
            urllib.request.urlopen(f"{url}/readyz", timeout=30)
        with unready.value as answer:
            checks = json.loads(answer.read())["checks"]
        assert {name: one["well"] for name, one in checks.items()} == {"spool": True, "audit": True, "listener": False}
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as page:
            text = page.read().decode()
    assert "fusionnode_ledger_up 1.0" in text
    assert "fusionnode_spool_free_bytes" in text


def test_a_taken_port_stops_the_start(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, http=HttpSettings(port=0))
    first = Monitor(settings, build_watcher(settings, "serve"), 0, {}, {})
    with first:
        assert first.endpoint is not None
        second = Monitor(settings, build_watcher(settings, "serve"), first.endpoint.port, {}, {})
        with pytest.raises(SettingsInvalid), second:
            pass
