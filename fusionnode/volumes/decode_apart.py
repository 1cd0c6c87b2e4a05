"""Has compressed frames decoded by a process of its own, so that a damaged one ends no other (middle).

The decoders are written in C, C++ and Rust. On some damaged frames they abort, panic, read where they must not, or take
any time or memory. `fusionnode.volumes.decode_child` runs them; its answers are believed no more than the frames.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from fusionnode.errors import DecoderUnavailable
from fusionnode.volumes import decode_child

_DTYPES = frozenset({"|i1", "|u1", "<i2", "<u2", "<i4", "<u4", ">i2", ">u2", ">i4", ">u4"})
_MAX_HEAD_BYTES = 1 << 16
_PATIENCE_SECONDS = 10.0
# How others end a process: the system where memory is short, an operator, a service that stops.
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
# Nothing else of the environment, which may hold passwords: the process reads what strangers send.
_NEEDED = ("LD_LIBRARY_PATH", "PATH")


class FrameUndecodable(ValueError):
    """A frame cannot be decoded; the text says why, without a word out of the frame."""


@dataclass(frozen=True)
class DecodingBounds:
    """What decoding may take.

    Attributes:
        memory_bytes: address space of the process in all; frames of 4096 x 4096 need half of it.
        frame_seconds: for one frame, by the clock; the slowest decoder needs 0.1 s for a million pixels.
        process_seconds: for all frames of the process, of processor time.
    """

    memory_bytes: int = 1 << 30
    frame_seconds: float = 30.0
    process_seconds: int = 600


DEFAULT_BOUNDS = DecodingBounds()


@dataclass(frozen=True)
class EncodedFrame:
    """One compressed frame: its codestream, and what is needed to read it.

    Attributes:
        codestream: as encapsulated (PS3.5 A.4), fragments joined.
        syntax: UID of the transfer syntax.
        plugin: pydicom's name of the decoder.
        options: pydicom's decoding options; ``rows`` and ``columns`` are among them.
    """

    codestream: bytes
    syntax: str
    plugin: str
    options: Mapping[str, int | str]


class DecodingProcess:
    """A process that decodes one frame after the other; a context manager that ends it.

    It is started by the first frame, and serves until it ends or is ended. One thread at a time may use it.
    """

    def __init__(self, bounds: DecodingBounds = DEFAULT_BOUNDS) -> None:
        self._bounds = bounds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def decode(self, frame: EncodedFrame) -> NDArray[np.integer]:
        """Return the pixels of one frame, [row, column], as pydicom decodes them.

        Raises:
            FrameUndecodable: the decoder refused the frame, ended its process on it, or ran into a bound.
            DecoderUnavailable: the process could not be started, or something else ended it.
        """
        process = self._process or self._start()
        try:
            _ask(process, frame)
            head = _read_head(process)
            if "error" in head:
                raise FrameUndecodable("its decoder refuses it") from ValueError(head["error"])
            return _read_pixels(process, head, frame)
        except _AnswerWrong as wrong:
            self.close()
            raise FrameUndecodable("its decoder answered something else than pixels") from wrong
        except (EOFError, BrokenPipeError):
            # It is ending; to end it now would hide how.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)
            self.close()
            raise _explain_end(process.returncode, self._bounds) from None

    def close(self) -> None:
        """End the process whatever it does; the next frame starts another."""
        process, self._process = self._process, None
        if process is not None:
            # What was not yet written to it is lost with it.
            with contextlib.suppress(BrokenPipeError), process:
                process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        # -P and -B: nothing is imported from where it happens to run, and nothing written.
        command = [sys.executable, "-P", "-B", "-m", decode_child.__name__]
        environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        try:
            # Not by fork: threads run here, and a worker of Celery may have no children by multiprocessing.
            process = subprocess.Popen(
                [*command, *(str(bound) for bound in astuple(self._bounds))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,
            )
        except OSError as cause:
            raise _make_unavailable(f"could not be started ({cause.strerror})") from cause
        self._process = process
        if _require(process.stdout).readline(len(decode_child.READY)) != decode_child.READY:
            self.close()
            raise _make_unavailable(f"ended with status {process.returncode} before it was ready")
        return process


class _AnswerWrong(Exception):
    """The process no longer keeps to the protocol, so nothing it says counts."""


def _ask(process: subprocess.Popen[bytes], frame: EncodedFrame) -> None:
    request = {"plugin": frame.plugin, "syntax": frame.syntax, "options": dict(frame.options)}
    requests = _require(process.stdin)
    requests.write(json.dumps(request | {"bytes": len(frame.codestream)}).encode() + b"\n")
    requests.write(frame.codestream)
    requests.flush()


def _read_head(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    line = _require(process.stdout).readline(_MAX_HEAD_BYTES)
    if not line:
        raise EOFError
    try:
        head = json.loads(line)
    except ValueError as cause:
        raise _AnswerWrong from cause
    if not isinstance(head, dict):
        raise _AnswerWrong
    return head


def _read_pixels(process: subprocess.Popen[bytes], head: dict[str, Any], frame: EncodedFrame) -> NDArray[np.integer]:
    shape = int(frame.options["rows"]), int(frame.options["columns"])
    if head.get("dtype") not in _DTYPES or head.get("shape") != list(shape):
        raise _AnswerWrong
    held = _require(process.stdout).read(np.dtype(head["dtype"]).itemsize * shape[0] * shape[1])
    try:
        return np.frombuffer(held, dtype=head["dtype"]).reshape(shape)
    except ValueError:  # it ended while it answered
        raise EOFError from None


def _require(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "Popen was told to make a pipe"
    return stream


def _explain_end(status: int, bounds: DecodingBounds) -> FrameUndecodable | DecoderUnavailable:
    """Say what ``status``, as `subprocess` has it, tells of the frame that was decoded then."""
    if -status in _FROM_OUTSIDE:
        return _make_unavailable(f"was ended by {signal.Signals(-status).name}")
    if status == -signal.SIGALRM:
        return FrameUndecodable(f"its decoder took longer than {bounds.frame_seconds:g} s")
    if status == -signal.SIGXCPU:
        return FrameUndecodable(f"its volume took more than {bounds.process_seconds} s of processor time to decode")
    how = f"with {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return FrameUndecodable(f"its decoder broke down {how}, having at most {bounds.memory_bytes >> 20} MiB")


def _make_unavailable(finding: str) -> DecoderUnavailable:
    return DecoderUnavailable(
        f"The process that decodes compressed pixels {finding}.",
        remedy="Look at the memory and the process limits of this host, and at its log for a process that was killed.",
    )
