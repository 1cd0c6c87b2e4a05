"""What may be deleted: laws over every way a series or a job can stand, then examples."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.job import WAITING, WORKING, JobState
from fusionnode.domain.retention import (
    JobStanding,
    RetentionLimits,
    SeriesStanding,
    judge_results,
    judge_series,
)
from fusionnode.domain.terms import UNSETTLED, SeriesState, Step

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LIMITS = RetentionLimits(timedelta(days=30), timedelta(days=180), timedelta(days=365), timedelta(days=8))

AGES = st.integers(-3, 4000).map(lambda days: NOW - timedelta(days=days))
JOBS = st.builds(
    JobStanding,
    id=st.sampled_from(["a", "b"]),
    state=st.sampled_from(JobState),
    not_before=st.one_of(st.none(), AGES),
    changed_at=AGES,
    held=st.booleans(),
    unsent=st.integers(0, 2),
)
SERIES = st.builds(
    SeriesStanding,
    series_instance_uid=st.just("1.2"),
    generation=st.integers(1, 3),
    state=st.sampled_from(SeriesState),
    held=st.booleans(),
    last_seen_at=AGES,
    jobs=st.lists(JOBS, max_size=3).map(tuple),
)


@given(SERIES, AGES, st.integers(0, 4000))
def test_no_date_before_the_clock_went_evenly_makes_anything_older(
    series: SeriesStanding, since: datetime, days: int
) -> None:
    limits = replace(LIMITS, since=since)
    if judge_series(series, limits, since + timedelta(days=days)).discard:
        assert timedelta(days=days) >= max(limits.shortest, limits.window)


def test_what_an_unbelievable_date_comes_to_is_told() -> None:
    old = make_series(20_000)
    assert judge_series(old, LIMITS, NOW).discard
    told = judge_series(old, replace(LIMITS, since=NOW - timedelta(days=3)), NOW)
    assert told.why == "a partner for it may still come"
    told = judge_series(old, replace(LIMITS, since=NOW - timedelta(days=9)), NOW)
    assert not told.discard
    assert told.why == "it was never paired, and 9 of 180 days have passed since the clock goes evenly"


def make_job(state: JobState, days: int, unsent: int = 0) -> JobStanding:
    return JobStanding("a", state, None, NOW - timedelta(days=days), unsent=unsent)


def make_series(days: int, *jobs: JobStanding) -> SeriesStanding:
    return SeriesStanding("1.2", 1, SeriesState.COMPLETE, False, NOW - timedelta(days=days), jobs)


@given(SERIES)
def test_no_series_goes_that_waits_arrives_is_held_or_is_young(series: SeriesStanding) -> None:
    if not judge_series(series, LIMITS, NOW).discard:
        return
    working = {*WORKING.values(), WAITING[Step.PREPARE], WAITING[Step.FUSE], WAITING[Step.SEND]}
    assert not {job.state for job in series.jobs} & working
    assert all(job.state is not JobState.STORED or job.not_before is None for job in series.jobs)
    assert not series.held
    assert not any(job.held for job in series.jobs)
    assert series.state not in UNSETTLED
    assert NOW - series.last_seen_at >= LIMITS.shortest
    assert all(NOW - job.changed_at >= LIMITS.shortest for job in series.jobs)


@given(JOBS)
def test_no_result_goes_that_can_still_be_sent(job: JobStanding) -> None:
    if not judge_results(job, LIMITS, NOW).discard:
        return
    assert not job.unsent or job.state is JobState.SUPERSEDED
    assert job.state in {JobState.STORED, JobState.COMMITTED, JobState.REFUSED, JobState.FAILED, JobState.SUPERSEDED}
    assert not job.held
    assert NOW - job.changed_at >= LIMITS.shortest


@given(SERIES, st.integers(0, 3000))
def test_what_may_go_today_may_go_later(series: SeriesStanding, days: int) -> None:
    if judge_series(series, LIMITS, NOW).discard:
        assert judge_series(series, LIMITS, NOW + timedelta(days=days)).discard


@given(SERIES)
def test_longer_limits_never_delete_more(series: SeriesStanding) -> None:
    longer = replace(LIMITS, delivered=timedelta(days=60), unpaired=timedelta(days=999), failed=timedelta(days=999))
    assert judge_series(series, LIMITS, NOW).discard or not judge_series(series, longer, NOW).discard


def test_what_was_delivered_goes_after_its_days_and_not_a_day_before() -> None:
    for days, goes in ((29, False), (30, True)):
        job = make_job(JobState.STORED, days)
        assert judge_series(make_series(40, job), LIMITS, NOW).discard is goes
        assert judge_results(job, LIMITS, NOW).discard is goes


def test_what_was_seen_again_yesterday_stays() -> None:
    assert not judge_series(make_series(1, make_job(JobState.COMMITTED, 500)), LIMITS, NOW).discard


def test_one_refused_job_keeps_the_series_as_long_as_failures_are_kept() -> None:
    jobs = make_job(JobState.STORED, 100), make_job(JobState.REFUSED, 100)
    judgement = judge_series(make_series(100, *jobs), LIMITS, NOW)
    assert (judgement.discard, "refused" in judgement.why) == (False, True)
    assert judge_series(
        make_series(400, *(replace(job, changed_at=NOW - 4 * LIMITS.shortest * 4) for job in jobs)), LIMITS, NOW
    ).discard


def test_a_dead_letter_is_kept_for_ever() -> None:
    judgement = judge_results(make_job(JobState.FAILED, 5000, unsent=3), LIMITS, NOW)
    assert not judgement.discard
    assert "3 instances" in judgement.why


def test_a_series_without_partner_has_its_own_age_and_one_that_is_not_whole_too() -> None:
    assert not judge_series(make_series(179), LIMITS, NOW).discard
    assert judge_series(make_series(180), LIMITS, NOW).why == "it was never paired, 180 days ago"
    broken = replace(make_series(200), state=SeriesState.QUARANTINED)
    assert not judge_series(broken, LIMITS, NOW).discard


def test_no_series_goes_while_a_partner_may_come_whatever_the_days() -> None:
    hasty = replace(LIMITS, delivered=timedelta(days=1), unpaired=timedelta(days=1))
    assert not judge_series(make_series(7), hasty, NOW).discard
    assert judge_series(make_series(8), hasty, NOW).discard
