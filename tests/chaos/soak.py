"""Hours of a busy department in minutes: ``python -m tests.chaos.soak [--minutes N] [--patients N] [--slices N]``.

Eight senders at once share out every series among them, out of order, some instances twice, while further workers come
and go. At the end every acknowledged instance must be in the spool bit for bit, every pair fused once, and the
processes that ran all the time must not have grown in the second half.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fusionnode.demo.pacs import OrthancPacs
from tests.chaos.account import Account, balance, tabulate
from tests.chaos.plants import ScaledPlant, await_end, open_spool, scaled_plant
from tests.support.files import write_series
from tests.support.observing import Sent, send_files
from tests.support.repackaged import make_patient

SENDERS = 8
PROCESSES = ("listen", "sweep", "prepare", "fuse", "send")
GROWTH = 1.05
"""What the second half of the second half may be of its first half."""

_TWICE = 0.05


@dataclass(frozen=True)
class Load:
    """How much is sent, and how long it shall take."""

    patients: int
    slices: int
    seconds: float


@dataclass
class Gauge:
    """Resident bytes, descriptors and threads of one process, again and again."""

    process: int
    bytes: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def read(self) -> None:
        """Read them once more (proc(5))."""
        folder = Path(f"/proc/{self.process}")
        facts = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        self.bytes.append(int(facts["VmRSS"].split()[0]) * 1024)
        self.threads.append(int(facts["Threads"]))
        self.descriptors.append(len(list((folder / "fd").iterdir())))

    def measure_growth(self) -> tuple[float, float, float]:
        """Return the ratio of the last quarter's to the third quarter's: bytes by mean, the others by maximum."""
        half, quarter = len(self.bytes) // 2, len(self.bytes) * 3 // 4
        ratios = [statistics.mean(self.bytes[quarter:]) / statistics.mean(self.bytes[half:quarter])]
        ratios += [max(one[quarter:]) / max(one[half:quarter]) for one in (self.descriptors, self.threads)]
        return ratios[0], ratios[1], ratios[2]


def main() -> int:
    """Run the soak and print what came of it; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--slices", type=int, default=167, help="of each of a patient's two series")
    told = parser.parse_args()
    load = Load(told.patients, told.slices, 60 * told.minutes)
    with tempfile.TemporaryDirectory(prefix="fusionnode-soak-") as folder, scaled_plant(Path(folder)) as (plant, pacs):
        account, gauges = soak(plant, pacs, load)
    sys.stdout.write(
        tabulate([("soak", account)]) + "\n\n| process | MB at the end | memory | descriptors | threads |\n"
    )
    sys.stdout.write("|---|---|---|---|---|\n")
    for name, gauge in gauges.items():
        growth = " | ".join(f"x {ratio:.3f}" for ratio in gauge.measure_growth())
        sys.stdout.write(f"| {name} | {gauge.bytes[-1] / 1e6:.0f} | {growth} |\n")
    flat = all(ratio < GROWTH for gauge in gauges.values() for ratio in gauge.measure_growth())
    return 0 if account.is_clean and flat else 1


def soak(plant: ScaledPlant, pacs: OrthancPacs, load: Load) -> tuple[Account, dict[str, Gauge]]:
    """Send everything, wait until it has come out, and return the balance and what the processes used meanwhile."""
    gauges = {name: Gauge(plant.stack.find_process(name)) for name in PROCESSES}
    shares = _share_out(plant.site.parent / "sent", load)
    sent: list[Sent] = []
    threads = [threading.Thread(target=_send_share, args=(plant.port, share, load.seconds, sent)) for share in shares]
    with _coming_and_going(plant):
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for gauge in gauges.values():
                gauge.read()
            time.sleep(1)
    jobs = await_end(plant, load.patients, seconds=1200)
    kept = list({one.path: one for one in sent}.values())
    return balance(open_spool(plant), pacs, kept, jobs, load.slices), gauges


def _share_out(folder: Path, load: Load) -> list[list[list[Path]]]:
    """Write everything, and return for each sender its part of each patient: in disorder, some of it twice."""
    chance = random.Random(1)
    shares: list[list[list[Path]]] = [[] for _ in range(SENDERS)]
    for number in range(load.patients):
        patient = make_patient(number, slices=load.slices)
        paths = write_series(folder / patient.patient_id, [*patient.fixed, *patient.moving])
        paths += chance.sample(paths, int(_TWICE * len(paths)))
        chance.shuffle(paths)
        for place, share in enumerate(shares):
            share.append(paths[place::SENDERS])
    return shares


def _send_share(port: int, share: Sequence[Sequence[Path]], seconds: float, sent: list[Sent]) -> None:
    """Send patient after patient, spread over ``seconds``, each until all is acknowledged."""
    begun = time.monotonic()
    for number, paths in enumerate(share):
        time.sleep(max(0.0, begun + seconds * number / len(share) - time.monotonic()))
        waiting = list(paths)
        while waiting:
            answered = [one for one in send_files(port, waiting) if one.acknowledged]
            sent += answered
            done = {one.path for one in answered}
            waiting = [path for path in waiting if path not in done]


@contextmanager
def _coming_and_going(plant: ScaledPlant) -> Iterator[None]:
    """Start further workers and kill them after a while, one after another, as long as the block runs."""
    over = threading.Event()

    def come_and_go() -> None:
        chance = random.Random(2)
        while not over.is_set():
            queue = chance.choice(["prepare", "fuse", "send"])
            command = [plant.stack.environment["FUSIONNODE"], "work", "--queue", queue, "--site", str(plant.site)]
            worker = subprocess.Popen(
                command,
                env={**os.environ, **plant.stack.environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            over.wait(chance.uniform(8, 25))
            worker.kill()
            worker.wait()

    thread = threading.Thread(target=come_and_go, name="coming-and-going")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
