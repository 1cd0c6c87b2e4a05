import logging
import socket
from pathlib import Path

import pytest
from pynetdicom import _config

from fusionnode.errors import SettingsInvalid
from fusionnode.intake.door import Entrance
from fusionnode.intake.limits import ListenerLimits
from fusionnode.intake.listener import Listener, silence_pynetdicom
from fusionnode.intake.spool import Spool


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


def test_pynetdicom_is_kept_from_logging_identifiers() -> None:
    silence_pynetdicom()
    assert _config.LOG_HANDLER_LEVEL == "none"
    assert not _config.LOG_REQUEST_IDENTIFIERS
    assert not logging.getLogger("pynetdicom.events").isEnabledFor(logging.INFO)
