"""The matrix of kills: every named point on the way of a slice, in the embedded and in the scaled-out form."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fusionnode.demo.pacs import OrthancPacs
from fusionnode.domain.terms import Step
from fusionnode.faults import FaultPoint
from tests.chaos.account import Account, balance, count_half_written
from tests.chaos.plants import Plant, await_end, open_spool
from tests.chaos.scanner import Scanner
from tests.chaos.victim import Fault
from tests.support.repackaged import make_patient
from tests.support.running import Overdue

SLICES = 10
"""Of the MRI of `make_patient`, and so of a fused series."""

_SENT = 2 * SLICES
# Which processes of the scaled-out form pass a point, and how often one pair does at least.
_PASSED: dict[FaultPoint, tuple[tuple[str, ...], int]] = {
    FaultPoint.INSTANCE_RECEIVED: (("listen",), _SENT),
    FaultPoint.INSTANCE_RENAMED: (("listen",), _SENT),
    FaultPoint.INSTANCE_DURABLE: (("listen",), _SENT),
    FaultPoint.INSTANCE_RECORDED: (("sweep",), _SENT),
    FaultPoint.SERIES_SETTLED: (("sweep",), 2),
    FaultPoint.JOB_ENTERED: (("sweep",), 1),
    FaultPoint.STEP_CLAIMED: (("prepare", "fuse", "send"), 1),
    FaultPoint.PREPARED_WRITTEN: (("prepare",), 1),
    FaultPoint.PREPARED_SAVED: (("prepare",), 1),
    FaultPoint.RESULT_HALF_WRITTEN: (("fuse",), SLICES),
    FaultPoint.RESULT_WRITTEN: (("fuse",), 1),
    FaultPoint.RESULT_PUBLISHED: (("fuse",), 1),
    FaultPoint.DELIVERIES_ENTERED: (("fuse",), 1),
    FaultPoint.STEP_ADVANCED: (("prepare", "fuse", "send"), 1),
    FaultPoint.INSTANCE_SENT: (("send",), SLICES),
    FaultPoint.OUTCOME_RECORDED: (("send",), SLICES),
    FaultPoint.COMMITMENT_OPENED: (("send",), 1),
    FaultPoint.COMMITMENT_ASKED: (("send",), 1),
    FaultPoint.DESTINATION_ACCOUNTED: (("send",), 1),
    FaultPoint.REPORT_DURABLE: (("listen",), 1),
    FaultPoint.REPORT_ENTERED: (("sweep",), 1),
}

ELSEWHERE = frozenset({FaultPoint.DISCARD_DECIDED, FaultPoint.DISCARD_BEGUN})
"""Points of a deletion. Here nothing gets old enough; `tests/worker/test_housekeeping.py` lets processes die there."""


@dataclass(frozen=True)
class Kill:
    """One fault in one process, or in one thread of the only one."""

    fault: Fault
    process: str


def plan_kills(
    rounds: int, seed: int, points: Sequence[FaultPoint] = tuple(_PASSED), *, scaled_out: bool = False
) -> list[Kill]:
    """Return ``rounds`` kills at each of ``points``, in an order and at repetitions that ``seed`` chooses.

    Where several processes pass a point there is at least one in each; embedded, in the thread of each step.
    """
    chance = random.Random(seed)
    kills = []
    for point in points:
        places, times = _PASSED[point]
        in_threads = len(places) > 1 and not scaled_out
        if in_threads:
            # Scaled out, whoever sends asks for commitments as well.
            places = tuple(Step)
        for number in range(max(rounds, len(places))):
            place = places[number % len(places)]
            fault = Fault(point, chance.randint(1, times), thread=place if in_threads else "")
            kills.append(Kill(fault, place))
    chance.shuffle(kills)
    return kills


def run_kills(
    plant: Plant, pacs: OrthancPacs, kills: Sequence[Kill], tell: Callable[[str], None] = lambda _: None
) -> Account:
    """Send one patient for each kill, let every process die in turn, mend, and take stock.

    What was begun when a process died is gone on with while the next one waits for its death. One that does not die, or
    of something else, is counted as stuck.
    """
    spool = open_spool(plant)
    half_written = missed = 0
    with Scanner(plant.port, plant.site.parent / "sent") as scanner:
        for number, kill in enumerate(kills):
            plant.hurt(kill.fault, kill.process)
            scanner.give(make_patient(number))
            tell(f"{number + 1}/{len(kills)} {kill.process}: {kill.fault.point}")
            try:
                plant.await_harm()
            except Overdue as overdue:
                tell(f"NOT KILLED: {overdue}")
                missed += 1
            half_written += count_half_written(spool, SLICES)
        plant.mend()
        scanner.await_idle()
        jobs = await_end(plant, len(kills))
        end = balance(spool, pacs, scanner.acknowledged, jobs, SLICES)
    return end + Account(kills=len(kills) - missed, stuck=missed, half_written=half_written)
