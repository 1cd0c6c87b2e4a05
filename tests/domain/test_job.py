"""Laws of the transition table and of the job id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionnode.domain.job import (
    DONE,
    TRANSITIONS,
    WAITING,
    WORKING,
    JobEvent,
    JobState,
    derive_job_id,
    next_state,
)
from fusionnode.domain.terms import Step
from fusionnode.errors import Refused, TransitionForbidden

FINAL = {JobState.SUPERSEDED}
BY_HAND = {JobEvent.RETRIED, JobEvent.RESENT}
RETRIABLE = {JobState.REFUSED, JobState.FAILED}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("event", JobEvent)
def test_the_table_is_closed(state: JobState, event: JobEvent) -> None:
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) is TRANSITIONS[state, event]
        assert isinstance(TRANSITIONS[state, event], JobState)
    else:
        with pytest.raises(TransitionForbidden) as caught:
            next_state(state, event)
        assert isinstance(caught.value, Refused)
        assert caught.value.facts == {"state": state, "job_event": event}


def reach(*starts: JobState) -> set[JobState]:
    reached = set(starts)
    while more := {end for (start, _), end in TRANSITIONS.items() if start in reached} - reached:
        reached |= more
    return reached


def test_nothing_leaves_a_final_state() -> None:
    assert not {start for start, _ in TRANSITIONS} & FINAL
    assert {state for state in JobState if reach(state) == {state}} == FINAL


def test_every_state_can_be_reached_from_the_queue_and_every_other_can_still_be_stored() -> None:
    assert reach(JobState.QUEUED) == set(JobState)
    assert all(JobState.STORED in reach(state) for state in JobState if state is not JobState.SUPERSEDED)


def test_only_a_human_wakes_a_refused_or_failed_job() -> None:
    ways_out = {(start, event) for start, event in TRANSITIONS if start in RETRIABLE}
    assert {event for _, event in ways_out} <= BY_HAND
    assert (JobState.REFUSED, JobEvent.RESENT) not in ways_out, "it never had an output"


def test_what_was_delivered_is_never_superseded_but_can_be_sent_again() -> None:
    for state in (JobState.STORED, JobState.COMMITTING, JobState.COMMITTED):
        assert (state, JobEvent.SUPERSEDED) not in TRANSITIONS
        assert next_state(state, JobEvent.RESENT) is JobState.FUSED


@pytest.mark.parametrize("step", Step)
def test_a_step_is_claimed_only_while_waiting_and_ends_only_while_working(step: Step) -> None:
    waiting, working = WAITING[step], WORKING[step]
    assert next_state(waiting, JobEvent.CLAIMED) is working
    assert next_state(working, JobEvent.FINISHED) is DONE[step]
    assert next_state(working, JobEvent.EXPIRED) is waiting
    assert next_state(working, JobEvent.DEFERRED) is waiting
    for event in (JobEvent.FINISHED, JobEvent.REFUSED, JobEvent.FAILED):
        with pytest.raises(TransitionForbidden):
            next_state(waiting, event)
    with pytest.raises(TransitionForbidden):
        next_state(working, JobEvent.CLAIMED)


def test_each_step_hands_over_to_the_next() -> None:
    assert [DONE[step] for step in Step] == [*(WAITING[step] for step in list(Step)[1:]), JobState.COMMITTED]


@given(fixed=st.text(), moving=st.text(), other=st.text())
def test_a_job_id_depends_on_exactly_its_four_arguments(fixed: str, moving: str, other: str) -> None:
    job_id = derive_job_id("mr-pt", "1.0", fixed, moving)
    assert len(job_id) == 24
    assert int(job_id, 16) >= 0
    assert job_id == derive_job_id("mr-pt", "1.0", fixed, moving)
    assert (derive_job_id("mr-pt", "1.0", fixed, other) == job_id) == (other == moving)
    assert derive_job_id("mr-pt", "1.1", fixed, moving) != job_id
    assert derive_job_id("mr-nm", "1.0", fixed, moving) != job_id
