"""A seeded part of the chaos; ``make chaos`` runs the whole of it."""

from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from fusionnode.faults import FaultPoint
from tests.chaos.account import Account, count_half_written, tabulate
from tests.chaos.matrix import ELSEWHERE, plan_kills, run_kills
from tests.chaos.plants import embedded_plant
from tests.chaos.victim import Fault
from tests.support.datasets import Layout, make_mr_series
from tests.support.nodes import open_test_node, queue_job

SEED = 20
POINTS = (FaultPoint.INSTANCE_RENAMED, FaultPoint.RESULT_PUBLISHED, FaultPoint.INSTANCE_SENT)


def test_every_point_is_in_the_matrix_and_its_faults_survive_the_environment() -> None:
    kills = plan_kills(2, SEED)
    assert {kill.fault.point for kill in kills} == set(FaultPoint) - ELSEWHERE
    assert len(kills) == 2 * len(set(FaultPoint) - ELSEWHERE)
    assert kills == plan_kills(2, SEED) != plan_kills(2, SEED + 1)
    assert [Fault.parse(str(kill.fault)) for kill in kills] == [kill.fault for kill in kills]


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
