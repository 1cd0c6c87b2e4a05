"""Prints how long each fuser takes for one 256 x 256 slice on this machine's processor.

Run it as ``python -m tests.benchmarks.bench_fusers``. The fusers take turns, so that what else runs here hits them
alike; the ratio is to ``laplacian``. A median far above the minimum means that something else was running.
"""

import os
import statistics
import time

import numpy as np
import torch

from fusionnode.domain.images import SliceStack
from fusionnode.fusion.cards import CARDS
from fusionnode.fusion.fuse import Fuser, fuse_slices
from fusionnode.wiring import open_fuser

ROUNDS = 15
WARM_UP = 2


def _make_slices() -> tuple[SliceStack, SliceStack]:
    """A textured disc in black for each source, [1, 256, 256]: about as much foreground as a head has."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:256j, -1:1:256j]
    inside = (rows**2 + columns**2 < 0.6).astype(np.float32)
    fixed, moving = (inside * random.random((256, 256), dtype=np.float32) for _ in range(2))
    return fixed[None], moving[None]


def _time(fuser: Fuser, fixed: SliceStack, moving: SliceStack) -> float:
    began = time.perf_counter()
    fuse_slices(fixed, moving, fuser)
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    fusers = {name: open_fuser(name) for name, card in CARDS.items() if card.available}
    slices = _make_slices()
    milliseconds: dict[str, list[float]] = {name: [] for name in fusers}
    for turn in range(WARM_UP + ROUNDS):
        for name, fuser in fusers.items():
            taken = _time(fuser, *slices)
            if turn >= WARM_UP:
                milliseconds[name].append(taken)
    standard = min(milliseconds["laplacian"])
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} at the end")
    print(f"{'fuser':<28}{'min ms':>9}{'median ms':>11}{'ratio of min':>14}")
    for name, taken in milliseconds.items():
        least, middle = min(taken), statistics.median(taken)
        remark = "  (disturbed)" if middle > 1.5 * least else ""
        print(f"{name:<28}{least:>9.1f}{middle:>11.1f}{least / standard:>14.1f}{remark}")


if __name__ == "__main__":
    main()
