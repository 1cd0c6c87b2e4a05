"""The pages for monitoring: they answer, say what is ill, and nobody slow keeps them from others."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fusionnode.errors import FusionNodeError, SettingsInvalid
from fusionnode.traces import endpoint as endpoint_module
from fusionnode.traces.endpoint import Checks, Endpoint
from tests.support.running import await_value


def fail() -> str:
    raise FusionNodeError("It is ill.", remedy="Heal it.")


def trip() -> str:
    raise ValueError("DOE^JOHN")


@pytest.fixture
def serve() -> Iterator[Callable[..., Endpoint]]:
    with ExitStack() as undo:

        def start(seconds: float = 60, **ready: Callable[[], str]) -> Endpoint:
            made = Endpoint("127.0.0.1", 0, lambda: b"metric 1\n", Checks({}), Checks(ready, seconds=seconds))
            made.start()
            undo.callback(made.stop)
            return made

        yield start


def ask(endpoint: Endpoint, path: str, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{endpoint.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_each_page_answers(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(spool=lambda: "writable")
    assert ask(endpoint, "/metrics") == (200, b"metric 1\n")
    assert ask(endpoint, "/metrics?name=x", "HEAD") == (200, b"")
    assert ask(endpoint, "/healthz")[0] == 200
    status, body = ask(endpoint, "/readyz")
    assert (status, json.loads(body)) == (200, {"well": True, "checks": {"spool": {"well": True, "words": "writable"}}})


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/", "GET", 404), ("/../etc", "GET", 404), ("/metrics", "POST", 501)]
)
def test_nothing_else_is_there(serve: Callable[..., Endpoint], path: str, method: str, status: int) -> None:
    assert ask(serve(), path, method)[0] == status


def test_what_fails_is_named_and_a_foreign_error_is_not_quoted(serve: Callable[..., Endpoint]) -> None:
    status, body = ask(serve(one=fail, two=trip, three=lambda: "fine"), "/readyz")
    checks = json.loads(body)["checks"]
    assert status == 503
    assert checks["one"] == {"well": False, "words": "It is ill. Heal it."}
    assert checks["two"] == {"well": False, "words": "ValueError"}
    assert checks["three"]["well"]
    assert b"DOE" not in body


def test_a_check_that_hangs_is_said_to_hang_and_is_not_asked_twice(serve: Callable[..., Endpoint]) -> None:
    go, asked = threading.Event(), []

    def hang() -> str:
        asked.append(1)
        go.wait(30)
        return "here"

    endpoint = serve(1, slow=hang, quick=lambda: "here")
    for _ in range(2):
        status, body = ask(endpoint, "/readyz")
        checks = json.loads(body)["checks"]
        assert (status, checks["quick"]["well"]) == (503, True)
        assert "did not answer within 1 s" in checks["slow"]["words"]
    assert len(asked) == 1
    go.set()
    await_value(lambda: ask(endpoint, "/readyz")[0] == 200, seconds=20)


def count_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_silent_clients_do_not_keep_others_waiting_and_hold_few_threads(
    serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those that go have to give way: none is given up for its silence.
    monkeypatch.setattr(endpoint_module._Handler, "timeout", 300)
    endpoint = serve()
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=10))
            client.sendall(b"GET /metrics HT")
        assert ask(endpoint, "/metrics")[0] == 200
        await_value(lambda: count_threads() <= endpoint_module._CONNECTIONS, seconds=30)


def test_a_client_that_drips_is_cut_off_at_last(
    serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "_CONNECTION_SECONDS", 0.2)
    # It would be, but for the time it is open: nobody waits for its next byte in vain.
    monkeypatch.setattr(endpoint_module._Handler, "timeout", 300)
    endpoint = serve()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        time.sleep(0.3)
        assert ask(endpoint, "/metrics")[0] == 200
        assert client.recv(1) == b""


def test_metrics_that_hang_hold_few_threads_and_are_served_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(endpoint_module, "_CHECK_SECONDS", 60)

    def expose() -> bytes:
        go.wait(60)
        return b"metric 1\n"

    endpoint = Endpoint("127.0.0.1", 0, expose, Checks({}), Checks({}))
    endpoint.start()
    with ExitStack() as stack:
        stack.callback(endpoint.stop)
        for _ in range(endpoint_module._THREADS + 4):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=30))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert client.recv(1) == b"", "the last one is closed"
        assert count_threads() == endpoint_module._THREADS
        go.set()
        await_value(lambda: not count_threads())
        assert ask(endpoint, "/metrics") == (200, b"metric 1\n")


def test_metrics_that_hang_keep_nobody_from_asking_whether_the_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun = threading.Event(), threading.Event()
    monkeypatch.setattr(endpoint_module, "_CHECK_SECONDS", 0.2)

    def expose() -> bytes:
        begun.set()
        go.wait(60)
        return b"metric 1\n"

    endpoint = Endpoint("127.0.0.1", 0, expose, Checks({}), Checks({}))
    endpoint.start()
    with ExitStack() as stack:
        stack.callback(endpoint.stop)
        client = stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=60))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert begun.wait(60)
        assert ask(endpoint, "/healthz")[0] == 200
        assert ask(endpoint, "/metrics")[0] == 503
        go.set()
        assert client.makefile("rb").read().endswith(b"metric 1\n")


def test_a_check_that_hangs_keeps_no_process_from_ending() -> None:
    code = """
import threading
from fusionnode.traces.endpoint import Checks
well, answers = Checks({"disk": lambda: str(threading.Event().wait())}, seconds=0.1).ask()
print(answers["disk"]["words"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "did not answer" in done.stdout


@pytest.mark.parametrize("garbage", [b"\x00\xff" * 400, b"GET " + b"a" * 70_000, b"GET /metrics SPAM/9\r\n\r\n", b""])
def test_garbage_is_survived(serve: Callable[..., Endpoint], garbage: bytes) -> None:
    endpoint = serve()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as client:
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert ask(endpoint, "/metrics")[0] == 200


def test_a_port_that_is_taken_is_refused_by_name(serve: Callable[..., Endpoint]) -> None:
    taken = serve()
    second = Endpoint("127.0.0.1", taken.port, lambda: b"", Checks({}), Checks({}))
    with pytest.raises(SettingsInvalid, match=r"http\.port"):
        second.start()
    second.stop()


def test_an_address_of_version_6_is_served() -> None:
    endpoint = Endpoint("::1", 0, lambda: b"metric 6\n", Checks({}), Checks({}))
    endpoint.start()
    with urllib.request.urlopen(f"http://[::1]:{endpoint.port}/metrics", timeout=30) as answer:
        assert answer.read() == b"metric 6\n"
    endpoint.stop()
