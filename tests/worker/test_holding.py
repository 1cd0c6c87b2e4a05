"""What a human sets aside stays where it is until he lets it go on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fusionnode.domain.terms import SeriesState, Step
from fusionnode.errors import SeriesUnknown
from fusionnode.wiring import build_sweeper
from fusionnode.worker.holding import let_go_on, set_aside
from tests.support.nodes import MOMENT, make_pair, open_test_node, put_in_spool, queue_job


def test_a_job_that_is_set_aside_is_not_begun(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    assert job.id in set_aside(node.settings, job.id)
    assert node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker") is None
    assert job.id in let_go_on(node.settings, job.id)
    assert node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker") is not None


def test_a_series_that_is_set_aside_is_paired_after_its_release(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "sent")
    sweeper = build_sweeper(node)
    sweeper.sweep(MOMENT, 0.0)
    assert "0 jobs" in set_aside(node.settings, moving[0].SeriesInstanceUID)
    assert not any(sweeper.sweep(MOMENT, 1000.0 * number).queued for number in range(1, 4))
    let_go_on(node.settings, moving[0].SeriesInstanceUID)
    assert [len(sweeper.sweep(MOMENT, 10.0 * number + 4000).queued) for number in range(3)].count(1) == 1


def test_an_old_series_is_paired_after_its_release_also_by_a_sweep_that_begins_anew(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed, *moving], tmp_path / "sent")
    sweeper, long_ago = build_sweeper(node), MOMENT - timedelta(days=3650)
    sweeper.sweep(long_ago, 0.0)
    set_aside(node.settings, moving[0].SeriesInstanceUID)
    assert not any(sweeper.sweep(long_ago, 1000.0 * number).queued for number in range(1, 4))
    let_go_on(node.settings, moving[0].SeriesInstanceUID)
    [released] = node.ledger.list_series((SeriesState.REOPENED,))
    # The sweep that closed it died before it could pair it.
    node.ledger.set_series_state(released.key, SeriesState.COMPLETE, "")
    [job] = build_sweeper(node).sweep(datetime.now(UTC), 0.0).queued
    assert job.moving == released.key


def test_what_is_neither_a_job_nor_a_series_is_told(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    for act in (set_aside, let_go_on):
        with pytest.raises(SeriesUnknown):
            act(node.settings, "1.2.3")
