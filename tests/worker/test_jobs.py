"""What an operator asks of the ledger."""

import shutil
from pathlib import Path

import pytest

from fusionnode.domain.job import JobEvent, JobState
from fusionnode.domain.terms import Step
from fusionnode.errors import JobUnknown, Refused, TransitionForbidden
from fusionnode.flow.ports import DeliveryOutcome
from fusionnode.wiring import build_sweeper
from fusionnode.worker.jobs import list_job_facts, list_series_facts, reindex_spool, resend_job, retry_job
from tests.support.nodes import (
    MOMENT,
    make_pair,
    make_settings,
    open_test_node,
    publish_objects,
    put_in_spool,
    queue_job,
)


def test_list_job_facts_tells_the_reason_and_no_patient(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    claimed = node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker")
    assert claimed is not None
    node.ledger.advance_job(claimed, JobEvent.REFUSED, MOMENT, Refused("The slices are tilted."))
    [fact] = list_job_facts(node.settings)
    assert (fact["id"], fact["state"], fact["error"]) == (job.id, "refused", "Refused")
    assert "tilted" in fact["reason"]
    assert "TEST-1" not in str(fact)


def test_list_series_facts_tells_why_a_series_stands_alone(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, _ = make_pair()
    put_in_spool(node, fixed, tmp_path / "scratch")
    sweeper = build_sweeper(node)
    for second in range(3):
        sweeper.sweep(MOMENT, 100.0 * second)
    [fact] = list_series_facts(node.settings)
    assert (fact["state"], fact["modality"], fact["frames"]) == ("complete", "MR", 10)
    assert any("partner" in reason for reason in fact["not_paired"])
    assert "TEST-1" not in str(fact)


def test_retry_job_puts_a_refused_job_back_and_no_other(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    with pytest.raises(TransitionForbidden):
        retry_job(node.settings, job.id)
    claimed = node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker")
    assert claimed is not None
    node.ledger.advance_job(claimed, JobEvent.REFUSED, MOMENT, Refused("no"))
    assert retry_job(node.settings, job.id) == JobState.QUEUED
    with pytest.raises(JobUnknown):
        retry_job(node.settings, "unknown")


def test_reindex_spool_rebuilds_a_lost_ledger_to_the_same_jobs(tmp_path: Path) -> None:
    job = queue_job(open_test_node(tmp_path), tmp_path)
    spool = tmp_path / "spool"
    for path in spool.glob("ledger.sqlite*"):
        path.unlink()
    assert reindex_spool(make_settings(tmp_path)) == 20
    again = queue_job(open_test_node(tmp_path), tmp_path / "again")
    assert again.id == job.id
    assert reindex_spool(make_settings(tmp_path)) == 20
    shutil.rmtree(spool)


def test_resend_job_owes_what_is_outstanding_or_all_and_says_how_much(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = publish_objects(node, make_pair()[0])
    claimed = node.ledger.claim_job(Step.SEND, MOMENT, 30, "worker")
    assert claimed is not None
    for owed in node.ledger.list_undelivered(job.id)[:4]:
        node.ledger.record_outcome(claimed, DeliveryOutcome(owed, True, "0000"), MOMENT)
    node.ledger.advance_job(claimed, JobEvent.FAILED, MOMENT)
    [fact] = list_job_facts(node.settings)
    assert (fact["destinations"][0]["stored"], fact["destinations"][0]["owed"]) == (4, 10)
    assert resend_job(node.settings, job.id) == 6
    assert resend_job(node.settings, job.id, "pacs", everything=True) == 10
    assert node.ledger.find_job(job.id).state is JobState.FUSED
    with pytest.raises(TransitionForbidden, match="attic"):
        resend_job(node.settings, job.id, "attic")
