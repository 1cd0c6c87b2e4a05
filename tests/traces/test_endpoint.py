"""The pages for monitoring: they answer, say what is ill, and nobody slow keeps them from others."""

import json
import socket
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


def test_silent_clients_do_not_keep_others_waiting(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve()
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), timeout=10))
            client.sendall(b"GET /metrics HT")
        assert ask(endpoint, "/metrics")[0] == 200
        assert threading.active_count() < 40


def test_a_client_that_drips_is_cut_off_at_last(
    serve: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "_CONNECTION_SECONDS", 0.2)
    endpoint = serve()
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        time.sleep(0.3)
        assert ask(endpoint, "/metrics")[0] == 200
        assert client.recv(1) == b""


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
