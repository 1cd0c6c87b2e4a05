"""A host that is not allowed, which is a network namespace of its own: nothing of it is stored, and it is told of."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusionnode.flow.observing import RemotePeer, Unobserved
from fusionnode.settings import PeerSettings, Settings
from fusionnode.wiring import build_listener
from tests.support.datasets import Layout, make_mr_series
from tests.support.files import write_series
from tests.support.nodes import make_settings
from tests.support.tools import forgo, require_tool

pytestmark = pytest.mark.system

# A network that no real one uses (RFC 5737), for hosts that live only as long as this test.
OURS, SCANNER, STRANGER = "203.0.113.1", "203.0.113.10", "203.0.113.20"


class Witness(Unobserved):
    def __init__(self) -> None:
        self.refused: list[tuple[RemotePeer, str]] = []

    def association_refused(self, peer: RemotePeer, reason: str) -> None:
        self.refused.append((peer, reason))


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


def test_only_the_host_that_is_allowed_can_send_and_the_other_is_told_of(
    tmp_path: Path, hosts: tuple[Host, Host]
) -> None:
    sender, echo = require_tool("storescu"), require_tool("echoscu")
    folder = tmp_path / "sent"
    write_series(folder, make_mr_series(Layout(slices=2, rows=32, columns=32)))
    witness = Witness()
    listener = build_listener(_make_site(tmp_path))
    listener.observer = witness
    listener.start()
    try:
        scanner, stranger = hosts
        place = (OURS, str(listener.port))
        called = ("-aec", "FUSIONNODE", "-aet", "MR1")
        assert stranger.run(echo, *called, *place).returncode != 0
        assert stranger.run(sender, *called, "+sd", *place, str(folder)).returncode != 0
        spool = tmp_path / "spool"
        assert not [path for path in spool.rglob("*") if path.is_file()]
        assert [(peer.address, reason) for peer, reason in witness.refused] == [(STRANGER, "address not allowed")] * 2

        assert scanner.run(echo, "-aec", "FUSIONNODE", "-aet", "OTHER", *place).returncode != 0
        done = scanner.run(sender, *called, "+sd", *place, str(folder))
        assert done.returncode == 0, done.stderr
        assert len(list((spool / "arrivals").iterdir())) == 2
        assert [peer.ae_title for peer, _ in witness.refused[2:]] == ["OTHER"]
    finally:
        listener.stop(grace_seconds=5)
