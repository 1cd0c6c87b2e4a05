"""What a node needs is taken away from it, comes late, comes twice, or lies about the time."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import redis

from fusionnode.demo.pacs import OrthancPacs
from fusionnode.domain.terms import Step
from fusionnode.faults import FaultPoint
from fusionnode.settings import load_settings
from fusionnode.worker.app import Dispatcher, build_app
from tests.chaos.account import Account, balance, count_half_written
from tests.chaos.matrix import SLICES
from tests.chaos.plants import EmbeddedPlant, Plant, ScaledPlant, await_end, open_spool, read_state
from tests.chaos.scanner import Scanner
from tests.chaos.victim import Fault
from tests.support.repackaged import make_patient
from tests.support.running import FUSIONNODE, Overdue, await_port, await_value
from tests.support.tools import require_tool

STARTED = ("redis", "postgres", "listen", "sweep", "prepare", "fuse", "send")
"""What a stack is made of, in the order it can be started in."""

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@dataclass
class Scene:
    """One outage on its way: a plant, its PACS, and a patient that is sent during it."""

    plant: ScaledPlant
    pacs: OrthancPacs
    scanner: Scanner
    number: int

    def send(self) -> None:
        """Send the scene's patient."""
        self.scanner.give(make_patient(self.number))

    def list_states(self) -> list[str]:
        """Return the states of all jobs, newest first."""
        return [job["state"] for job in self.plant.jobs()]

    def count_ended(self) -> int:
        """How many jobs have come to their end."""
        return self.list_states().count("committed")


def lose_the_broker(scene: Scene) -> None:
    """Redis is away while the patient arrives, and comes back with what it had."""
    scene.plant.stack.do("stop", "redis")
    scene.send()
    scene.scanner.await_idle()
    await_value(lambda: "queued" in scene.list_states(), seconds=60)
    scene.plant.stack.do("start", "redis")


def flush_the_broker(scene: Scene) -> None:
    """Redis forgets every message, again and again, while the patient goes through."""
    ended = scene.count_ended()
    scene.send()
    client = redis.Redis.from_url(scene.plant.stack.environment["FUSIONNODE_BROKER_URL"])
    for _ in range(40):
        client.flushall()
        if scene.count_ended() > ended:
            break
        threading.Event().wait(0.25)


def kill_the_broker(scene: Scene) -> None:
    """Redis dies without a word while a job is under way."""
    scene.send()
    await_value(lambda: set(scene.list_states()) - {"committed"}, seconds=60)
    scene.plant.stack.kill("redis")
    scene.plant.stack.do("start", "redis")


def lose_the_database(scene: Scene) -> None:
    """PostgreSQL is away while the patient arrives; the listener needs none."""
    scene.plant.stack.do("stop", "postgres")
    scene.send()
    scene.scanner.await_idle()
    scene.plant.stack.do("start", "postgres")


def kill_the_database(scene: Scene) -> None:
    """PostgreSQL dies in the middle of a job and recovers from its log."""
    scene.send()
    running = {"preparing", "fusing", "sending"}
    await_value(lambda: running & set(scene.list_states()), seconds=60, pause=0.02)
    scene.plant.stack.kill("postgres")
    # Its children end by themselves once they notice; until then a new server would not start beside them.
    threading.Event().wait(3)
    scene.plant.stack.do("start", "postgres")


def lose_the_pacs(scene: Scene) -> None:
    """The PACS is away until several tries have failed."""
    scene.pacs.stop()
    scene.send()
    await_value(lambda: _count_tries(scene.plant) >= 3, seconds=90)
    scene.pacs.start()


def tell_everything_twice(scene: Scene) -> None:
    """Every message comes several times, early, late, and for jobs that ended long ago."""
    ended = scene.count_ended()
    with scene.plant.in_environment():
        dispatcher = Dispatcher(build_app(load_settings(scene.plant.site)))
    scene.send()
    for _ in range(40):
        for job in scene.plant.jobs():
            for step in (Step.PREPARE, Step.FUSE, Step.SEND):
                dispatcher.dispatch(step, job["id"])
        if scene.count_ended() > ended:
            break
        threading.Event().wait(0.5)


def freeze(point: FaultPoint, process: str) -> Callable[[Scene], None]:
    """Return the outage in which a worker hangs at ``point``, another one takes over, and the first wakes up late."""

    def outage(scene: Scene) -> None:
        ended = scene.count_ended()
        scene.plant.hurt(Fault(point, 1, SIGSTOP), process)
        scene.send()
        scene.plant.await_harm()
        frozen = scene.plant.stack.find_process(process)
        # The stack forgets the frozen one, so that it is not ended with the others.
        scene.plant.mend_beside()
        try:
            await_value(lambda: scene.count_ended() > ended, seconds=90)
            os.kill(frozen, SIGCONT)
            threading.Event().wait(3)
        finally:
            os.killpg(frozen, SIGKILL)
        await_value(lambda: read_state(frozen) in "ZX")

    return outage


def turn_the_clock(process: str) -> Callable[[Scene], None]:
    """Return the outage in which the clock of ``process`` jumps two hours ahead and back under a patient."""

    def outage(scene: Scene) -> None:
        if not FAKETIME.exists():
            require_tool("faketime")
        told = scene.plant.site.parent / "clock"
        told.write_text("+2h")
        wrong = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(told), "FAKETIME_NO_CACHE": "1"}
        wrong |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}
        ended = scene.count_ended()
        scene.plant.stack.do("stop", process)
        scene.plant.stack.do("start", process, environment=wrong)
        scene.send()
        threading.Event().wait(4)
        told.write_text("-2h")
        threading.Event().wait(4)
        told.write_text("+0h")
        await_value(lambda: scene.count_ended() > ended, seconds=120)
        scene.plant.stack.do("stop", process)
        scene.plant.stack.do("start", process)

    return outage


SCALED_OUTAGES: dict[str, Callable[[Scene], None]] = {
    "broker away": lose_the_broker,
    "broker flushed": flush_the_broker,
    "broker killed": kill_the_broker,
    "database away": lose_the_database,
    "database killed": kill_the_database,
    "PACS away": lose_the_pacs,
    "messages twice and late": tell_everything_twice,
    "fuse worker hangs": freeze(FaultPoint.RESULT_WRITTEN, "fuse"),
    "send worker hangs": freeze(FaultPoint.INSTANCE_SENT, "send"),
    "clock of the listener jumps": turn_the_clock("listen"),
    "clock of the sweep jumps": turn_the_clock("sweep"),
    "clock of a worker jumps": turn_the_clock("fuse"),
}


def run_scaled_outages(
    plant: ScaledPlant, pacs: OrthancPacs, first: int, tell: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[str, Account]]:
    """Go through every outage of the scaled-out form and yield the balance of each; patients from number ``first``."""
    for number, (name, outage) in enumerate(SCALED_OUTAGES.items(), first):
        tell(name)
        account = count_overdue(partial(_suffer, plant, pacs, outage, number), tell)
        if account.stuck:
            _bring_back(plant, pacs)
        yield name, account


def count_overdue(scenario: Callable[[], Account], tell: Callable[[str], None]) -> Account:
    """Return the balance of a scenario; where it was waited for in vain, that of a patient who is stuck."""
    try:
        return scenario()
    except Overdue as overdue:
        tell(f"OVERDUE: {overdue}")
        return Account(kills=1, expected=1, stuck=1)


def _suffer(plant: ScaledPlant, pacs: OrthancPacs, outage: Callable[[Scene], None], number: int) -> Account:
    with Scanner(plant.port, plant.site.parent / f"sent-{number}") as scanner:
        before = len(plant.jobs())
        outage(Scene(plant, pacs, scanner, number))
        scanner.await_idle()
        jobs = await_end(plant, before + 1)
        return replace(balance(open_spool(plant), pacs, scanner.acknowledged, jobs, SLICES), kills=1)


def _bring_back(plant: ScaledPlant, pacs: OrthancPacs) -> None:
    """Start everything anew, for an outage that ended half way may have left anything away."""
    pacs.stop()
    pacs.start()
    for name in STARTED:
        plant.stack.do("stop", name)
        plant.stack.do("start", name)


def outlast_the_retries(plant: EmbeddedPlant, pacs: OrthancPacs, number: int) -> Account:
    """The PACS is away for longer than the node tries; what was given up is sent again by one command."""
    pacs.stop()
    plant.mend()
    await_port(plant.port)
    with Scanner(plant.port, plant.site.parent / f"sent-{number}") as scanner:
        before = len(plant.jobs())
        scanner.give(make_patient(number))
        [failed] = await_value(lambda: [job for job in plant.jobs() if job["state"] == "failed"], seconds=120)
        pacs.start()
        command = [FUSIONNODE, "resend", failed["id"], "--site", str(plant.site)]
        subprocess.run(command, check=True, timeout=120)
        jobs = await_end(plant, before + 1)
        return replace(balance(open_spool(plant), pacs, scanner.acknowledged, jobs, SLICES), kills=1)


def fill_the_disk(plant: EmbeddedPlant, pacs: OrthancPacs, number: int, *, when: str) -> Account:
    """The spool's own file system is full before the patient ``arrives``, or once it ``arrived``; then there is room.

    The spool must lie on a small file system (`small_disk`).
    """
    spool = open_spool(plant)
    plant.mend()
    await_port(plant.port)
    with Scanner(plant.port, plant.site.parent / f"sent-{number}") as scanner:
        before = len(plant.jobs())
        ballast = spool.root / "ballast"
        if when == "arrives":
            _fill(ballast)
            scanner.give(make_patient(number))
            threading.Event().wait(5)
            assert not scanner.acknowledged, "a full disk took something"
        else:
            scanner.give(make_patient(number))
            scanner.await_idle()
            _fill(ballast)
            threading.Event().wait(8)
        half_written = count_half_written(spool, SLICES)
        ballast.unlink()
        scanner.await_idle()
        jobs = await_end(plant, before + 1)
        account = balance(spool, pacs, scanner.acknowledged, jobs, SLICES)
        return account + Account(kills=1, half_written=half_written)


@contextmanager
def small_disk(folder: Path, megabytes: int = 64) -> Iterator[None]:
    """Mount a small file system of its own at ``folder`` while the block runs; needs root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return


def _count_tries(plant: Plant) -> int:
    return max((one["attempts"] for job in plant.jobs() for one in job["destinations"]), default=0)
