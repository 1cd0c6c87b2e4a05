import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import RLELossless

from fusionnode.errors import DecoderUnavailable
from fusionnode.volumes.decode_apart import DecodingBounds, DecodingProcess, EncodedFrame, FrameUndecodable
from tests.support.compressed import make_long_rle


def _make_frame(value: int = 7, rows: int = 2, columns: int = 64) -> EncodedFrame:
    """An RLE frame (PS3.5 annex G) of 8 bits, all of one value."""
    header = np.array([1, 64, *[0] * 14], dtype="<u4").tobytes()
    options = {
        "rows": rows,
        "columns": columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "bits_allocated": 8,
        "bits_stored": 8,
        "pixel_representation": 0,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
    }
    return EncodedFrame(header + bytes([129, value]) * (rows * columns // 128), RLELossless, "pylibjpeg", options)


def _make_refused() -> EncodedFrame:
    return EncodedFrame(b"\0" * 80, RLELossless, "pylibjpeg", _make_frame().options)


def _make_deadly() -> EncodedFrame:
    frame = _make_frame()
    return EncodedFrame(make_long_rle(2 * 64), RLELossless, "pylibjpeg", {**frame.options, "bits_allocated": 16})


def _find_processes(parent: int) -> list[int]:
    """The decoding processes that a process has, by their number (proc(5))."""
    listed = Path(f"/proc/{parent}/task").glob("*/children")
    numbers = [int(number) for path in listed for number in path.read_text(encoding="ascii").split()]
    return [number for number in numbers if b"decode_child" in Path(f"/proc/{number}/cmdline").read_bytes()]


def test_one_process_serves_all_frames_and_ends_with_them() -> None:
    before = set(_find_processes(os.getpid()))
    with DecodingProcess() as process:
        assert set(_find_processes(os.getpid())) == before, "there is one before there is a frame"
        assert [int(process.decode(_make_frame(value)).max()) for value in range(5)] == [0, 1, 2, 3, 4]
        first = set(_find_processes(os.getpid()))
        with pytest.raises(FrameUndecodable, match="refuses"):
            process.decode(_make_refused())
        assert process.decode(_make_frame()).shape == (2, 64)
        assert set(_find_processes(os.getpid())) == first
        assert len(first - before) == 1
    assert set(_find_processes(os.getpid())) == before


def test_after_a_frame_that_ended_the_process_there_is_another() -> None:
    with DecodingProcess() as process:
        with pytest.raises(FrameUndecodable, match="broke down with status 1"):
            process.decode(_make_deadly())
        assert (process.decode(_make_frame()) == 7).all()


def test_frame_that_takes_too_long_is_given_up() -> None:
    with (
        DecodingProcess(DecodingBounds(frame_seconds=1e-4)) as process,
        pytest.raises(FrameUndecodable, match="longer"),
    ):
        process.decode(_make_frame(rows=8192, columns=8192))


def test_volume_that_takes_too_long_is_given_up() -> None:
    large = _make_frame(rows=8192, columns=8192)

    def decode_for_long() -> None:
        for _ in range(100):
            process.decode(large)

    process = DecodingProcess(DecodingBounds(process_seconds=1))
    with process, pytest.raises(FrameUndecodable, match="1 s of processor time"):
        decode_for_long()


def test_frame_that_takes_too_much_memory_is_given_up() -> None:
    bounds = DecodingBounds(memory_bytes=256 << 20)
    with DecodingProcess(bounds) as process:
        assert (process.decode(_make_frame()) == 7).all()
        with pytest.raises(FrameUndecodable):
            process.decode(_make_frame(rows=16384, columns=16384))


def test_end_from_outside_is_no_fault_of_the_frame() -> None:
    with DecodingProcess() as process:
        before = set(_find_processes(os.getpid()))
        process.decode(_make_frame())
        for number in set(_find_processes(os.getpid())) - before:
            os.kill(number, signal.SIGKILL)
        with pytest.raises(DecoderUnavailable, match="SIGKILL"):
            process.decode(_make_frame())
        assert (process.decode(_make_frame()) == 7).all()


def test_process_that_cannot_start_is_no_fault_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    with DecodingProcess(DecodingBounds(memory_bytes=1 << 20)) as process, pytest.raises(DecoderUnavailable):
        process.decode(_make_frame())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with DecodingProcess() as process, pytest.raises(DecoderUnavailable, match="No such file"):
        process.decode(_make_frame())


def test_process_knows_no_passwords_and_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSIONNODE_DATABASE_URL", "postgresql+psycopg://fusionnode:secret@ledger/fusionnode")
    before = set(_find_processes(os.getpid()))
    with DecodingProcess() as process:
        process.decode(_make_frame())
        (number,) = set(_find_processes(os.getpid())) - before
        assert b"secret" not in Path(f"/proc/{number}/environ").read_bytes()
        limits = Path(f"/proc/{number}/limits").read_text(encoding="ascii").splitlines()
    bounds = {line[:26].strip(): line[26:].split()[0] for line in limits}
    assert (bounds["Max core file size"], bounds["Max file size"]) == ("0", "0")
    assert bounds["Max address space"] == str(DecodingBounds().memory_bytes)


def test_process_ends_where_the_one_that_asked_was_killed() -> None:
    program = (
        "import sys, os\n"
        "from tests.volumes.test_decode_apart import DecodingProcess, _find_processes, _make_frame\n"
        "process = DecodingProcess()\n"
        "process.decode(_make_frame())\n"
        "print(_find_processes(os.getpid())[0], flush=True)\n"
        "sys.stdin.read()\n"
    )
    asker = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with asker:
        assert asker.stdout is not None
        number = int(asker.stdout.readline())
        assert Path(f"/proc/{number}").exists()
        asker.kill()
    deadline = time.monotonic() + 30
    while _runs(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(number)


def _runs(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _decode_or_exit() -> None:
    with DecodingProcess() as process:
        sys.exit(0 if (process.decode(_make_frame()) == 7).all() else 1)


def test_daemonic_process_may_decode() -> None:
    # The workers of Celery are such processes, and may have no children by multiprocessing.
    worker = multiprocessing.get_context("fork").Process(target=_decode_or_exit, daemon=True)
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0


def test_threads_decode_beside_each_other() -> None:
    found: dict[int, bool] = {}

    def decode(value: int) -> None:
        with DecodingProcess() as process:
            found[value] = all((process.decode(_make_frame(value)) == value).all() for _ in range(20))

    threads = [threading.Thread(target=decode, args=(value,)) for value in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {0: True, 1: True, 2: True}
