import logging
import os
import socket
import threading
from pathlib import Path
from threading import Timer

import pytest
from pynetdicom import _config

from fusionnode.errors import SettingsInvalid
from fusionnode.intake import listener as listener_module
from fusionnode.intake import spool as spool_module
from fusionnode.intake.door import Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener, silence_pynetdicom
from fusionnode.intake.spool import Spool
from tests.support.running import await_value


def test_limits_that_cannot_be_kept_are_a_misconfiguration(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="out of range"):
        Listener("NODE", "127.0.0.1", 0, Spool(tmp_path), Entrance(limits=ListenerLimits(max_associations=0)))


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN_LETTERS", "BACK\\SLASH"])
def test_a_malformed_ae_title_is_a_misconfiguration(tmp_path: Path, title: str) -> None:
    with pytest.raises(SettingsInvalid, match="no AE title"):
        Listener(title, "127.0.0.1", 0, Spool(tmp_path))


def test_a_port_that_is_taken_is_a_misconfiguration_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsInvalid, match=str(port)):
            Listener("NODE", "127.0.0.1", port, Spool(tmp_path, reserve_bytes=0)).start()


def test_the_port_can_be_taken_again_at_once_and_stopping_twice_is_harmless(tmp_path: Path) -> None:
    first = Listener("NODE", "127.0.0.1", 0, Spool(tmp_path, reserve_bytes=0))
    first.start()
    port = first.port
    assert port != 0
    with socket.create_connection(("127.0.0.1", port)):
        first.stop(grace_seconds=0)
    first.stop()
    second = Listener("NODE", "127.0.0.1", port, Spool(tmp_path, reserve_bytes=0))
    second.start()
    second.stop()


def test_what_a_listener_left_that_was_killed_a_moment_ago_goes_and_what_is_received_since_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (spool_module, listener_module):
        monkeypatch.setattr(module, "STALE_SECONDS", 0.5)
    monkeypatch.setattr(threading, "Timer", lambda wait, *rest: Timer(wait - 1 + 0.2, *rest))
    spool = Spool(tmp_path, reserve_bytes=0)
    spool.prepare()
    left = [spool.incoming / "left.part", spool.associations / "left"]
    for path in left:
        path.write_bytes(b"x")
    listener = Listener("NODE", "127.0.0.1", 0, spool)
    listener.start()
    try:
        assert all(path.exists() for path in left), "another listener may be writing them"
        slow = spool.incoming / "slow.part"
        slow.write_bytes(b"x")
        os.utime(slow, (0, 0))
        await_value(lambda: not any(path.exists() for path in left))
        assert slow.exists()
    finally:
        listener.stop()


def test_pynetdicom_is_kept_from_logging_identifiers() -> None:
    silence_pynetdicom()
    assert _config.LOG_HANDLER_LEVEL == "none"
    assert not _config.LOG_REQUEST_IDENTIFIERS
    assert not logging.getLogger("pynetdicom.events").isEnabledFor(logging.INFO)
