"""What an error means for a job."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.consignment import Consignment
from fusionnode.domain.job import Job, JobEvent, JobState
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import Step
from fusionnode.errors import (
    DeliveryIncomplete,
    DeliveryRefused,
    DeliveryUncommitted,
    DestinationUnreachable,
    LedgerUnavailable,
    PipelineInvalid,
    Refused,
    RegistrationImplausible,
    SettingsInvalid,
    SpoolFull,
    Unavailable,
)
from fusionnode.flow.ports import Delivery, DeliveryOutcome
from fusionnode.settings import WorkSettings
from fusionnode.worker.policy import (
    ConsignmentVerdict,
    is_given_up,
    judge_consignment,
    judge_error,
    max_attempts,
    retry_delay_seconds,
)

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
    assert first.not_before is not None
    assert SETTINGS.retry_seconds / 2 <= (first.not_before - NOW).total_seconds() <= SETTINGS.retry_seconds
    last = judge_error(error, _job(SETTINGS.max_attempts - 1), Step.FUSE, NOW, SETTINGS)
    assert last.event is JobEvent.FAILED
    assert not last.defect


@pytest.mark.parametrize("error", [SpoolFull("full"), LedgerUnavailable("away")])
@pytest.mark.parametrize("step", Step)
def test_a_full_disk_and_a_database_that_is_away_are_waited_for_whatever_the_attempts(
    error: Exception, step: Step
) -> None:
    verdict = judge_error(error, _job(10_000), step, NOW, SETTINGS)
    assert verdict.event is JobEvent.POSTPONED
    assert verdict.not_before is not None
    assert verdict.not_before > NOW


def test_sending_is_more_patient_than_computing() -> None:
    verdict = judge_error(Unavailable("down"), _job(SETTINGS.max_attempts), Step.SEND, NOW, SETTINGS)
    assert verdict.event is JobEvent.DEFERRED
    assert max_attempts(Step.SEND, SETTINGS) > max_attempts(Step.FUSE, SETTINGS)


def test_a_misconfiguration_fails_without_a_traceback_and_a_defect_with_one() -> None:
    assert judge_error(PipelineInvalid("gone"), _job(), Step.FUSE, NOW, SETTINGS).defect is False
    verdict = judge_error(ZeroDivisionError(), _job(), Step.FUSE, NOW, SETTINGS)
    assert (verdict.event, verdict.defect) == (JobEvent.FAILED, True)


@given(attempts=st.integers(min_value=0, max_value=10_000), key=st.text())
def test_the_delay_doubles_up_to_its_cap_and_chance_shortens_it_by_half_at_most(attempts: int, key: str) -> None:
    longest = min(SETTINGS.retry_seconds * 2 ** min(attempts, 40), SETTINGS.retry_cap_seconds)
    delay = retry_delay_seconds(attempts, SETTINGS, key)
    assert longest / 2 <= delay <= longest
    assert delay == retry_delay_seconds(attempts, SETTINGS, key), "the same try waits equally long everywhere"


def test_what_failed_together_does_not_come_back_together() -> None:
    delays = sorted(retry_delay_seconds(20, SETTINGS, f"job-{number}") for number in range(200))
    steps = [later - earlier for earlier, later in pairwise([300.0, *delays, 600.0])]
    assert max(steps) < 30, "spread over the whole of the upper half"


CONSIGNMENT = Consignment("j", "pacs", total=10)


@pytest.mark.parametrize("error", [DestinationUnreachable("down"), DeliveryIncomplete("refused"), MemoryError()])
def test_a_destination_is_waited_for_and_given_up_after_its_own_count(error: Exception) -> None:
    first = judge_consignment(error, CONSIGNMENT, NOW, SETTINGS)
    assert not first.dead
    assert first.not_before is not None
    assert first.not_before > NOW
    last = replace(CONSIGNMENT, attempts=SETTINGS.max_send_attempts - 1)
    assert judge_consignment(error, last, NOW, SETTINGS) == ConsignmentVerdict(dead=True)


@pytest.mark.parametrize(
    ("error", "defect"),
    [
        (SettingsInvalid("gone"), False),
        (DeliveryUncommitted("silent"), False),
        (DeliveryRefused("A900"), False),
        (ZeroDivisionError(), True),
    ],
)
def test_what_waiting_does_not_mend_ends_the_consignment_at_once(error: Exception, defect: bool) -> None:
    assert judge_consignment(error, CONSIGNMENT, NOW, SETTINGS) == ConsignmentVerdict(dead=True, defect=defect)


@given(refusals=st.integers(0, 100), limit=st.integers(1, 20), final=st.booleans())
def test_an_instance_is_given_up_at_its_last_final_refusal_and_never_for_any_other(
    refusals: int, limit: int, final: bool
) -> None:
    outcome = DeliveryOutcome(Delivery("j", "pacs", "1.2", "1.3", "f", refusals=refusals), False, "A900", final)
    assert is_given_up(outcome, WorkSettings(max_refusals=limit)) == (final and refusals >= limit - 1)
