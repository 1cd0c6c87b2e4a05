"""A host that is not allowed, which is a network namespace of its own: nothing of it is stored, and it is told of."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusionnode.settings import PeerSettings, Settings
from fusionnode.wiring import build_listener, build_watcher
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.nodes import make_settings
from tests.support.tools import forgo, require_tool

pytestmark = pytest.mark.system

# A network that no real one uses (RFC 5737), for hosts that live only as long as this test.
OURS, SCANNER, STRANGER = "203.0.113.1", "203.0.113.10", "203.0.113.20"


@dataclass(frozen=True)
class Host:
    """Another host, as far as the kernel can tell."""

    namespace: str

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        whole = ["ip", "netns", "exec", self.namespace, *command]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    """A scanner and a stranger, each on a cable of its own to this machine."""
    require_tool("ip")
    if os.geteuid() != 0:
        forgo("network namespaces need root")
    with ExitStack() as stack:
        yield _make_host(stack, "scanner", SCANNER), _make_host(stack, "stranger", STRANGER)


def _make_host(stack: ExitStack, name: str, address: str) -> Host:
    namespace, outer, inner = (f"fn-{name}-{os.getpid()}", f"fo{name[:3]}{os.getpid()}", f"fi{name[:3]}{os.getpid()}")
    if _try("netns", "add", namespace).returncode != 0:
        forgo("this machine allows no network namespaces")
    stack.callback(_try, "netns", "del", namespace)
    _do("link", "add", outer, "type", "veth", "peer", "name", inner)
    stack.callback(_try, "link", "del", outer)
    _do("link", "set", inner, "netns", namespace)
    _do("address", "add", f"{OURS}/32", "peer", f"{address}/32", "dev", outer)
    _do("link", "set", outer, "up")
    _do("-n", namespace, "address", "add", f"{address}/32", "peer", f"{OURS}/32", "dev", inner)
    _do("-n", namespace, "link", "set", inner, "up")
    return Host(namespace)


def _try(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


def _do(*arguments: str) -> None:
    done = _try(*arguments)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def _make_site(folder: Path) -> Settings:
    peers = {"mr1": PeerSettings(ae_title="MR1", networks=(SCANNER,))}
    return make_settings(folder, host=OURS, peers=peers)


def test_only_the_host_that_is_allowed_can_send_and_the_other_is_in_the_audit_trail(
    tmp_path: Path, hosts: tuple[Host, Host]
) -> None:
    sender, echo = require_tool("storescu"), require_tool("echoscu")
    folder = tmp_path / "sent"
    write_series(folder, make_mr_series(Layout(slices=2, rows=32, columns=32)))
    settings = _make_site(tmp_path)
    listener = build_listener(settings)
    with build_watcher(settings, "listen") as watcher:
        listener.observer = watcher
        listener.start()
        try:
            scanner, stranger = hosts
            place = (OURS, str(listener.port))
            called = ("-aec", "FUSIONNODE", "-aet", "MR1")
            assert stranger.run(echo, *called, *place).returncode != 0
            assert stranger.run(sender, *called, "+sd", *place, str(folder)).returncode != 0
            assert _list_stored(settings) == []
            assert scanner.run(echo, "-aec", "FUSIONNODE", "-aet", "OTHER", *place).returncode != 0
            assert _list_stored(settings) == []
            done = scanner.run(sender, *called, "+sd", *place, str(folder))
            assert done.returncode == 0, done.stderr
            assert len(_list_stored(settings)) == 2
        finally:
            listener.stop(grace_seconds=5)
    trail = [line for path in (settings.spool / "audit").rglob("*") if path.is_file() for line in _read_lines(path)]
    assert len([line for line in trail if STRANGER in line and "address not allowed" in line]) == 2
    assert len([line for line in trail if SCANNER in line and "OTHER" in line]) == 1


def _list_stored(settings: Settings) -> list[Path]:
    folders = ("incoming", "arrivals", "instances", "quarantine")
    return [path for name in folders for path in (settings.spool / name).rglob("*") if path.is_file()]


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
