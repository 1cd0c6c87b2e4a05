"""A lease is kept alive while a step runs, and its loss is noticed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fusionnode.domain.job import Job
from fusionnode.domain.terms import Step
from fusionnode.errors import LeaseLost
from fusionnode.worker.heartbeat import Heartbeat
from tests.support.ledgers import free_leases
from tests.support.nodes import open_test_node, queue_job
from tests.support.running import await_value


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_beating_lease_is_renewed_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = open_test_node(tmp_path)
    queue_job(node, tmp_path, _now())
    job = node.ledger.claim_job(Step.PREPARE, _now(), 0.3, "worker")
    assert job is not None
    [first] = node.ledger.list_leases()
    renewed: list[datetime] = []
    renew = node.ledger.renew_lease

    def note(one: Job, now: datetime, seconds: float) -> None:
        renew(one, now, seconds)
        renewed.append(now)

    monkeypatch.setattr(node.ledger, "renew_lease", note)
    with Heartbeat(node.ledger, job, _now, 0.3) as heartbeat:
        await_value(lambda: len(renewed) >= 3)
        heartbeat.require_lease()
    [lease] = node.ledger.list_leases()
    assert lease.until > first.until


def test_a_lost_lease_is_noticed(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    queue_job(node, tmp_path, _now())
    job = node.ledger.claim_job(Step.PREPARE, _now(), 0.3, "worker")
    assert job is not None
    assert free_leases(node.ledger, _now() + timedelta(seconds=5))
    with Heartbeat(node.ledger, job, _now, 0.3) as heartbeat:
        await_value(lambda: heartbeat._lost)
        with pytest.raises(LeaseLost):
            heartbeat.require_lease()
