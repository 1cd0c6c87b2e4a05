"""What `fusionnode explain` says: all of it true, none of it about a person."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fusionnode.domain.job import JobEvent
from fusionnode.domain.terms import Step
from fusionnode.errors import FusionNodeError, Refused, SeriesUnknown, UidMalformed
from fusionnode.wiring import Node, build_sweeper
from fusionnode.worker.explain import explain_uid, tell_explanation
from fusionnode.worker.jobs import list_job_facts
from fusionnode.worker.steps import StepRunner
from tests.support.datasets import Identity, Layout, make_mr_series, make_pt_series
from tests.support.nodes import FRAME, MOMENT, Clock, make_pair, make_settings, open_test_node, put_in_spool, queue_job

SMALL = Layout(slices=10, rows=24, columns=20)
MINE = Identity(frame_of_reference_uid=FRAME)
SECRETS = ("TEST-1", "19700101", "19800101", "20240305", "2024-03-05", "Example")


def explain(node: Node, uid: str) -> tuple[dict[str, Any], str]:
    """Return the facts and the words; both go through what a user gets."""
    facts = json.loads(json.dumps(explain_uid(node.settings, uid, MOMENT)))
    return facts, "\n".join(tell_explanation(facts))


def settle(node: Node) -> None:
    sweeper = build_sweeper(node)
    for second in range(4):
        sweeper.sweep(MOMENT, 100.0 * second)


def test_a_pair_is_explained_from_either_side_with_its_job_and_verdict(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    job = queue_job(node, tmp_path)
    claimed = node.ledger.claim_job(Step.PREPARE, MOMENT, 30, "worker")
    assert claimed is not None
    node.ledger.advance_job(claimed, JobEvent.REFUSED, MOMENT, Refused("The slices are tilted."))
    for own, other in ((job.fixed, job.moving), (job.moving, job.fixed)):
        facts, words = explain(node, own.series_instance_uid)
        [series] = facts["series"]
        assert (facts["kind"], series["state"]) == ("series", "complete")
        assert "no gap" in series["reason"]
        [account] = [one for one in series["pipelines"] if one["outcome"] == "paired"]
        [partner] = account["partners"]
        assert (partner["series_instance_uid"], partner["outcome"]) == (other.series_instance_uid, "paired")
        assert "same frame of reference" in partner["reasons"]
        [told] = series["jobs"]
        assert (told["id"], told["state"], told["error"]) == (job.id, "refused", "Refused")
        assert "same frame of reference" in told["because"]
        assert "tilted" in words
        assert job.id in words


def test_what_was_left_out_of_a_result_is_told_while_the_job_goes_on(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    pipelines = {
        name: one.model_copy(update={"output": one.output.model_copy(update={"resampled": True})})
        for name, one in node.pipelines.items()
    }
    node = replace(node, pipelines=pipelines)
    fixed, moving = make_pair()
    for ds in moving:
        del ds.DecayCorrection
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    settle(node)
    prepared = StepRunner(node, "worker", Clock()).run_step(Step.PREPARE)
    assert prepared is not None
    claimed = node.ledger.claim_job(Step.FUSE, MOMENT, 30, "worker", prepared.id)
    assert claimed is not None
    fused = node.ledger.advance_job(claimed, JobEvent.FINISHED, MOMENT)
    assert (fused.state, fused.reason, fused.error) == ("fused", "", "")
    facts, words = explain(node, fixed[0].SeriesInstanceUID)
    [told] = facts["series"][0]["jobs"]
    [listed] = list_job_facts(node.settings)
    [remark] = told["remarks"]
    assert remark.startswith("No resampled series was written: Decay Correction is missing")
    assert listed["remarks"] == [remark]
    assert remark in words


def test_a_study_is_explained_series_by_series(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    for ds in moving:
        ds.StudyInstanceUID = fixed[0].StudyInstanceUID
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    settle(node)
    facts, _ = explain(node, fixed[0].StudyInstanceUID)
    assert facts["kind"] == "study"
    assert {one["modality"] for one in facts["series"]} == {"MR", "PT"}


def test_a_contradicting_identity_is_the_reason_and_its_values_are_not_said(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed = make_mr_series(SMALL, MINE)
    moving = make_pt_series(SMALL, replace(MINE, series_number=2, birth_date="19800101", description="Example"))
    put_in_spool(node, [*fixed, *moving], tmp_path / "scratch")
    settle(node)
    for uid in (fixed[0].SeriesInstanceUID, moving[0].SeriesInstanceUID):
        facts, words = explain(node, uid)
        assert "birth date contradicts: not taken for one patient" in words
        assert any("birth date" in one["reason"] for one in facts["series"][0]["recorded"])
        assert not facts["series"][0]["jobs"]
        assert not [secret for secret in SECRETS if secret in words + json.dumps(facts)]


def test_the_rule_and_the_attribute_that_exclude_a_series_are_named(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    localizer = make_mr_series(SMALL, replace(MINE, description="localizer Example"))
    put_in_spool(node, localizer, tmp_path / "scratch")
    settle(node)
    facts, words = explain(node, localizer[0].SeriesInstanceUID)
    account = facts["series"][0]["pipelines"][0]
    assert (account["role"], account["outcome"]) == ("fixed", "excluded")
    assert [one["attribute"] for one in account["unmet"]] == ["Description"]
    assert "excluded by a condition on Description: is a localizer by its description" in words
    assert "Example" not in words + json.dumps(facts)


def test_a_loser_is_told_who_won_and_by_what(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    better = make_mr_series(SMALL, replace(MINE, series_number=3, description="t1_mprage"))
    put_in_spool(node, [*fixed, *moving, *better], tmp_path / "scratch")
    settle(node)
    facts, words = explain(node, fixed[0].SeriesInstanceUID)
    [account] = [one for one in facts["series"][0]["pipelines"] if one["pipeline"].startswith("mr-pt")]
    assert account["outcome"] == "outbid"
    assert f"fixed {better[0].SeriesInstanceUID} was preferred" in words
    assert "fixed: T1-weighted" in words
    _, seen_from_the_pet = explain(node, moving[0].SeriesInstanceUID)
    assert seen_from_the_pet.index("paired, score") < seen_from_the_pet.index("outbid, score")


def test_a_gap_and_the_state_that_came_of_it_are_told(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, moving = make_pair()
    put_in_spool(node, [*fixed[:5], *fixed[6:], *moving], tmp_path / "scratch")
    settle(node)
    facts, words = explain(node, fixed[0].SeriesInstanceUID)
    assert facts["series"][0]["state"] == "quarantined"
    assert [event["what"] for event in facts["series"][0]["history"]] == ["receiving", "quarantined"]
    assert "missing" in words
    _, partner = explain(node, moving[0].SeriesInstanceUID)
    assert "is quarantined, not complete" in partner


def test_jobs_that_supersede_name_each_other(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    first = queue_job(node, tmp_path)
    put_in_spool(node, make_mr_series(SMALL, replace(MINE, series_number=3, description="t1")), tmp_path / "better")
    settle(node)
    facts, words = explain(node, first.moving.series_instance_uid)
    # Both were made within one second, so either may come first.
    second, told_first = sorted(facts["series"][0]["jobs"], key=lambda told: bool(told["superseded_by"]))
    assert (second["supersedes"], told_first["superseded_by"]) == (first.id, [second["id"]])
    assert f"superseded by job {second['id']}" in words


def test_the_wait_is_closed_by_the_moment_of_asking(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    fixed, _ = make_pair()
    put_in_spool(node, fixed, tmp_path / "scratch")
    settle(node)
    later = explain_uid(node.settings, fixed[0].SeriesInstanceUID, MOMENT + timedelta(days=2))
    assert "closed: no partner within 24 h" in later["series"][0]["pipelines"][1]["words"]
    assert all("no partner yet" in one["reason"] for one in later["series"][0]["recorded"])


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    node = open_test_node(tmp_path)
    with pytest.raises(SeriesUnknown):
        explain_uid(node.settings, "1.2.3", MOMENT)
    with pytest.raises(UidMalformed):
        explain_uid(node.settings, "%", MOMENT)


def test_looking_makes_nothing(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with pytest.raises(FusionNodeError):
        explain_uid(settings, "1.2.3", MOMENT)
    assert list(tmp_path.iterdir()) == []
