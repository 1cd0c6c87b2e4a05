"""A lease is kept alive while a step runs, and its loss is noticed."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fusionnode.domain.terms import Step
from fusionnode.errors import LeaseLost
from fusionnode.worker.heartbeat import Heartbeat
from tests.support.nodes import open_test_node, queue_job


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_beating_lease_does_not_run_out(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    queue_job(node, tmp_path, _now())
    job = node.ledger.claim_job(Step.PREPARE, _now(), 0.6, "worker")
    assert job is not None
    with Heartbeat(node.ledger, job, _now, 0.6) as heartbeat:
        for _ in range(12):
            threading.Event().wait(0.1)
            assert node.ledger.release_expired(_now()) == []
        heartbeat.require_lease()


def test_a_lost_lease_is_noticed(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    queue_job(node, tmp_path, _now())
    job = node.ledger.claim_job(Step.PREPARE, _now(), 0.3, "worker")
    assert job is not None
    assert node.ledger.release_expired(_now() + timedelta(seconds=5))
    with Heartbeat(node.ledger, job, _now, 0.3) as heartbeat:
        threading.Event().wait(1.0)
        with pytest.raises(LeaseLost):
            heartbeat.require_lease()
