"""Everything that came, or should have come, has one row and one verdict."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fusionnode.batch.verdicts import FINAL, Evidence, Row, Verdict, count_verdicts, list_rows
from fusionnode.domain.job import Job, JobState
from fusionnode.domain.series import Series
from fusionnode.domain.terms import SeriesState
from fusionnode.settings import Settings
from fusionnode.wiring import load_pipelines
from tests.support.series_headers import make_series

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
PIPELINES = {"mr-pt": load_pipelines(Settings(), None)["mr-pt"]}


def _series(name: str, modality: str) -> Series:
    made = make_series(name)
    instances = tuple(replace(one, modality=modality) for one in made.instances)
    return replace(made, instances=instances, state=SeriesState.COMPLETE)


MR, PT, LONELY = _series("mr", "MR"), _series("pt", "PT"), _series("mr2", "MR")


def _uid(series: Series) -> str:
    return series.key.series_instance_uid


def _evidence(*series: Series, **changes: Any) -> Evidence:
    facts: dict[str, Any] = {
        "pipelines": PIPELINES,
        "series": {_uid(one): one for one in series},
        "jobs": (),
        "pseudonyms": {_uid(one): "p1" for one in series},
        "skipped": {},
        "torn": {},
        "written": False,
        "now": NOW,
    }
    return Evidence(**facts | changes)


def _job(state: JobState, reason: str = "") -> Job:
    return Job("a" * 24, "mr-pt", "1.0", MR.key, PT.key, False, state, NOW, reason=reason)


@pytest.mark.parametrize("state", list(JobState))
def test_every_state_of_a_job_is_a_verdict_and_one_row(state: JobState) -> None:
    [row] = list_rows(_evidence(MR, PT, jobs=(_job(state, "because"),)))
    assert (row.fixed, row.moving, row.reason) == (_uid(MR), _uid(PT), "because")
    assert bool(row.fused) == (row.verdict is Verdict.STORED)
    underway = {JobState.QUEUED, JobState.PREPARING, JobState.PREPARED, JobState.FUSING, JobState.FUSED}
    assert (row.verdict is Verdict.WAITING) == (state in underway | {JobState.SENDING})


def test_what_went_into_a_folder_is_written_and_not_stored() -> None:
    [row] = list_rows(_evidence(MR, PT, jobs=(_job(JobState.STORED),), written=True))
    assert row.verdict is Verdict.WRITTEN


def test_a_pair_passed_over_has_a_row_that_names_what_is_there() -> None:
    [row] = list_rows(_evidence(MR, PT, skipped={(_uid(MR), _uid(PT)): "1.9"}))
    assert (row.verdict, row.fused) == (Verdict.SKIPPED, "1.9")


def test_a_functional_series_without_a_pair_is_told_with_the_rules_own_words() -> None:
    [row] = list_rows(_evidence(PT))
    assert (row.verdict, row.moving, row.fixed) == (Verdict.UNPAIRED, _uid(PT), "")
    assert row.reason


def test_an_mri_has_a_row_only_where_there_is_nothing_functional() -> None:
    [row] = list_rows(_evidence(MR, PT, LONELY, jobs=(_job(JobState.STORED),)))
    assert row.verdict is Verdict.STORED
    [alone] = list_rows(_evidence(LONELY))
    assert (alone.verdict, alone.fixed) == (Verdict.UNPAIRED, _uid(LONELY))


def test_what_did_not_come_whole_is_not_called_unpaired() -> None:
    [row] = list_rows(_evidence(PT, torn={_uid(PT): "RetrievalIncomplete: 1 of 5"}))
    assert row.verdict is Verdict.NOT_FETCHED


def test_a_quarantined_series_says_why() -> None:
    [row] = list_rows(_evidence(replace(PT, state=SeriesState.QUARANTINED, reason="slices are missing")))
    assert (row.verdict, "slices are missing" in row.reason) == (Verdict.UNPAIRED, True)


def test_verdicts_are_counted_in_their_order() -> None:
    rows = [Row(Verdict.FAILED), Row(Verdict.STORED), Row(Verdict.STORED)]
    assert list(count_verdicts(rows).items()) == [("stored", 2), ("failed", 1)]


def test_only_what_another_run_may_change_is_not_final() -> None:
    assert set(Verdict) - FINAL == {Verdict.FAILED, Verdict.NOT_FETCHED, Verdict.WAITING}
