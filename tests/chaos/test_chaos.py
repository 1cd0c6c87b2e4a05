"""A seeded part of the chaos; ``make chaos`` runs the whole of it."""

import os
import threading
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from fusionnode.domain.terms import Step
from fusionnode.faults import FaultPoint
from tests.chaos.account import Account, count_half_written, tabulate
from tests.chaos.matrix import ELSEWHERE, plan_kills, run_kills
from tests.chaos.outages import count_overdue
from tests.chaos.plants import arm_fault, embedded_plant, require_struck
from tests.chaos.victim import MARK, Fault, Striker
from tests.support.datasets import Layout, make_mr_series
from tests.support.nodes import open_test_node, queue_job
from tests.support.running import Overdue, await_value

SEED = 20
POINTS = (FaultPoint.INSTANCE_RENAMED, FaultPoint.RESULT_PUBLISHED, FaultPoint.INSTANCE_SENT)


@pytest.mark.parametrize("scaled_out", [False, True])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_every_point_is_in_the_matrix_and_its_faults_survive_the_environment(rounds: int, scaled_out: bool) -> None:
    kills = plan_kills(rounds, SEED, scaled_out=scaled_out)
    many = (FaultPoint.STEP_CLAIMED, FaultPoint.STEP_ADVANCED)
    places = len(Step) - scaled_out
    assert Counter(kill.fault.point for kill in kills) == {
        point: max(rounds, places) if point in many else rounds for point in set(FaultPoint) - ELSEWHERE
    }
    assert kills == plan_kills(rounds, SEED, scaled_out=scaled_out)
    assert kills != plan_kills(rounds, SEED + 1, scaled_out=scaled_out)
    assert [Fault.parse(str(kill.fault)) for kill in kills] == [kill.fault for kill in kills]


@pytest.mark.parametrize("point", [FaultPoint.STEP_CLAIMED, FaultPoint.STEP_ADVANCED])
def test_claim_and_end_of_every_step_are_met_in_either_form(point: FaultPoint) -> None:
    embedded = plan_kills(1, SEED, [point])
    assert {kill.fault.thread for kill in embedded} == set(Step)
    scaled_out = plan_kills(1, SEED, [point], scaled_out=True)
    assert {(kill.process, kill.fault.thread) for kill in scaled_out} == {("prepare", ""), ("fuse", ""), ("send", "")}


@pytest.mark.parametrize(("thread", "struck"), [("", 2), ("send", 1), ("fuse", 0)])
def test_a_fault_strikes_in_its_thread_alone_and_leaves_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread: str, struck: int
) -> None:
    marked = []
    mark = tmp_path / "struck"
    monkeypatch.setattr(os, "kill", lambda *_: marked.append(mark.exists()))
    for name in ("send-2", "commit"):
        striker = Striker(Fault(FaultPoint.STEP_CLAIMED, thread=thread), mark)
        for point in (FaultPoint.STEP_ADVANCED, FaultPoint.STEP_CLAIMED, FaultPoint.STEP_CLAIMED):
            runner = threading.Thread(target=striker, args=(point,), name=name)
            runner.start()
            runner.join()
    assert marked == [True] * struck
    assert mark.exists() is bool(struck)


def test_a_process_that_died_of_something_else_was_not_struck(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    told = arm_fault(site, Fault(FaultPoint.STEP_CLAIMED))
    with pytest.raises(Overdue, match="not of its fault"):
        require_struck(site)
    Path(told[MARK]).touch()
    require_struck(site)
    arm_fault(site, Fault(FaultPoint.STEP_CLAIMED))
    with pytest.raises(Overdue):
        require_struck(site)


def test_what_is_waited_for_in_vain_is_a_row_of_the_table_and_soils_it() -> None:
    told: list[str] = []
    account = count_overdue(lambda: await_value(lambda: None, seconds=0), told.append)
    assert (account.stuck, account.is_clean) == (1, False)
    assert told
    with pytest.raises(ZeroDivisionError):
        count_overdue(lambda: Account(stuck=1 // 0), told.append)


@pytest.mark.parametrize("harm", ["lost", "doubled", "stuck", "half_written"])
def test_one_harm_in_one_scenario_soils_the_sum(harm: str) -> None:
    clean = Account(kills=1, acknowledged=20, expected=1, delivered=1)
    soiled = clean + Account(**{harm: 1})
    assert clean.is_clean
    assert not soiled.is_clean
    assert not Account(expected=1).is_clean
    assert tabulate([("one", clean), ("other", soiled)]).count("\n") == 4


def _make_pictures(slices: int) -> list[Dataset]:
    datasets = make_mr_series(Layout(slices=slices, rows=4, columns=6))
    for ds in datasets:
        ds.SamplesPerPixel, ds.PlanarConfiguration, ds.PhotometricInterpretation = 3, 0, "RGB"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.PixelData = bytes(4 * 6 * 3)
    return datasets


def test_what_is_not_whole_under_its_final_name_is_counted(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    published = node.outbox.publish(job, _make_pictures(slices=3))
    (tmp_path / "spool" / "prepared").mkdir(exist_ok=True)
    assert count_half_written(node.spool, slices=3) == 0
    assert count_half_written(node.spool, slices=4) == 1, "a slice of the result is missing"
    (tmp_path / "spool" / "prepared" / f"{job.id}.npz").write_bytes(b"PK\3\4 half")
    (tmp_path / "spool" / "reports" / "1.json").write_text('{"transaction_uid": ')
    received = next(node.spool.instances.rglob("*.dcm"))
    received.write_bytes(received.read_bytes()[:-2])
    assert count_half_written(node.spool, slices=3) == 3
    picture = tmp_path / "spool" / published[0][1]
    cut = pydicom.dcmread(picture)
    cut.PixelData = cut.PixelData[:-6]
    cut.save_as(picture)
    assert count_half_written(node.spool, slices=3) == 4


@pytest.mark.system
@pytest.mark.timeout(240)
def test_a_node_that_is_killed_at_points_chosen_by_chance_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kills = plan_kills(1, SEED, POINTS)
    with embedded_plant(tmp_path) as (plant, pacs):
        account = run_kills(plant, pacs, kills)
    assert account.is_clean, account
    assert account.kills == len(POINTS)
    assert account.acknowledged == 20 * len(POINTS)
