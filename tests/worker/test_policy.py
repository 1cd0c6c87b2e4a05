"""What an error means for a job."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.job import Job, JobEvent, JobState
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import Step
from fusionnode.errors import DestinationUnreachable, PipelineInvalid, Refused, RegistrationImplausible, Unavailable
from fusionnode.settings import WorkSettings
from fusionnode.worker.policy import judge_error, max_attempts, retry_delay_seconds

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SETTINGS = WorkSettings()


def _job(attempts: int = 0) -> Job:
    return Job("j", "p", "1", SeriesKey("1.2", 1), SeriesKey("1.3", 1), False, JobState.FUSING, NOW, attempts=attempts)


@pytest.mark.parametrize("error", [Refused("no"), RegistrationImplausible("no")])
def test_a_refusal_is_final_whatever_the_attempts(error: Refused) -> None:
    assert judge_error(error, _job(), Step.PREPARE, NOW, SETTINGS).event is JobEvent.REFUSED


@pytest.mark.parametrize("error", [DestinationUnreachable("down"), MemoryError()])
def test_a_world_that_is_not_ready_is_waited_for_and_then_given_up(error: Exception) -> None:
    first = judge_error(error, _job(0), Step.FUSE, NOW, SETTINGS)
    assert first.event is JobEvent.DEFERRED
    assert first.not_before == NOW + timedelta(seconds=SETTINGS.retry_seconds)
    last = judge_error(error, _job(SETTINGS.max_attempts - 1), Step.FUSE, NOW, SETTINGS)
    assert last.event is JobEvent.FAILED
    assert not last.defect


def test_sending_is_more_patient_than_computing() -> None:
    verdict = judge_error(Unavailable("down"), _job(SETTINGS.max_attempts), Step.SEND, NOW, SETTINGS)
    assert verdict.event is JobEvent.DEFERRED
    assert max_attempts(Step.SEND, SETTINGS) > max_attempts(Step.FUSE, SETTINGS)


def test_a_misconfiguration_fails_without_a_traceback_and_a_defect_with_one() -> None:
    assert judge_error(PipelineInvalid("gone"), _job(), Step.FUSE, NOW, SETTINGS).defect is False
    verdict = judge_error(ZeroDivisionError(), _job(), Step.FUSE, NOW, SETTINGS)
    assert (verdict.event, verdict.defect) == (JobEvent.FAILED, True)


@given(st.integers(min_value=0, max_value=10_000))
def test_the_delay_grows_but_never_beyond_its_cap(attempts: int) -> None:
    delay = retry_delay_seconds(attempts, SETTINGS)
    assert SETTINGS.retry_seconds <= delay <= SETTINGS.retry_cap_seconds
    assert retry_delay_seconds(attempts + 1, SETTINGS) >= delay
