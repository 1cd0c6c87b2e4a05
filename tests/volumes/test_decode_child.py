import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from pydicom.uid import RLELossless

from fusionnode.volumes import decode_child

_OPTIONS = {
    "rows": 2,
    "columns": 64,
    "number_of_frames": 1,
    "samples_per_pixel": 1,
    "bits_allocated": 8,
    "bits_stored": 8,
    "pixel_representation": 0,
    "photometric_interpretation": "MONOCHROME2",
    "pixel_keyword": "PixelData",
}


@pytest.fixture(scope="module")
def child() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", decode_child.__name__, str(1 << 30), "30", "600"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == decode_child.READY
        yield process
        process.stdin.close()
        assert process.wait(30) == 0, "it does not end with its input"


def _ask(child: "subprocess.Popen[bytes]", codestream: bytes) -> dict[str, object]:
    assert child.stdout is not None
    assert child.stdin is not None
    request = {"syntax": RLELossless, "plugin": "pylibjpeg", "options": _OPTIONS, "bytes": len(codestream)}
    child.stdin.write(json.dumps(request).encode() + b"\n" + codestream)
    child.stdin.flush()
    answer: dict[str, object] = json.loads(child.stdout.readline())
    return answer


def test_answer_says_what_the_pixels_are_and_they_follow(child: "subprocess.Popen[bytes]") -> None:
    codestream = np.array([1, 64, *[0] * 14], dtype="<u4").tobytes() + bytes([129, 9])
    assert _ask(child, codestream) == {"dtype": "|u1", "shape": [2, 64]}
    assert child.stdout is not None
    assert child.stdout.read(128) == b"\x09" * 128


def test_answer_says_what_the_decoder_raised(child: "subprocess.Popen[bytes]") -> None:
    assert list(_ask(child, b"\0" * 80)) == ["error"]


def test_what_stops_a_service_does_not_stop_it_before_its_input_ends(child: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        child.send_signal(number)
    test_answer_says_what_the_pixels_are_and_they_follow(child)
