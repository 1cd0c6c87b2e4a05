"""What monitoring may ask: the checks say what is ill, and nothing is served where nobody wants it."""

import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionnode.errors import FusionNodeError, SettingsInvalid, SpoolFull
from fusionnode.intake.spool import Spool
from fusionnode.settings import DestinationSettings, ListenerTlsSettings, Settings, TlsSettings
from fusionnode.trace_settings import HttpSettings
from fusionnode.traces.meters import Meters
from fusionnode.wiring import build_watcher
from fusionnode.worker.monitor import (
    Monitor,
    Rounds,
    check_audit,
    check_broker,
    check_database,
    check_spool,
    check_threads,
    check_true,
)
from tests.support.certificates import make_authority
from tests.support.nodes import make_settings, open_test_node
from tests.support.pacs import find_free_port
from tests.traces.test_meters import read


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


def test_a_sweep_that_hangs_is_ill_and_one_that_goes_on_or_is_put_off_is_not() -> None:
    meters, now = Meters(), [0.0]
    rounds = Rounds(meters, seconds=900, clock=lambda: now[0])
    now[0] = 900
    assert rounds.check() == "went on 900 s ago"
    now[0] = 901
    with pytest.raises(FusionNodeError, match="The sweep has stood still for 901 s"):
        rounds.check()
    rounds.note(whole=False)
    assert rounds.check() == "went on 0 s ago"
    assert read(meters)["fusionnode_last_sweep_timestamp_seconds", ()] == 0
    rounds.note(whole=True)
    assert read(meters)["fusionnode_last_sweep_timestamp_seconds", ()] > 0


def test_when_each_file_of_certificates_ends_is_read_anew_at_each_scrape(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ca")
    ours, theirs = authority.issue("ours", days=40), authority.issue("theirs", days=7)
    sends = TlsSettings(ca=authority.own.certificate, certificate=theirs.certificate, key=theirs.key)
    listens = ListenerTlsSettings(certificate=ours.certificate, key=ours.key)
    pacs = DestinationSettings(ae_title="PACS", host="127.0.0.1", port=1, tls=sends)
    settings = make_settings(tmp_path, tls=listens, destinations={"pacs": pacs})
    with Monitor(settings, build_watcher(settings, "serve"), 0, {}, {}) as monitor:
        assert monitor.endpoint is not None

        def read_days() -> dict[str, int]:
            with urllib.request.urlopen(f"http://127.0.0.1:{monitor.endpoint.port}/metrics", timeout=30) as page:
                text = page.read().decode()
            found = re.findall(r'^fusionnode_certificate_end_timestamp_seconds\{file="(.+)"\} (\S+)$', text, re.M)
            return {Path(name).name: round((float(end) - time.time()) / 86400) for name, end in found}

        days = read_days()
        assert len(days) == 3
        assert (days[ours.certificate.name], days[theirs.certificate.name]) == (40, 7)
        theirs.certificate.write_bytes(ours.certificate.read_bytes())
        ours.certificate.unlink()
        days = read_days()
        assert days[theirs.certificate.name] == 40
        assert days[ours.certificate.name] < 0, "gone"


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
