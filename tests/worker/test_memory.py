"""A worker gives back what it no longer uses; measured in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from fusionnode.worker.memory import keep_large_blocks_apart, return_free_pages

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

if not keep_large_blocks_apart():
    sys.exit("not glibc")
before = resident_mb()
kept, blocks = [], []
for number in range(200):
    blocks.append(b"x" * 500_000)
    kept.append([bytes([number]) * 3000])
assert resident_mb() - before > 80
del blocks
assert return_free_pages()
print(resident_mb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is glibc on Linux only")
def test_freed_slices_leave_nothing_behind_between_what_lives_on() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    if done.stderr.strip() == "not glibc":
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20
