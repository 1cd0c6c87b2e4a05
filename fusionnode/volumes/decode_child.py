"""Runs as a process of its own, which a damaged frame may end: reads frames, answers with their pixels (edge).

`fusionnode.volumes.decode_apart` starts it as ``python -m fusionnode.volumes.decode_child``, followed by the fields of
`DecodingBounds`. The kernel keeps these bounds, so they hold also where the process that asked has gone. It ends with
the end of its input.

A request on stdin is a line of JSON with the ``syntax``, the ``plugin``, pydicom's decoding ``options`` and the number
of ``bytes`` of the codestream, which follows. An answer on stdout, after the line `READY`, is a line of JSON with the
``dtype`` and the ``shape`` of the pixels, which follow row by row, or with the ``error`` the decoder raised.
"""

import contextlib
import json
import os
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

READY = b"ready\n"
DECODER_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom and its decoders raise on malformed data; a shortage of memory is not among them."""

_MAX_WORDS = 1000


def main() -> None:
    """Answer requests until there are no more."""
    memory_bytes, frame_seconds, process_seconds = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    _set_bounds(memory_bytes, process_seconds)
    # The decoders print warnings; nothing but answers may get into the pipe.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError):
        _answer(sys.stdin.buffer, answers, frame_seconds)


def _set_bounds(memory_bytes: int, process_seconds: int) -> None:
    """Bound memory and time, leave no core dumps, write no files; end on an alarm, and on nothing a service sends."""
    for kind, bound in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, process_seconds),
        (resource.RLIMIT_CORE, 0),  # it would hold a patient's picture
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    # What was ignored or blocked where this was started stays so in a new program.
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM, signal.SIGXCPU])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # who asked is told to end as well, and the input ends with it


def _answer(requests: BinaryIO, answers: BinaryIO, frame_seconds: float) -> None:
    import pydicom.pixels.decoders.base  # noqa: F401  # before it says that it is ready

    answers.write(READY)
    answers.flush()
    while line := requests.readline():
        request = json.loads(line)
        frame = requests.read(request["bytes"])
        # Not a handler: the default action ends the process wherever the decoder is.
        signal.setitimer(signal.ITIMER_REAL, frame_seconds)
        head, pixels = _decode(frame, request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(json.dumps(head).encode() + b"\n")
        answers.write(pixels)
        answers.flush()


def _decode(frame: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    try:
        decoder = get_decoder(UID(request["syntax"]))
        pixels, _ = decoder.as_array(
            encapsulate([frame], has_bot=False), index=0, decoding_plugin=request["plugin"], **request["options"]
        )
    except (*DECODER_ERRORS, MemoryError) as error:
        return {"error": f"{type(error).__name__}: {error}"[:_MAX_WORDS]}, b""
    return {"dtype": pixels.dtype.str, "shape": pixels.shape}, pixels.tobytes()


if __name__ == "__main__":
    main()
